//! Commands for an agent that polls: they wait in its record, and one of them is the whole reply to
//! a poll (rules CMD-02, CMD-04). None is told twice, whatever comes again. What may not enter:
//! commands to sessions, which gateways tell without a record.

use opamp::Message as _;
use opamp::v1::{AgentToServer, CommandType, ServerToAgent};

use super::Context;
use super::sequence::Sequence;
use crate::Timestamp;
use crate::command::{CommandId, Progress};
use crate::record::{AgentRecord, PolledCommand};

/// Commands that wait for one agent at most.
const WAITING_MAX: usize = 8;
/// Bytes of all that wait for one agent: they are part of its record.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Commands remembered that wait no more, so that control learns how far they came.
const PAST_MAX: usize = 8;

/// A command as it is handed over.
#[derive(Debug, Clone, Copy)]
pub struct Handover<'a> {
    /// Which command.
    pub id: CommandId,
    /// ServerToAgent without a uid.
    pub message: &'a [u8],
    /// From then on no poll is told it.
    pub not_after: Timestamp,
    /// Take it back instead.
    pub withdraw: bool,
    /// When it was first handed over. A record that was lost since may have had it.
    pub since: Timestamp,
}

/// What became of a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It waits, or is further than that.
    Taken,
    /// The agent does not poll.
    NotPolling,
    /// Too much waits already.
    Full,
    /// It does not wait any more, and was not told.
    Withdrawn,
    /// Nothing is known of it, and it may have been told: it is to be withdrawn, or the records
    /// were lost since it was handed over first.
    Unknown,
}

pub(super) fn hand_over(
    record: &mut AgentRecord,
    command: &Handover<'_>,
    context: &Context<'_>,
) -> Handed {
    expire(record, context.now);
    let known = record.commands.iter().position(|known| known.id == command.id);
    if command.withdraw {
        return match known {
            Some(at) if record.commands[at].progress == Progress::Waiting => {
                record.commands.remove(at);
                Handed::Withdrawn
            }
            Some(_) => Handed::Taken,
            None => Handed::Unknown,
        };
    }
    if known.is_some() {
        return Handed::Taken;
    }
    if command.since != Timestamp(0) && context.generation > command.since.0 {
        return Handed::Unknown;
    }
    if !record.polls || record.owner.is_some() {
        return Handed::NotPolling;
    }
    let waiting = record.commands.iter().filter(|known| known.progress == Progress::Waiting);
    let (count, bytes) =
        waiting.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.message.len()));
    if count >= WAITING_MAX || bytes + command.message.len() > WAITING_BYTES_MAX {
        return Handed::Full;
    }
    record.commands.push(PolledCommand {
        id: command.id,
        message: command.message.to_vec(),
        not_after: command.not_after,
        progress: Progress::Waiting,
        number: 0,
        told: record.signs,
        doubtful: false,
        restarts: is_restart(command.message),
    });
    Handed::Taken
}

/// A poll came: what it says of the command that was told last, before its parts are looked at.
pub(super) fn polled(record: &mut AgentRecord, message: &AgentToServer, now: Timestamp) {
    expire(record, now);
    for command in record.commands.iter_mut().filter(|it| it.progress == Progress::Replied) {
        if message.sequence_num == command.number {
            command.doubtful = true;
        } else if !command.doubtful {
            command.progress = Progress::Delivered;
        }
    }
}

/// Whether a command waits for a poll like this. A goodbye is no time for it.
pub(super) fn waits(record: &AgentRecord, message: &AgentToServer) -> bool {
    let waiting = |command: &PolledCommand| command.progress == Progress::Waiting;
    // A poll that comes again, because its reply was lost, may have had a command in that reply.
    let again = record
        .commands
        .iter()
        .any(|it| it.progress == Progress::Replied && it.number == message.sequence_num);
    let may = message.agent_disconnect.is_none() && !record.is_pending();
    may && !again && record.commands.iter().any(waiting)
}

/// Takes the command that waits longest for the reply to a poll.
pub(super) fn tell(record: &mut AgentRecord, number: u64) -> Option<Vec<u8>> {
    let signs = record.signs;
    let next = record.commands.iter_mut().find(|it| it.progress == Progress::Waiting)?;
    next.progress = Progress::Replied;
    next.number = number;
    next.told = signs;
    let message = std::mem::take(&mut next.message);
    forget(record);
    Some(message)
}

/// The agent holds a session now: whoever waits for its polls waits in vain.
pub(super) fn give_back(record: &mut AgentRecord) {
    for command in record.commands.iter_mut().filter(|it| it.progress == Progress::Waiting) {
        command.progress = Progress::Returned;
        command.message = Vec::new();
    }
    forget(record);
}

/// Signs of a restart in a message, before its parts are taken: a later start time, or numbers that
/// begin anew where no start time is said. The first words of a life may arrive late, when that is
/// known already; their start time tells.
pub(super) fn restarted(
    record: &AgentRecord,
    message: &AgentToServer,
    answered: Option<u64>,
) -> bool {
    let start = |health: &opamp::v1::ComponentHealth| health.start_time_unix_nano;
    let known = record.reported.health.as_ref().map_or(0, start);
    let said = message.health.as_ref().map_or(0, start);
    if known != 0 && said != 0 {
        return said > known;
    }
    let number = message.sequence_num;
    number <= 1 && answered.is_some_and(|answered| number < answered)
}

/// Whether a full report is worth counting: it was asked for. Agents that always say everything
/// would else be stored with every word.
pub(super) fn is_asked_for(
    record: &AgentRecord,
    message: &AgentToServer,
    sequence: Sequence,
    (epoch, answered): (u64, Option<u64>),
) -> bool {
    // The poll whose reply has it was said before that.
    let told = |it: &PolledCommand| {
        matches!(it.progress, Progress::Replied | Progress::Delivered)
            && it.number != message.sequence_num
    };
    let asked = match epoch {
        0 => record.commands.iter().any(told),
        _ => answered.is_none(),
    };
    sequence.complete && (asked || record.full_state.wanted)
}

/// What the agent's signs say of commands that it was told. A restart explains the last one that
/// was told, and no other: an earlier one may not have arrived.
pub(super) fn judge(record: &mut AgentRecord) {
    let signs = record.signs;
    let told = |it: &PolledCommand| {
        !matches!(it.progress, Progress::Waiting | Progress::Expired | Progress::Returned)
    };
    let last_restart = record.commands.iter().rposition(|it| it.restarts && told(it));
    for (at, command) in record.commands.iter_mut().enumerate().filter(|(_, it)| told(it)) {
        if signs.restarts > command.told.restarts {
            if !command.restarts || Some(at) == last_restart {
                command.progress = Progress::Restarted;
            }
        } else if signs.full_reports > command.told.full_reports && !command.restarts {
            command.progress = Progress::Reported;
        }
    }
}

fn is_restart(message: &[u8]) -> bool {
    let message = ServerToAgent::decode(message).unwrap_or_default();
    message.command.is_some_and(|command| command.r#type() == CommandType::Restart)
}

fn expire(record: &mut AgentRecord, now: Timestamp) {
    for command in record.commands.iter_mut().filter(|it| it.progress == Progress::Waiting) {
        if now >= command.not_after {
            command.progress = Progress::Expired;
            command.message = Vec::new();
        }
    }
    forget(record);
}

/// The oldest of what waits no more.
fn forget(record: &mut AgentRecord) {
    let past = |it: &PolledCommand| it.progress != Progress::Waiting;
    let mut excess = record.commands.iter().filter(|it| past(it)).count().saturating_sub(PAST_MAX);
    record.commands.retain(|it| {
        let goes = excess > 0 && past(it);
        excess -= usize::from(goes);
        !goes
    });
}
