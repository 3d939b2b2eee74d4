//! Carries commands out, in turns. One task per control.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use bus::Client;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use model::Timestamp;
use model::command::{Answer, CommandId, Line, SEND_MS, Way};
use store::{Key, Outcome as Written, Stored};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep;

use super::driven::{Answered, Driven, Outcome};
use super::outgoing::{self, Room, Sending};
use super::{Made, Sights, Told, answers};
use crate::ledger::{Filed, Ledger};
use crate::{Error, Limits};

/// Carries out the commands of one control.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) limits: Limits,
    /// Name of this control.
    pub(crate) name: String,
    pub(crate) ledger: Ledger,
    pub(crate) bus: Client,
    pub(crate) sights: Sights,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) changes: Arc<broadcast::Sender<CommandId>>,
}

type Asking = FuturesUnordered<Pin<Box<dyn Future<Output = Vec<Answered>> + Send>>>;

/// What is under way.
#[derive(Default)]
struct Open {
    commands: BTreeMap<CommandId, Driven>,
    asking: Asking,
}

impl Driver {
    /// Carries commands out, for ever.
    pub(crate) async fn run(mut self) {
        let mut open = Open::default();
        self.sights.view.until_ready().await;
        loop {
            self.listen(&mut open).await;
            let now = self.ledger.clock.now();
            self.plan(&mut open, now);
            self.commit(&mut open, now).await;
            self.send(&mut open);
            let now = self.ledger.clock.now();
            let done = |driven: &Driven| driven.dirty.is_empty() && driven.filed.is_settled(now);
            open.commands.retain(|_, driven| !done(driven));
            metrics::gauge!("muster_control_commands_open")
                .set(f64::from(u32::try_from(open.commands.len()).unwrap_or(u32::MAX)));
        }
    }

    /// Waits until there is something to do, and takes all there is.
    async fn listen(&mut self, open: &mut Open) {
        let idle = open.commands.is_empty();
        tokio::select! {
            biased;
            told = self.told.recv() => match told {
                Some(told) => self.take(open, told).await,
                None => std::future::pending().await,
            },
            Some(answered) = open.asking.next() => self.answered(open, answered),
            () = sleep(self.limits.command_turn), if !idle => {}
        }
        while let Ok(told) = self.told.try_recv() {
            self.take(open, told).await;
        }
        while let Some(Some(answered)) = futures_util::FutureExt::now_or_never(open.asking.next()) {
            self.answered(open, answered);
        }
    }

    async fn take(&self, open: &mut Open, told: Told) {
        let now = self.ledger.clock.now();
        match told {
            Told::New(filed, made) => self.take_new(open, *filed, made, now),
            Told::Adopted(filed, from) => {
                let id = filed.order.id;
                let driven = || Driven::new(*filed, format!("control {from}"), now);
                open.commands.entry(id).or_insert_with(driven);
            }
            Told::Changed(id) if open.commands.contains_key(&id) => self.reload(open, &id).await,
            Told::Changed(_) => {}
        }
    }

    fn take_new(
        &self,
        open: &mut Open,
        filed: Filed,
        made: oneshot::Sender<Result<Made, Error>>,
        now: Timestamp,
    ) {
        // Nobody waits for it any more: its caller was told that it failed.
        if made.is_closed() {
            return;
        }
        let id = filed.order.id;
        if open.commands.contains_key(&id) {
            return drop(made.send(Ok(Made::Exists)));
        }
        let targets: usize =
            open.commands.values().map(|driven| driven.order().targets as usize).sum();
        if targets + filed.order.targets as usize > self.limits.command_targets_open_max {
            let many = format!("{targets} agents have commands under way at this server");
            return drop(made.send(Err(Error::Exhausted(many))));
        }
        let mut driven = Driven::new(filed, format!("control {}", self.name), now);
        driven.dirty.insert(0);
        driven.made = Some(made);
        open.commands.insert(id, driven);
    }

    fn answered(&self, open: &mut Open, answered: Vec<Answered>) {
        let now = self.ledger.clock.now();
        for answered in answered {
            if let Some(driven) = open.commands.get_mut(&answered.command) {
                driven.answered(answered, now);
            }
        }
    }

    /// Lets every target go as far as it can.
    fn plan(&self, open: &mut Open, now: Timestamp) {
        let free = self.limits.command_requests_max.saturating_sub(open.asking.len());
        let mut room = Room::new(free, self.limits.reassess_max);
        let mut line = Line::default();
        if open.commands.len() > 1 {
            open.commands.values().for_each(|driven| driven.line_up(&mut line));
        }
        for driven in open.commands.values_mut().filter(|driven| !driven.doubtful) {
            driven.plan(&self.sights, &line, &mut room, now);
        }
    }

    /// Writes all that changed, at once.
    async fn commit(&self, open: &mut Open, now: Timestamp) {
        self.settle_doubts(open).await;
        let (mut writes, mut places) = (Vec::new(), Vec::new());
        for (id, driven) in open.commands.iter().filter(|(_, driven)| !driven.doubtful) {
            for part in &driven.dirty {
                writes.push(self.ledger.command_write(&driven.filed, *part));
                places.push((*id, *part));
            }
        }
        if writes.is_empty() {
            return;
        }
        match self.ledger.write_commands(writes).await {
            Ok(outcomes) => self.written(open, &places, &outcomes, now).await,
            Err(error) => self.not_written(open, &places, &error),
        }
    }

    async fn written(
        &self,
        open: &mut Open,
        places: &[(CommandId, usize)],
        outcomes: &[Written],
        now: Timestamp,
    ) {
        let mut lost = BTreeSet::new();
        for ((id, part), outcome) in places.iter().zip(outcomes) {
            let Some(driven) = open.commands.get_mut(id) else { continue };
            match outcome {
                Written::Written(version) => {
                    driven.filed.parts[*part].version = *version;
                    driven.dirty.remove(part);
                }
                Written::Conflict => drop(lost.insert(*id)),
            }
        }
        let changed: BTreeSet<CommandId> = places.iter().map(|(id, _)| *id).collect();
        for id in changed.difference(&lost) {
            let Some(driven) = open.commands.get_mut(id) else { continue };
            driven.written(now);
            if let Some(made) = driven.made.take() {
                drop(made.send(Ok(Made::Filed(Box::new(driven.filed.clone())))));
            }
            // Nobody may be watching.
            let _ = self.changes.send(*id);
        }
        for id in lost {
            // What of it was written is sent all the same, before it is read again.
            self.send_one(open, &id);
            self.reload(open, &id).await;
        }
    }

    /// Nobody knows whether it was written: nothing of it moves until that is known.
    fn not_written(&self, open: &mut Open, places: &[(CommandId, usize)], error: &Error) {
        tracing::warn!(%error, parts = places.len(), "commands not written");
        for (id, _) in places {
            let Some(driven) = open.commands.get_mut(id) else { continue };
            driven.doubtful = true;
            if let Some(made) = driven.made.take() {
                drop(made.send(Err(error.clone())));
            }
        }
    }

    /// Finds out what became of writes that failed.
    async fn settle_doubts(&self, open: &mut Open) {
        let doubtful: Vec<CommandId> =
            open.commands.iter().filter(|(_, d)| d.doubtful).map(|(id, _)| *id).collect();
        for id in doubtful {
            let Some(driven) = open.commands.get(&id) else { continue };
            if driven.stale {
                self.reload(open, &id).await;
                continue;
            }
            let parts: Vec<usize> = driven.dirty.iter().copied().collect();
            let keys: Vec<Key> = parts.iter().map(|part| driven.filed.key(*part)).collect();
            // Away still: the others are, too.
            let Ok(stored) = self.ledger.stored(&keys).await else { return };
            self.settle_doubt(open, &id, &parts, stored).await;
        }
    }

    async fn settle_doubt(
        &self,
        open: &mut Open,
        id: &CommandId,
        parts: &[usize],
        stored: Vec<Option<Stored>>,
    ) {
        let now = self.ledger.clock.now();
        let Some(driven) = open.commands.get_mut(id) else { return };
        let (mut written, mut others) = (Vec::new(), false);
        for (part, stored) in parts.iter().zip(stored) {
            let version = driven.filed.parts[*part].version;
            match stored {
                None if version == store::Version::ABSENT => {}
                Some(stored) if stored.version == version => {}
                Some(stored) if stored.value == driven.filed.value(*part) => {
                    written.push((*part, stored.version));
                }
                _ => others = true,
            }
        }
        // Its caller was told that it failed, and so it did.
        if driven.is_new() && written.is_empty() && !others {
            open.commands.remove(id);
            return;
        }
        for (part, version) in written {
            driven.filed.parts[part].version = version;
            driven.dirty.remove(&part);
        }
        driven.doubtful = false;
        match (others, driven.dirty.is_empty()) {
            (true, _) => self.reload(open, id).await,
            (false, true) => driven.written(now),
            (false, false) => {}
        }
    }

    /// Somebody else wrote it: goes on from that, or leaves it to who drives it now.
    async fn reload(&self, open: &mut Open, id: &CommandId) {
        let Some(driven) = open.commands.get_mut(id) else { return };
        let exists = driven.is_new().then(|| driven.made.take()).flatten();
        if let Some(made) = exists {
            open.commands.remove(id);
            return drop(made.send(Ok(Made::Exists)));
        }
        match self.ledger.command(id).await {
            Ok(Some(filed)) if filed.order.driver == self.name => {
                driven.reload(filed, self.ledger.clock.now());
            }
            Ok(_) => drop(open.commands.remove(id)),
            Err(error) => {
                tracing::warn!(%error, command = %id, "not read again");
                (driven.doubtful, driven.stale) = (true, true);
            }
        }
    }

    /// Asks for all that is written as routed.
    fn send(&self, open: &mut Open) {
        let ids: Vec<CommandId> = open.commands.keys().copied().collect();
        for id in ids {
            self.send_one(open, &id);
        }
    }

    fn send_one(&self, open: &mut Open, id: &CommandId) {
        let now = self.ledger.clock.now();
        let Some(driven) = open.commands.get_mut(id).filter(|driven| !driven.doubtful) else {
            return;
        };
        let (mut in_time, mut late) = (Vec::new(), Vec::new());
        for sending in driven.take_sending() {
            let Sending { uid, attempt, ref way, routed } = sending;
            match matches!(way, Way::Session { .. }) && now.millis_since(routed) >= SEND_MS {
                false => in_time.push(sending),
                true => late.push(Answered {
                    command: *id,
                    uid,
                    attempt,
                    outcome: Outcome::Answer(Answer::Late),
                }),
            }
        }
        let per_request = self.limits.reassess_max;
        let order = driven.order();
        let mut asks = outgoing::asks(order, driven.message.as_ref(), in_time, per_request, now);
        for (uid, attempt) in driven.take_withdrawn(now) {
            asks.push(outgoing::withdrawal(driven.order(), uid, attempt));
        }
        late.into_iter().for_each(|answered| driven.answered(answered, now));
        for ask in asks {
            let asked = answers::ask(self.bus.clone(), self.limits, *id, ask);
            open.asking.push(Box::pin(asked));
        }
    }
}
