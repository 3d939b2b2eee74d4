//! A trace under way: what was before, then what every gateway hears, also those that come later.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::v1::TapReply;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep};

use super::Start;
use super::gateways::Gateways;
use super::told::Teller;
use crate::stream::Ended;
use crate::v1::trace_notice::Kind;

/// One trace.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) teller: Teller,
    pub(super) gateways: Arc<Gateways>,
    pub(super) follow: bool,
    pub(super) last: u32,
}

/// The gateways that are asked.
#[derive(Default)]
struct Asked<'a> {
    places: BTreeMap<String, Place>,
    asking: FuturesUnordered<BoxFuture<'a, (String, Result<TapReply, bus::Error>)>>,
}

/// Where a trace is at one gateway.
#[derive(Debug, Default)]
struct Place {
    after: u64,
    /// A question is under way.
    asked: bool,
    failures: u32,
    /// Who listens knows that it does not answer.
    silent: bool,
}

impl Follower {
    pub(super) async fn run(&self, start: Start) -> Result<(), Ended> {
        let Start { entries, places, silent } = start;
        for (gateway, entry) in entries {
            self.teller.entry(&gateway, entry).await?;
        }
        for gateway in &silent {
            self.teller.notice(gateway, Kind::Silent, 0).await?;
        }
        if !self.follow {
            return Ok(());
        }
        self.teller.notice("", Kind::Following, 0).await?;
        let mut asked = Asked::default();
        for (gateway, after) in places {
            asked.places.insert(gateway.clone(), Place { after, asked: true, ..Place::default() });
            asked.asking.push(self.ask(gateway, after, false));
        }
        for gateway in silent {
            asked
                .places
                .insert(gateway.clone(), Place { silent: true, asked: true, ..Place::default() });
            asked.asking.push(self.ask(gateway, 0, true));
        }
        self.listen(asked).await
    }

    async fn listen<'a>(&'a self, mut asked: Asked<'a>) -> Result<(), Ended> {
        let mut looks = interval(self.gateways.limits.trace_look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let period = self.gateways.limits.watch_bookmark;
        let mut signs = interval_at(Instant::now() + period, period);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some((gateway, answer)) = asked.asking.next() => {
                    self.answered(&mut asked, gateway, answer).await?;
                }
                _ = looks.tick() => self.look(&mut asked),
                _ = signs.tick() => self.teller.notice("", Kind::Following, 0).await?,
            }
        }
    }

    /// Asks gateways that are new, and those that are back.
    fn look<'a>(&'a self, asked: &mut Asked<'a>) {
        for gateway in self.gateways.alive() {
            let place = asked.places.entry(gateway.clone()).or_default();
            if !std::mem::replace(&mut place.asked, true) {
                asked.asking.push(self.ask(gateway, place.after, false));
            }
        }
    }

    async fn answered<'a>(
        &'a self,
        asked: &mut Asked<'a>,
        gateway: String,
        answer: Result<TapReply, bus::Error>,
    ) -> Result<(), Ended> {
        let place = asked.places.entry(gateway.clone()).or_default();
        let reply = match answer {
            Ok(reply) if !reply.refused => reply,
            Ok(_) | Err(_) => return self.failed(asked, gateway).await,
        };
        place.failures = 0;
        place.after = reply.position.max(place.after);
        if std::mem::take(&mut place.silent) {
            self.teller.notice(&gateway, Kind::Heard, 0).await?;
        }
        if reply.lost > 0 {
            self.teller.notice(&gateway, Kind::Lost, reply.lost).await?;
        }
        for entry in reply.entries {
            self.teller.entry(&gateway, entry).await?;
        }
        asked.asking.push(self.ask(gateway, place.after, false));
        Ok(())
    }

    /// One that stopped is left out, one that is there and silent is told of.
    async fn failed<'a>(&'a self, asked: &mut Asked<'a>, gateway: String) -> Result<(), Ended> {
        let place = asked.places.entry(gateway.clone()).or_default();
        place.failures += 1;
        place.asked = self.gateways.alive().contains(&gateway);
        if !place.asked {
            return Ok(());
        }
        // The first time it may be about to say goodbye.
        if place.failures > 1 && !std::mem::replace(&mut place.silent, true) {
            self.teller.notice(&gateway, Kind::Silent, 0).await?;
        }
        asked.asking.push(self.ask(gateway, place.after, true));
        Ok(())
    }

    fn ask(
        &self,
        gateway: String,
        after: u64,
        later: bool,
    ) -> BoxFuture<'_, (String, Result<TapReply, bus::Error>)> {
        let last = self.last.max(self.gateways.limits.trace_late_last);
        Box::pin(async move {
            if later {
                sleep(self.gateways.limits.trace_look).await;
            }
            let answer = self.gateways.listen(&gateway, after, last).await;
            (gateway, answer)
        })
    }
}
