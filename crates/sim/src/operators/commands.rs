//! Commands as operators give them: a request whose fate is not known is given again under its id,
//! as the API wants it. What agents do with them is not known here.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use control::v1::command::{Action, CustomMessage, Refresh, Restart};
use control::v1::{Command, CreateCommandRequest};
use model::command::CommandId;
use opamp::InstanceUid;
use tokio::time::{Instant, sleep};

use super::Operator;
use crate::history::{Tell, Wish, Word};
use crate::limits::BEGIN_MS;

/// How long a command may take to be sent, in milliseconds, if it does not wait for polls.
const EXPIRES_MS: (u64, u64) = (1_000, 10_000);
/// The same if it does.
const QUEUED_MS: (u64, u64) = (4_000, 25_000);
/// How long an effect is waited for, in milliseconds.
const CONFIRM_MS: (u64, u64) = (3_000, 12_000);
/// How long an agent is not told to restart again once the last time is over, in milliseconds.
/// Restarts look all alike: what the one before did must not be taken for what this one does.
const APART_MS: u64 = 8_000;
/// Times that a request is given whose fate is not known.
const TRIES: u32 = 3;

/// An operator who gives commands.
pub(crate) struct Commander {
    pub(crate) operator: Operator,
}

/// What one remembers of the commands one gave.
#[derive(Default)]
struct Book {
    given: u64,
    /// When agents may be told to restart again.
    restarts: BTreeMap<InstanceUid, Instant>,
}

impl Commander {
    /// Gives commands until there is calm.
    pub(crate) async fn work(self) {
        let mut book = Book::default();
        let calm = self.operator.calm.clone();
        while !calm.is_cancelled() {
            let wait = Duration::from_millis(self.operator.dice.between(200, 3_000));
            if calm.run_until_cancelled(sleep(wait)).await.is_none() {
                break;
            }
            let wish = self.wish(&mut book);
            if let Wish::Tell(tell) = &wish {
                self.operator.world.history().tells.push(tell.clone());
            }
            for _ in 0..TRIES {
                if self.operator.order(wish.clone()).await.is_some() {
                    break;
                }
            }
        }
    }

    fn wish(&self, book: &mut Book) -> Wish {
        let dice = &self.operator.dice;
        if book.given > 0 && dice.chance(80) {
            return Wish::Recall { number: book.given };
        }
        book.given += 1;
        let queue = dice.chance(500);
        let span = if queue { QUEUED_MS } else { EXPIRES_MS };
        let left = dice.between(span.0, span.1);
        let confirm_ms = dice.between(CONFIRM_MS.0, CONFIRM_MS.1);
        let mut agents = self.agents();
        let mut what = match dice.below(6) {
            0 | 1 => Word::Restart,
            2 => Word::Refresh,
            _ => Word::Number(book.given),
        };
        if what == Word::Restart {
            let now = Instant::now();
            agents.retain(|uid| book.restarts.get(uid).is_none_or(|free| *free <= now));
            let free = now + Duration::from_millis(left + confirm_ms + APART_MS);
            book.restarts.extend(agents.iter().map(|uid| (*uid, free)));
            if agents.is_empty() {
                (agents, what) = (self.agents(), Word::Number(book.given));
            }
        }
        let expires = BEGIN_MS + self.operator.world.now_ms() + left;
        Wish::Tell(Tell { number: book.given, what, agents, expires, queue, confirm_ms })
    }

    /// Mostly one.
    fn agents(&self) -> Vec<InstanceUid> {
        let (all, dice) = (self.operator.cluster.uids(), &self.operator.dice);
        if dice.chance(250) {
            return all;
        }
        dice.pick(&all).copied().into_iter().collect()
    }
}

/// The id of a command, by its number.
pub(crate) fn id(number: u64) -> CommandId {
    CommandId::of_request(&request_id(number))
}

pub(super) fn name(number: u64) -> String {
    format!("commands/{}", id(number))
}

fn request_id(number: u64) -> String {
    format!("command {number}")
}

/// The same command is the same request.
pub(super) fn request(tell: &Tell) -> CreateCommandRequest {
    let action = match tell.what {
        Word::Restart => Action::Restart(Restart {}),
        Word::Refresh => Action::Refresh(Refresh {}),
        Word::Number(number) => Action::CustomMessage(CustomMessage {
            capability: agent::core::ECHO.to_owned(),
            r#type: "number".to_owned(),
            data: number.to_be_bytes().to_vec(),
            reply: None,
        }),
    };
    let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(tell.expires);
    let command = Command {
        action: Some(action),
        queue: tell.queue,
        expire_time: Some(expires.into()),
        confirm_window: Duration::from_millis(tell.confirm_ms).try_into().ok(),
        ..Default::default()
    };
    CreateCommandRequest {
        command: Some(command),
        agents: tell.agents.iter().map(|uid| format!("agents/{uid}")).collect(),
        request_id: request_id(tell.number),
        ..Default::default()
    }
}
