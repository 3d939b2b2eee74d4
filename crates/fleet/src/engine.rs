//! Load, step, commit: many agents at a time, one read and one write of the store for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::Client;
use bytes::Bytes;
use model::components::ListHash;
use model::credential::Admission;
use model::custom::Received;
use model::seams::new_uid;
use model::session::{self, Context, Outcome, Withheld, step};
use model::{AgentRecord, AgentSummary, Clock, Event, GatewayId, Random, Timestamp};
use opamp::InstanceUid;
use store::quarantine::Quarantine;
use store::{Key, Outcome as Written, POLLS, Presence, Store, Stored, Version, Write, tables};
use tokio::time::timeout;

use crate::bodies::{Bodies, Fields};
use crate::components::{Lists, Said};
use crate::credentials::Teller;
use crate::intent::{Known, Ledger};
use crate::job::{Job, What};
use crate::outbox::{self, Announcement, OUTBOX_BYTES_MAX};
use crate::poison::Poison;
use crate::presence;
use crate::{Error, Limits};

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// The encoded fields with offers that the reply is to carry.
    pub(crate) offers: Fields,
    /// The record as it is stored now.
    pub(crate) record: Arc<AgentRecord>,
    /// The session that lost the agent to this job.
    pub(crate) superseded: Option<GatewayId>,
}

/// A batch's results, in the order of its jobs, and what is left to tell once they are answered.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) results: Vec<Result<Done, Error>>,
    pub(crate) announcement: Announcement,
}

/// Everything a batch needs.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) limits: Limits,
    pub(crate) bus: Client,
    pub(crate) records: Arc<dyn Store>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) quarantine: Quarantine,
    pub(crate) poison: Poison,
    pub(crate) lists: Lists,
    pub(crate) teller: Teller,
}

/// One agent's part of a round: its record, and its jobs by their place in the batch.
struct Agent {
    loaded: Loaded,
    jobs: Vec<usize>,
    /// Why it must not be worked on: its outbox is full and the log does not take it, or it is not
    /// known whether it may come in like this.
    barred: Option<Error>,
}

/// A record as it was read.
#[derive(Clone)]
struct Loaded {
    record: AgentRecord,
    unknown: Bytes,
    version: Version,
    /// Events that the log may not have.
    pending: Bytes,
    answered: Option<u64>,
    uid_is_ours: bool,
    /// What is stored cannot be read.
    broken: bool,
}

/// An agent's record after its jobs, ready to be written.
struct Stepped {
    record: AgentRecord,
    events: Vec<Event>,
    /// A custom message that was taken. An event has room for one: who brings another comes with
    /// the next round.
    message: Option<Received>,
    done: Vec<(usize, Done)>,
}

impl Engine {
    /// Does the jobs. Jobs of one agent happen in the order given. A job's failure is its own.
    pub(crate) async fn apply(&self, jobs: &[Job]) -> Applied {
        let mut results: Vec<Option<Result<Done, Error>>> = jobs.iter().map(|_| None).collect();
        let mut announcement = Announcement::default();
        for _ in 0..self.limits.conflicts_max {
            let open: Vec<usize> = (0..jobs.len()).filter(|i| results[*i].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let round = self.contained_round(jobs, &open, &mut results, &mut announcement);
            if let Err(error) = round.await {
                for index in open {
                    results[index].get_or_insert_with(|| Err(error.clone()));
                }
            }
        }
        let contended = |(index, result): (usize, Option<_>)| {
            result.unwrap_or_else(|| Err(Error::Contended(jobs[index].uid)))
        };
        Applied { results: results.into_iter().enumerate().map(contended).collect(), announcement }
    }

    /// One try at the jobs still open: those that lose a race stay open.
    pub(crate) async fn round(
        &self,
        jobs: &[Job],
        open: &[usize],
        results: &mut [Option<Result<Done, Error>>],
        announcement: &mut Announcement,
    ) -> Result<(), Error> {
        let (now, generations) = (self.clock.now(), self.records.generations());
        let mut agents = self.load(jobs, open, now).await?;
        drop_barred(&mut agents, results);
        self.drop_late(jobs, &mut agents, results);
        let newest = agents.values().map(|agent| agent.loaded.record.offered.decision).max();
        // Somebody decided on a newer intent than is known here. If it cannot be read now, the
        // step leaves those offers alone.
        let _ = self.ledger.catch_up(newest.unwrap_or(0)).await;
        let known = self.ledger.known();
        let lists = self.lists.learn(&said_of_lists(jobs, &agents)).await?;

        let mut writes = Vec::new();
        let mut written = Vec::new();
        for (uid, agent) in &agents {
            let stepped = self.step(agent, jobs, now, (known.as_deref(), &lists)).await;
            if stepped.record == agent.loaded.record {
                finish(stepped, results);
                continue;
            }
            let (key, expected) = (Key::agent(uid), agent.loaded.version);
            let version = match expected {
                // Above all that a lost or forgotten record had, so that readers take it for newer.
                Version::ABSENT => Version(now.0.max(stepped.record.generation).max(1)),
                version if agent.loaded.broken => version.next().max(Version(now.0)),
                version => version.next(),
            };
            let summary = AgentSummary::from(&stepped.record);
            let said = stepped.message.as_ref();
            let events =
                bus::event::encode(uid, version.0, now, &stepped.events, Some(&summary), said);
            let events = outbox::append(&agent.loaded.pending, version, &events);
            let value = tables::agents::encode(&stepped.record, &agent.loaded.unknown);
            writes.push(Write { key, expected, version, value, events });
            written.push(stepped);
        }
        // What was read before a loss that was noticed meanwhile is nothing to build upon.
        if writes.is_empty() || self.records.generations() != generations {
            return Ok(());
        }
        metrics::counter!("muster_fleet_commits_total").increment(1);
        let outcomes = self.records.commit(writes.clone()).await?;
        for ((outcome, write), stepped) in outcomes.into_iter().zip(writes).zip(written) {
            match outcome {
                Written::Written(version) => {
                    count(stepped.message.as_ref());
                    announcement.add(write.key, version, write.events);
                    finish(stepped, results);
                }
                Written::Conflict => {
                    metrics::counter!("muster_fleet_conflicts_total").increment(1);
                }
            }
        }
        Ok(())
    }

    /// Reads the agents' records, and what presence knows of those whose numbers matter.
    async fn load(
        &self,
        jobs: &[Job],
        open: &[usize],
        now: Timestamp,
    ) -> Result<BTreeMap<InstanceUid, Agent>, Error> {
        let mut by_agent: BTreeMap<InstanceUid, Vec<usize>> = BTreeMap::new();
        for index in open {
            by_agent.entry(jobs[*index].uid).or_default().push(*index);
        }
        let keys: Vec<Key> = by_agent.keys().map(Key::agent).collect();
        let (all, stored) = (jobs, self.records.get(&keys).await?);
        let (mut left_behind, mut lost) = (Announcement::default(), Vec::new());
        let mut full = Vec::new();
        let mut agents = BTreeMap::new();
        for (((uid, jobs), key), stored) in by_agent.into_iter().zip(keys).zip(stored) {
            let loaded = match stored {
                None => Loaded::absent(uid, self.first_seen(&key, now)),
                // It was forgotten, which the log may not know yet.
                Some(Stored { version, value, events }) if value.is_empty() => {
                    Loaded { version, pending: events, ..Loaded::absent(uid, now) }
                }
                Some(stored) => match tables::agents::decode(&key, &stored.value) {
                    Ok(decoded) => {
                        let mut pending = stored.events;
                        if pending.len() > OUTBOX_BYTES_MAX {
                            left_behind.add(key, stored.version, std::mem::take(&mut pending));
                            full.push(uid);
                        }
                        Loaded { pending, ..Loaded::from(decoded, stored.version) }
                    }
                    Err(error) => {
                        let kept = self.quarantine.keep(&*self.records, &key, &stored, &error, now);
                        kept.await;
                        if jobs.iter().all(|index| all[*index].what.is_a_look()) {
                            lost.push(uid);
                        }
                        Loaded::broken(uid, stored, now)
                    }
                },
            };
            agents.insert(uid, Agent { loaded, jobs, barred: None });
        }
        // Usually the log has them and the store will hear of it; when it has been away for long,
        // it must take them before the outbox grows further.
        if let Err(error) = left_behind.publish(&self.bus).await {
            for uid in full {
                agents.entry(uid).and_modify(|agent| agent.barred = Some(error.clone()));
            }
        }
        self.tell_lost(&lost).await;
        self.load_presence(jobs, &mut agents).await?;
        self.load_labels(&mut agents).await;
        self.load_standings(all, &mut agents).await;
        Ok(agents)
    }

    /// A new agent may have been labelled in an earlier life. If the ledger cannot be read, control
    /// finds it without its labels by and by.
    async fn load_labels(&self, agents: &mut BTreeMap<InstanceUid, Agent>) {
        let new = agents.iter().filter(|(_, agent)| agent.loaded.record.sequence_num.is_none());
        let new: Vec<InstanceUid> = new.map(|(uid, _)| *uid).collect();
        // A ledger that is away must not keep new agents waiting for longer than they wait.
        match timeout(self.limits.labels_timeout, self.ledger.labels(&new)).await {
            Ok(Ok(found)) => {
                for (uid, (labels, version)) in found {
                    if let Some(agent) = agents.get_mut(&uid) {
                        agent.loaded.record.labels = labels;
                        agent.loaded.record.labels_version = version;
                    }
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "labels of new agents not read"),
            Err(late) => tracing::debug!(%late, "labels of new agents not read"),
        }
    }

    /// Who comes with a token or a credential, and was not known by one before, may have one all
    /// the same: it is not heard before that is known.
    async fn load_standings(&self, jobs: &[Job], agents: &mut BTreeMap<InstanceUid, Agent>) {
        let is_new = |agent: &Agent| {
            let came = agent.jobs.iter().any(|index| jobs[*index].what.shows_something());
            came && agent.loaded.record.admission.is_none()
        };
        let new = agents.iter().filter(|(_, agent)| is_new(agent));
        let new: Vec<InstanceUid> = new.map(|(uid, _)| *uid).collect();
        let found = match timeout(self.limits.labels_timeout, self.ledger.standings(&new)).await {
            Ok(found) => found,
            Err(late) => Err(Error::Store(store::Error::Unavailable(late.to_string()))),
        };
        for uid in new {
            let Some(agent) = agents.get_mut(&uid) else { continue };
            match &found {
                Ok(found) => {
                    let standing = found.get(&uid).copied().unwrap_or_default();
                    let admission = Admission { standing, ..Admission::default() };
                    agent.loaded.record.admission = Some(Box::new(admission));
                }
                Err(error) => agent.barred = Some(error.clone()),
            }
        }
    }

    /// Gives up on jobs whose askers did so while the store was being read.
    fn drop_late(
        &self,
        jobs: &[Job],
        agents: &mut BTreeMap<InstanceUid, Agent>,
        results: &mut [Option<Result<Done, Error>>],
    ) {
        let now = self.clock.now();
        for agent in agents.values_mut() {
            agent.jobs.retain(|index| {
                let late = jobs[*index].deadline.is_some_and(|deadline| now > deadline);
                if late {
                    metrics::counter!("muster_fleet_expired_total").increment(1);
                    results[*index] = Some(Err(Error::TooLate(jobs[*index].uid)));
                }
                !late
            });
        }
    }

    /// Who reports without a session to vouch for its numbers is compared with presence.
    async fn load_presence(
        &self,
        jobs: &[Job],
        agents: &mut BTreeMap<InstanceUid, Agent>,
    ) -> Result<(), Error> {
        let mut asked = Vec::new();
        for (uid, agent) in &*agents {
            for job in agent.jobs.iter().map(|index| &jobs[*index].what) {
                let message = match job {
                    What::Claim { message, .. } | What::Poll { message, .. } => message,
                    What::Report { message, .. } if session::requests_uid(message) => message,
                    _ => continue,
                };
                if let Some(holder) = presence::holder(&agent.loaded.record) {
                    asked.push((holder, *uid));
                }
                if session::requests_uid(message) {
                    asked.push((presence::ASSIGNED.to_owned(), *uid));
                }
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let found = self.records.get_presence(&asked).await?;
        for ((holder, uid), found) in asked.into_iter().zip(found) {
            let (Some(found), Some(agent)) = (found, agents.get_mut(&uid)) else {
                continue;
            };
            if holder == presence::ASSIGNED {
                agent.loaded.uid_is_ours = true;
            } else {
                agent.loaded.answered = presence::answered(&agent.loaded.record, &found);
            }
        }
        Ok(())
    }

    /// An agent's jobs, one after the other, on its record.
    async fn step(
        &self,
        agent: &Agent,
        jobs: &[Job],
        now: Timestamp,
        (known, lists): (Option<&Known>, &BTreeMap<usize, ListHash>),
    ) -> Stepped {
        let mut record = agent.loaded.record.clone();
        let (mut events, mut done, mut message) = (Vec::new(), Vec::new(), None);
        let mut answered = agent.loaded.answered;
        for index in &agent.jobs {
            if message.is_some() && jobs[*index].what.says_something() {
                break;
            }
            let input = jobs[*index].what.input(answered);
            let mut context = Context {
                now,
                fresh_uid: new_uid(&*self.clock, &*self.random),
                uid_is_ours: agent.loaded.uid_is_ours,
                known_list: lists.get(index).copied(),
                generation: self.generation(&Key::agent(&record.instance_uid)).0,
                intent: known.map(Known::intent),
                withheld: Withheld::default(),
            };
            let mut result = step(&record, &input, &context);
            let mut bodies = Bodies::default();
            if let Outcome::Reply(reply) = &result.outcome {
                bodies = self.bodies(&reply.offers, &record.instance_uid).await;
                if bodies.withheld != Withheld::default() {
                    // An offer without its body waits for a later message.
                    context.withheld = bodies.withheld;
                    result = step(&record, &input, &context);
                }
            }
            let before = record.owner.as_ref();
            let superseded = before.filter(|_| result.record.epoch > record.epoch);
            let superseded = superseded.map(|owner| owner.gateway.clone());
            record = result.record;
            events.extend(result.events);
            message = message.or(result.message);
            // Presence was about the number before this job.
            answered = None;
            let (outcome, record) = (result.outcome, Arc::new(record.clone()));
            let offers = self.fields(bodies);
            done.push((*index, Done { outcome, offers, record, superseded }));
        }
        events.sort_unstable();
        events.dedup();
        Stepped { record, events, message, done }
    }

    /// Notes polls where the next poll, at any worker, finds them, and tells the views.
    pub(crate) async fn note_polls(&self, seen: &[Presence]) -> Result<(), Error> {
        if seen.is_empty() {
            return Ok(());
        }
        self.records.put_presence(POLLS, seen).await?;
        presence::publish_polls(&self.bus, seen, self.clock.now()).await;
        Ok(())
    }
}

/// Gives up on agents that must not be worked on: others of the batch go on.
fn drop_barred(
    agents: &mut BTreeMap<InstanceUid, Agent>,
    results: &mut [Option<Result<Done, Error>>],
) {
    for agent in agents.values_mut() {
        if let Some(error) = &agent.barred {
            for index in agent.jobs.drain(..) {
                results[index] = Some(Err(error.clone()));
            }
        }
    }
}

/// Counts a custom message that is stored.
fn count(message: Option<&Received>) {
    if let Some(message) = message {
        let kept = if message.is_whole() { "whole" } else { "size" };
        metrics::counter!("muster_fleet_custom_messages_total", "kept" => kept).increment(1);
    }
}

/// What the jobs' messages say of lists of components, by the jobs' places.
fn said_of_lists<'a>(
    jobs: &'a [Job],
    agents: &BTreeMap<InstanceUid, Agent>,
) -> Vec<(usize, Said<'a>)> {
    let mut said = Vec::new();
    for agent in agents.values() {
        let known = agent.loaded.record.reported.agent_description.as_ref();
        let of_job = |index: &usize| {
            let message = jobs[*index].what.message()?;
            Some((*index, Said::by(message, known)?))
        };
        said.extend(agent.jobs.iter().filter_map(of_job));
    }
    said
}

fn finish(stepped: Stepped, results: &mut [Option<Result<Done, Error>>]) {
    for (index, done) in stepped.done {
        results[index] = Some(Ok(done));
    }
}

impl Loaded {
    fn absent(uid: InstanceUid, now: Timestamp) -> Self {
        Self {
            record: AgentRecord::new(uid, now),
            unknown: Bytes::new(),
            version: Version::ABSENT,
            pending: Bytes::new(),
            answered: None,
            uid_is_ours: false,
            broken: false,
        }
    }

    /// As if the agent had never spoken, but for what keeps its sessions apart: epochs rise with
    /// versions, and those begin at the time of day, so no session held one as high as now. Every
    /// session is stale and claims anew, and the agent is asked for everything. It was there before
    /// and waits for decisions like all others.
    fn broken(uid: InstanceUid, stored: Stored, now: Timestamp) -> Self {
        let mut loaded = Self::absent(uid, Timestamp(0));
        loaded.record.epoch = now.0;
        let (version, pending) = (stored.version, stored.events);
        Self { version, pending, broken: true, ..loaded }
    }

    fn from(decoded: tables::Loaded<AgentRecord>, version: Version) -> Self {
        let (record, unknown) = (decoded.value, decoded.unknown);
        let pending = Bytes::new();
        let (answered, uid_is_ours, broken) = (None, false, false);
        Self { record, unknown, version, pending, answered, uid_is_ours, broken }
    }
}
