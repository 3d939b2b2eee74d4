//! Stores and buses that fail when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::v1::{self, report_reply};
use bus::{Bus, InProcess, LogEntry, LogReader, Position, Subject, Subscription};
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;
use opamp::v1::server_error_response::Details;
use opamp::v1::{AgentToServer, ServerErrorResponseType, ServerToAgent};
use prost::Message as _;
use store::{
    Cursor, Error, Generations, Key, Memory, Outcome, Page, Presence, Store, Stored, Table,
    Version, Write, tables,
};

use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance, until};

/// A store that is away while told to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flaky {
    inner: Memory,
    pub(crate) away: Arc<AtomicBool>,
    /// Panics when it is to write the record of the agent with this uid; 0 for none.
    brittle: Arc<AtomicU8>,
    /// Reads take as long as it takes until this is rung.
    hold: Option<Arc<tokio::sync::Notify>>,
}

impl Flaky {
    /// One over a store that others look into.
    pub(crate) fn over(inner: Memory) -> Self {
        Self { inner, ..Self::default() }
    }

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
        let brittle = self.brittle.load(Ordering::Relaxed);
        let meets = writes.iter().any(|write| write.key == Key::agent(&instance(brittle)));
        assert!(brittle == 0 || !meets, "as it was asked to");
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
pub(crate) struct Logless {
    inner: InProcess,
    pub(crate) away: Arc<AtomicBool>,
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
    let flaky = Flaky::over(rig.records.clone());
    rig.start_worker("w1", Arc::new(flaky.clone())).await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    flaky.away.store(true, Ordering::Relaxed);
    let answer = rig.ask(claim("gw", 2, &bare(1, 1))).await;
    assert!(matches!(answer, Some(report_reply::Outcome::Unavailable(_))), "{answer:?}");
    flaky.away.store(false, Ordering::Relaxed);
    let (epoch, reply) = rig.accepted(claim("gw", 2, &bare(1, 1))).await;
    assert_eq!((epoch, reply.flags), (2, 0));
}

/// A bug that one agent's messages meet.
#[tokio::test]
async fn a_panic_costs_the_message_that_met_it_and_its_agent_waits() {
    let mut rig = Rig::idle(Arc::new(InProcess::default())).await;
    let flaky = Flaky::over(rig.records.clone());
    rig.start_worker("w1", Arc::new(flaky.clone())).await;
    flaky.brittle.store(2, Ordering::Relaxed);
    let mut put_off = None;
    for round in 0..5 {
        let sessions = [1, 2, 3].map(|uid| uid + 10 * round);
        let [one, poison, three] = [(1, 0), (2, 1), (3, 2)]
            .map(|(uid, at)| claim("gw", sessions[at], &hello(uid, u64::from(round))));
        // Others of the batch are the poison's neighbours, not its victims.
        let gone = v1::Close {
            gateway_id: "gw".to_owned(),
            session_id: vec![sessions[0]; 16].into(),
            instance_uid: vec![1; 16].into(),
            epoch: u64::from(round) + 1,
            ..Default::default()
        };
        let (one, poison, three) = tokio::join!(rig.accepted(one), rig.ask(poison), rig.ask(three));
        assert_eq!(one.0, u64::from(round) + 1);
        let _: v1::CloseReply = rig.bus.request(&Subject::Close, &gone, PATIENCE).await.unwrap();
        assert!(three.is_some());
        match poison {
            Some(report_reply::Outcome::Unavailable(_)) if round < 3 => {}
            Some(report_reply::Outcome::Accepted(accepted)) if round >= 3 => {
                put_off = Some(accepted);
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    let put_off = put_off.unwrap();
    assert!(put_off.refused && put_off.epoch == 0, "{put_off:?}");
    let error = ServerToAgent::decode(put_off.message).unwrap().error_response.unwrap();
    assert_eq!(error.r#type(), ServerErrorResponseType::Unavailable);
    let Some(Details::RetryInfo(retry)) = error.details else { panic!("{error:?}") };
    assert!(retry.retry_after_nanoseconds > 1_000_000_000, "{retry:?}");

    // Somebody can look at what it said.
    let place = store::quarantine::place(&Key::agent(&instance(2)));
    let kept = rig.records.get(std::slice::from_ref(&place)).await.unwrap().pop().flatten();
    let kept = tables::quarantine::decode(&place, &kept.unwrap().value).unwrap().value;
    assert_eq!(AgentToServer::decode(kept.value).unwrap().instance_uid, [2; 16]);

    // Mended, it is let in once its time has come.
    flaky.brittle.store(0, Ordering::Relaxed);
    rig.clock.0.fetch_add(6_000, Ordering::Relaxed);
    assert_eq!(rig.accepted(claim("gw", 99, &hello(2, 9))).await.0, 1);
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
    let deaf = Subject::Gateway(model::GatewayId::new("deaf"));
    let _inbox = rig.bus.subscribe::<v1::GatewayRequest>(&deaf, 64).await.unwrap();
    for uid in 1..=8 {
        rig.accepted(claim("deaf", uid, &hello(uid, 0))).await;
    }
    rig.assign("a: 1", true).await;
    // Eight deliveries that nobody confirms, and eight claims of agents that nobody vouches for.
    let stuck = (1..=8_u8).map(async |uid| {
        let instance_uids = vec![vec![uid; 16].into()];
        let ask = v1::Reassess { instance_uids, decision: 1, labels: false, credentials: false };
        let pushed = rig.bus.request(&Subject::Reassess, &ask, PATIENCE * 4);
        let claimed = claim("other", 100 + uid, &bare(uid, 1));
        let claimed = rig.bus.request(&Subject::Report, &claimed, PATIENCE * 4);
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
    let asked = rig.bus.request(&Subject::Report, &report, patience).await;
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
