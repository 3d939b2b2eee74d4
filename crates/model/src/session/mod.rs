//! One step of one agent: its record and what happened, to the new record, the reply, the news.
//!
//! ```text
//!   ownership (who may speak) ─► sequence (is something missing) ─► merge (what it said)
//!     ─► assess (what it should run) ─► offer (what the reply carries)
//! ```
//!
//! [`step`] never fails and never panics: whatever an agent sends is a fact about that agent.

#[cfg(test)]
mod admission;
mod commands;
#[cfg(test)]
mod commands_laws;
mod components;
mod custom;
mod difference;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod lost;
mod merge;
mod offer;
mod ownership;
#[cfg(test)]
mod rare;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use opamp::InstanceUid;
use opamp::v1::{AgentToServer, AgentToServerFlags, ServerToAgentFlags};

pub use commands::{Handed, Handover};

use crate::assign::Assignments;
use crate::components::ListHash;
use crate::credential::{Refusal, Shown, Standing};
use crate::custom::Received;
use crate::packages::PackagesOffer;
use crate::record::{AgentRecord, Owner};
use crate::settings::SettingsPart;
use crate::{ConfigHash, Event, GatewayId, RevisionRef, Timestamp};

/// What happened to an agent.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A session's first report: it claims the agent.
    Claim {
        /// The gateway and session that claim.
        owner: Owner,
        /// Last number answered, if presence knows better than the record.
        answered: Option<u64>,
        /// What is known of the session that holds the agent, if one does.
        rival: Rival,
        /// The epoch that the gateway's last session with the agent held; 0 if there was none. A
        /// record that knows less of it was lost or set back.
        floor: u64,
        /// Where the session comes from.
        from: Origin<'a>,
        /// What the agent said.
        message: &'a AgentToServer,
    },
    /// A later report of a session.
    Report {
        /// The session and its gateway.
        owner: Owner,
        /// Epoch it holds.
        epoch: u64,
        /// The gateway's count of reports in this session.
        n: u64,
        /// Last number the gateway answered in this session; `None` if this is the full report
        /// that the gateway asked for, which needs no number to follow.
        answered: Option<u64>,
        /// What the agent said.
        message: &'a AgentToServer,
    },
    /// A gateway still holds a session, and doubts whether the record says so.
    Resume {
        /// The session and its gateway.
        owner: Owner,
        /// Epoch it holds.
        epoch: u64,
        /// Last number answered in it.
        answered: Option<u64>,
    },
    /// A gateway is gone, and its session with it.
    Reap {
        /// The gateway.
        gateway: GatewayId,
        /// Epoch of the session.
        epoch: u64,
    },
    /// A report over plain HTTP: nobody owns a poll.
    Poll {
        /// Last number answered, if presence knows better than the record.
        answered: Option<u64>,
        /// Where the poll comes from.
        from: Origin<'a>,
        /// What the agent said.
        message: &'a AgentToServer,
    },
    /// A session ended.
    Close {
        /// The session and its gateway.
        owner: Owner,
        /// Epoch it held.
        epoch: u64,
        /// Last number answered in it.
        answered: Option<u64>,
    },
    /// A command is handed over, to wait for a poll.
    Command(Handover<'a>),
    /// The assignments changed.
    Assess,
    /// Its credentials may be others.
    Admitted(Standing),
    /// Operators may have labelled it otherwise.
    Labelled {
        /// Its labels in the ledger.
        labels: &'a BTreeMap<String, String>,
        /// Their version there.
        version: u64,
    },
    /// A pushed offer was flushed to the session's socket.
    Pushed {
        /// Epoch of the session.
        epoch: u64,
        /// What was pushed.
        what: &'a Pushed,
        /// The decision that made the offer.
        decision: u64,
    },
}

/// Where a session or poll comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// Address of the peer.
    pub remote_address: &'a str,
    /// Name of the token it came with.
    pub token_name: &'a str,
    /// What it showed, where agents have credentials.
    pub shown: Shown<'a>,
}

/// Offers that go out together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// A config.
    pub config: Option<RevisionRef>,
    /// All packages.
    pub packages: Option<Box<PackagesOffer>>,
    /// Connection settings.
    pub settings: Option<Box<SettingsPart>>,
}

impl Offers {
    /// Each offer by itself.
    pub fn each(self) -> impl Iterator<Item = Pushed> {
        let config = self.config.map(|config| Pushed::Config(config.hash));
        let settings = self.settings.map(Pushed::Settings);
        let packages = self.packages.map(Pushed::Packages);
        [config, settings, packages].into_iter().flatten()
    }
}

/// An offer that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pushed {
    /// A config.
    Config(ConfigHash),
    /// All packages.
    Packages(Box<PackagesOffer>),
    /// Connection settings.
    Settings(Box<SettingsPart>),
}

/// Kinds of offers that cannot go out now, since what they say cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Withheld {
    /// The config.
    pub config: bool,
    /// Packages.
    pub packages: bool,
    /// Connection settings.
    pub settings: bool,
}

/// Whether the session that holds an agent lives, when another one claims the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rival {
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// The session of this epoch does not answer: its agent is the newcomer.
    Gone(u64),
    /// The session of this epoch answers: there are two agents of one uid.
    Alive(u64),
}

/// What a step may know beside the record.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// A uid nobody has, should the agent ask for one.
    pub fresh_uid: InstanceUid,
    /// The agent's uid was given to it by us, so it needs no other.
    pub uid_is_ours: bool,
    /// The list that agents of this one's kind reported under the hash that it reports now.
    pub known_list: Option<ListHash>,
    /// Generation of the store that the record lies in.
    pub generation: u64,
    /// What operators decided; `None` while the ledger cannot be read: then offers stay as they
    /// are and none goes out.
    pub intent: Option<Intent<'a>>,
    /// Offers that wait for a later message.
    pub withheld: Withheld,
}

/// The operators' decisions, numbered.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// The assignments.
    pub assignments: &'a Assignments,
    /// Their version.
    pub decision: u64,
}

/// What a step decided. Nothing has happened yet: the body stores the record first.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The record from now on. Equal to the one before if nothing needs storing.
    pub record: AgentRecord,
    /// What changed.
    pub events: Vec<Event>,
    /// A custom message that came with it and is taken for the first time.
    pub message: Option<Received>,
    /// What to answer.
    pub outcome: Outcome,
}

/// The answer to an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Tell the agent.
    Reply(Reply),
    /// Tell the gateway that its session is no longer the owner.
    Stale,
    /// Somebody holds the agent: find out whether that session lives, then claim again.
    Contested {
        /// The session that holds it.
        owner: Owner,
        /// Its epoch.
        epoch: u64,
    },
    /// What became of a command that was handed over.
    Handed(Handed),
    /// Do not hear the agent: it is not who it says, as far as anybody can tell.
    Refused(Refusal),
    /// Nobody waits for an answer.
    Silence,
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// Epoch the session holds from now on; 0 without one.
    pub epoch: u64,
    /// ServerToAgentFlags.
    pub flags: u64,
    /// A command, encoded as ServerToAgent without a uid. Nothing else is told with it.
    pub command: Option<Vec<u8>>,
    /// What to offer.
    pub offers: Offers,
    /// The uid the agent is to use from now on.
    pub new_instance_uid: Option<InstanceUid>,
}

/// The step. Equal inputs give equal results.
pub fn step(before: &AgentRecord, input: &Input<'_>, context: &Context<'_>) -> Step {
    let mut record = before.clone();
    let outcome = match message(input) {
        // The uid it sends is temporary, maybe shared: no record is made or touched for it.
        Some(message) if requests_uid(message) && !context.uid_is_ours => {
            Outcome::Reply(identification(context.fresh_uid))
        }
        Some(_) if let Some(refusal) = refusal(before, input) => Outcome::Refused(refusal),
        // Somebody never met, or forgotten since: there is nothing to decide.
        None if before.sequence_num.is_none() => match input {
            Input::Resume { .. } => Outcome::Stale,
            Input::Command(_) => Outcome::Handed(Handed::NotPolling),
            _ => Outcome::Silence,
        },
        // Goodbye from somebody never met.
        Some(message) if message.agent_disconnect.is_some() && before.sequence_num.is_none() => {
            Outcome::Reply(Reply::default())
        }
        _ => apply(&mut record, input, context),
    };
    if record != *before && message(input).is_some() {
        record.last_seen = context.now;
    }
    let events = difference::events(before, &record);
    let taken = record.custom.taken > before.custom.taken;
    let message = message(input).filter(|_| taken).and_then(|said| said.custom_message.as_ref());
    let message = message.map(|said| Received::kept(said, &mut record.custom, context.now));
    Step { record, events, message, outcome }
}

fn apply(record: &mut AgentRecord, input: &Input<'_>, context: &Context<'_>) -> Outcome {
    match input {
        Input::Claim { owner, answered, rival, floor, from, message } => {
            let answered = answered.or(record.sequence_num);
            let claim = (owner, *rival, *floor);
            ownership::claim(record, claim, context, |record, epoch| {
                from.remote_address.clone_into(&mut record.remote_address);
                from.note(record);
                commands::give_back(record);
                custom::take(record, message, false);
                told(record, message, answered, epoch, context)
            })
        }
        Input::Report { owner, epoch, n, answered, message } => {
            ownership::report(record, owner, (*epoch, *n), context, |record| {
                custom::take(record, message, *answered == Some(message.sequence_num));
                told(record, message, *answered, *epoch, context)
            })
        }
        Input::Resume { owner, epoch, answered } => {
            ownership::resume(record, owner, *epoch, *answered, |record| {
                renew(record, context);
                let wanted = u64::from(record.full_state.wanted);
                let flags = wanted * ServerToAgentFlags::ReportFullState as u64;
                Reply { epoch: *epoch, flags, ..Default::default() }
            })
        }
        Input::Reap { gateway, epoch } => {
            ownership::reap(record, gateway, *epoch);
            Outcome::Silence
        }
        Input::Poll { answered, from, message } => {
            Outcome::Reply(polled(record, message, *answered, *from, context))
        }
        Input::Close { owner, epoch, answered } => {
            ownership::close(record, owner, *epoch, *answered);
            Outcome::Silence
        }
        Input::Assess => {
            offer::assess(record, context.intent);
            Outcome::Silence
        }
        Input::Command(command) => Outcome::Handed(commands::hand_over(record, command, context)),
        Input::Labelled { labels, version } => {
            // Two changes may come the wrong way round.
            if *version > record.labels_version {
                record.labels_version = *version;
                (*labels).clone_into(&mut record.labels);
            }
            offer::assess(record, context.intent);
            Outcome::Silence
        }
        Input::Admitted(standing) => {
            let admission = record.admission.get_or_insert_default();
            if standing.version > admission.standing.version {
                admission.standing = *standing;
            }
            offer::assess(record, context.intent);
            Outcome::Silence
        }
        Input::Pushed { epoch, what, decision } => {
            offer::pushed(record, *epoch, (what, *decision), context.now);
            Outcome::Silence
        }
    }
}

fn message<'a>(input: &Input<'a>) -> Option<&'a AgentToServer> {
    match input {
        Input::Claim { message, .. }
        | Input::Report { message, .. }
        | Input::Poll { message, .. } => Some(message),
        Input::Resume { .. }
        | Input::Reap { .. }
        | Input::Close { .. }
        | Input::Command(_)
        | Input::Assess
        | Input::Admitted(_)
        | Input::Labelled { .. }
        | Input::Pushed { .. } => None,
    }
}

/// Why an agent is not heard.
fn refusal(record: &AgentRecord, input: &Input<'_>) -> Option<Refusal> {
    let admission = record.admission.as_ref()?;
    match input {
        Input::Claim { from, .. } | Input::Poll { from, .. } => admission.refuses(from.shown),
        _ => admission.is_turned_away().then_some(Refusal::TurnedAway),
    }
}

impl Origin<'_> {
    /// Notes what the agent came in with.
    fn note(&self, record: &mut AgentRecord) {
        self.token_name.clone_into(&mut record.token_name);
        if self.shown != Shown::Nothing {
            record.admission.get_or_insert_default().note(self.shown);
        }
    }
}

/// What to push to an agent's session now, as far as it lacks what it is offered.
pub fn to_push(record: &AgentRecord, assignments: &Assignments) -> Offers {
    match record.owner {
        Some(_) => offer::outstanding(record, assignments),
        None => Offers::default(),
    }
}

/// Whether a message asks for a uid.
pub fn requests_uid(message: &AgentToServer) -> bool {
    message.flags & AgentToServerFlags::RequestInstanceUid as u64 != 0
}

/// The answer to an agent that wants a uid. With a full report asked for in the same breath, it
/// uses its new uid at once.
pub fn identification(fresh_uid: InstanceUid) -> Reply {
    Reply {
        flags: ServerToAgentFlags::ReportFullState as u64,
        new_instance_uid: Some(fresh_uid),
        ..Default::default()
    }
}

/// A poll changes the record only by what it says: its number alone is kept by presence. Its
/// port is another one on each connection, and means nothing.
fn polled(
    record: &mut AgentRecord,
    message: &AgentToServer,
    answered: Option<u64>,
    from: Origin<'_>,
    context: &Context<'_>,
) -> Reply {
    let before = record.clone();
    record.polls = true;
    record.owner = None;
    let address = from.remote_address;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.clone_into(&mut record.remote_address);
    from.note(record);
    let expected = answered.or(record.sequence_num);
    custom::take(record, message, false);
    commands::polled(record, message, context.now);
    let reply = match commands::waits(record, message) {
        true => commanded(record, message, expected, context),
        false => told(record, message, expected, 0, context),
    };
    let number = record.sequence_num;
    record.sequence_num = before.sequence_num;
    if *record != before {
        record.sequence_num = number;
    }
    reply
}

/// A poll that is answered with a command, and with nothing else: what else there is to say, or to
/// ask for, is said in the reply to the next one.
fn commanded(
    record: &mut AgentRecord,
    message: &AgentToServer,
    answered: Option<u64>,
    context: &Context<'_>,
) -> Reply {
    let before = record.full_state;
    told(record, message, answered, 0, &Context { intent: None, ..*context });
    record.full_state.asked = before.asked.min(record.full_state.asked);
    record.full_state.components_asked = before.components_asked;
    let command = commands::tell(record, message.sequence_num);
    Reply { command, ..Reply::default() }
}

/// A record of an older generation may have been set back, and nobody knows by how much: all of it
/// is asked for again.
fn renew(record: &mut AgentRecord, context: &Context<'_>) {
    let before = std::mem::replace(&mut record.generation, context.generation);
    if before != 0 && before != context.generation {
        record.full_state.wanted = true;
        record.full_state.asked = 0;
    }
}

/// The agent said something to somebody who may listen.
fn told(
    record: &mut AgentRecord,
    message: &AgentToServer,
    answered: Option<u64>,
    epoch: u64,
    context: &Context<'_>,
) -> Reply {
    let reply = Reply { epoch, ..Default::default() };
    if message.agent_disconnect.is_some() {
        record.sequence_num = Some(message.sequence_num);
        record.polls = false;
        ownership::release(record);
        return reply;
    }
    renew(record, context);
    let sequence = sequence::judge(record, message, answered);
    // A complete report after a break is all there is: what it leaves out did not survive.
    let follows = answered.is_some() && !sequence.gap && !record.full_state.wanted;
    let afresh = sequence.complete && !follows;
    // A poll may arrive after a later one. What it says is old news then, and all of it is asked
    // for; unless asking has stopped, since the agent's numbers mean nothing.
    let late = epoch == 0 && sequence.is_behind(message) && !record.full_state.ignores_sequence;
    if commands::restarted(record, message, answered) {
        record.signs.restarts += 1;
        record.signs.restarted = context.now;
    }
    let asked_for = commands::is_asked_for(record, message, sequence, (epoch, answered));
    let asks = sequence::ask(record, message, sequence);
    if !late || asks == 0 {
        components::take(record, message, context.known_list);
        merge::merge(record, message, afresh);
        components::drop_orphan(record);
        record.signs.full_reports += u64::from(asked_for);
    }
    record.sequence_num = Some(message.sequence_num);
    let flags = asks | components::ask(record, message);
    commands::judge(record);
    offer::note_failures(record);
    offer::note_word(record, message);
    offer::assess(record, context.intent);
    let offers = offer::reply(record, message, epoch, context);
    Reply { flags, offers, ..reply }
}
