//! Stores and buses that fail when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::v1::report_reply;
use bus::{Bus, InProcess, LogEntry, LogReader, Position, Subscription};
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;
use store::{
    Cursor, Error, Generations, Key, Memory, Outcome, Page, Presence, Store, Stored, Table,
    Version, Write,
};

use crate::rig::{PATIENCE, Rig, bare, claim, hello, until};

/// A store that is away while told to be.
#[derive(Debug, Clone, Default)]
struct Flaky {
    inner: Memory,
    away: Arc<AtomicBool>,
    /// Reads take as long as it takes until this is rung.
    hold: Option<Arc<tokio::sync::Notify>>,
}

impl Flaky {
    fn check(&self) -> Result<(), Error> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(Error::Unavailable("told to be away".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Flaky {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        self.check()?;
        if let Some(hold) = &self.hold {
            hold.notified().await;
        }
        self.inner.get(keys).await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        self.check()?;
        self.inner.commit(writes).await
    }
    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        self.check()?;
        self.inner.settle(settled).await
    }
    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        self.inner.unsettled(table, shard).await
    }
    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        self.inner.scan(table, shard, cursor).await
    }
    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        self.inner.put_blob(hash, body).await
    }
    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        self.inner.get_blob(hash).await
    }
    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        self.check()?;
        self.inner.put_presence(holder, seen).await
    }
    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        self.inner.get_presence(asked).await
    }
    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        self.inner.drop_presence(told).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.check()
    }

    fn generations(&self) -> Generations {
        self.inner.generations()
    }
}

/// A bus whose log is away while told to be.
#[derive(Debug, Clone, Default)]
struct Logless {
    inner: InProcess,
    away: Arc<AtomicBool>,
}

#[async_trait]
impl Bus for Logless {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), bus::Error> {
        self.inner.publish(subject, payload).await
    }
    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, bus::Error> {
        self.inner.request(subject, payload, timeout).await
    }
    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, bus::Error> {
        self.inner.subscribe(subject, group, capacity).await
    }
    fn payload_max(&self) -> usize {
        self.inner.payload_max()
    }
    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), bus::Error> {
        if self.away.load(Ordering::Relaxed) {
            return Err(bus::Error::Unavailable("told to be away".to_owned()));
        }
        self.inner.append(entries).await
    }
    async fn tail(&self) -> Result<Position, bus::Error> {
        self.inner.tail().await
    }
    async fn read(&self, from: Position) -> Result<LogReader, bus::Error> {
        self.inner.read(from).await
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_store_is_away() {
    let mut rig = Rig::idle(Arc::new(InProcess::default())).await;
    let flaky = Flaky { inner: rig.records.clone(), ..Flaky::default() };
    rig.start_worker("w1", Arc::new(flaky.clone())).await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    flaky.away.store(true, Ordering::Relaxed);
    let answer = rig.ask(claim("gw", 2, &bare(1, 1))).await;
    assert!(matches!(answer, Some(report_reply::Outcome::Unavailable(_))), "{answer:?}");
    flaky.away.store(false, Ordering::Relaxed);
    let (epoch, reply) = rig.accepted(claim("gw", 2, &bare(1, 1))).await;
    assert_eq!((epoch, reply.flags), (2, 0));
}

#[tokio::test]
async fn events_that_the_log_missed_arrive_in_order_once_it_is_back() {
    let bus = Logless::default();
    let mut rig = Rig::idle(Arc::new(bus.clone())).await;
    rig.start_worker("w1", Arc::new(rig.records.clone())).await;
    let start = rig.bus.tail().await.unwrap();
    bus.away.store(true, Ordering::Relaxed);
    rig.accepted(claim("a", 1, &hello(1, 0))).await;
    rig.accepted(claim("b", 2, &bare(1, 1))).await;
    assert!(!rig.stored(1).await.unwrap().events.is_empty());
    bus.away.store(false, Ordering::Relaxed);

    let mut events = rig.bus.events(start).await.unwrap();
    let mut versions = Vec::new();
    while versions.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        versions.push(event.unwrap().unwrap().1.version);
    }
    assert!(versions.is_sorted() && versions.len() == 2, "{versions:?}");
    until("the store forgets them", async || rig.stored(1).await.unwrap().events.is_empty()).await;
}

#[tokio::test]
async fn workers_that_race_for_one_record_lose_no_update() {
    let mut rig = Rig::new().await;
    rig.start_worker("w2", Arc::new(rig.records.clone())).await;
    // As gateways do, each asks again until it is told.
    let sessions = (1..=20_u8).map(async |session| {
        loop {
            match rig.ask(claim("gw", session, &hello(1, 0))).await {
                Some(report_reply::Outcome::Accepted(accepted)) => return accepted.epoch,
                Some(report_reply::Outcome::Unavailable(_)) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    let mut epochs = futures_util::future::join_all(sessions).await;
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=20).collect::<Vec<_>>(), "each claim has an epoch of its own");
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_keeps_no_report_waiting() {
    let rig = Rig::new().await;
    let deaf = bus::Subject::Gateway(model::GatewayId::new("deaf"));
    let _inbox = rig.bus.subscribe::<bus::v1::GatewayRequest>(&deaf, 64).await.unwrap();
    for uid in 1..=8 {
        rig.accepted(claim("deaf", uid, &hello(uid, 0))).await;
    }
    rig.assign("a: 1", true).await;
    // Eight deliveries that nobody confirms, and eight claims of agents that nobody vouches for.
    let stuck = (1..=8_u8).map(async |uid| {
        let instance_uids = vec![vec![uid; 16].into()];
        let ask = bus::v1::Reassess { instance_uids, decision: 1, labels: false };
        let pushed = rig.bus.request(&bus::Subject::Reassess, &ask, PATIENCE * 4);
        let claimed = claim("other", 100 + uid, &bare(uid, 1));
        let claimed = rig.bus.request(&bus::Subject::Report, &claimed, PATIENCE * 4);
        tokio::join!(pushed, claimed)
    });
    let meanwhile = async {
        for uid in 20..60 {
            let answered = rig.accepted(claim("gw", uid, &hello(uid, 0)));
            tokio::time::timeout(Duration::from_secs(1), answered).await.expect("at once");
        }
    };
    let (stuck, ()) = tokio::join!(futures_util::future::join_all(stuck), meanwhile);
    for (pushed, claimed) in stuck {
        assert_eq!(pushed.unwrap().sent, 0);
        assert!(claimed.is_ok(), "the newcomer takes over");
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_does_not_happen() {
    let mut rig = Rig::idle(Arc::new(InProcess::default())).await;
    let hold = Arc::new(tokio::sync::Notify::new());
    let slow = Flaky { inner: rig.records.clone(), hold: Some(hold.clone()), ..Flaky::default() };
    rig.start_worker("w1", Arc::new(slow)).await;
    let report = claim("gw", 1, &hello(1, 0));
    let patience = Duration::from_millis(100);
    let asked = rig.bus.request(&bus::Subject::Report, &report, patience).await;
    assert!(matches!(asked, Err(bus::Error::TimedOut(_))), "{asked:?}");
    rig.clock.0.fetch_add(1_000, Ordering::Relaxed);
    hold.notify_one();
    // The next report waits for the store too; its answer shows that the first one is over.
    let (answered, ()) = tokio::join!(rig.accepted(claim("gw", 2, &hello(2, 0))), async {
        until("the second one is answered", async || {
            hold.notify_waiters();
            rig.stored(2).await.is_some()
        })
        .await;
    });
    assert_eq!(answered.0, 1);
    assert!(rig.stored(1).await.is_none());
}
