//! What agents said lately in custom messages, for commands that wait for an answer. Kept by each
//! control, so that one that goes on with another's commands has it too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bus::event::Told;
use model::Timestamp;
use model::command::{CommandId, Custom, Expected, Order, Reply};
use model::custom::Received;
use opamp::InstanceUid;
use serde_json::Value;

use crate::Limits;

/// Messages by agent, up to a bound in number and bytes: the oldest go first.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// In order of their versions.
    by_agent: BTreeMap<InstanceUid, Vec<Said>>,
    order: VecDeque<(InstanceUid, u64)>,
    bytes: usize,
}

#[derive(Debug)]
struct Said {
    /// Version of the record that took it.
    version: u64,
    at: Timestamp,
    message: Received,
    /// The command that it answers.
    answers: Option<CommandId>,
}

impl Replies {
    /// Keeps what an agent said. The log may repeat it.
    pub(super) fn note(&self, told: &Told) {
        let Some(message) = &told.message else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let all = heard.by_agent.entry(told.instance_uid).or_default();
        let Err(place) = all.binary_search_by_key(&told.version, |said| said.version) else {
            return;
        };
        let (version, at, message) = (told.version, told.at, message.clone());
        let bytes = weight(&message);
        all.insert(place, Said { version, at, message, answers: None });
        heard.bytes += bytes;
        heard.order.push_back((told.instance_uid, version));
        heard.drop_oldest();
    }

    /// What an agent answered to a command that was given to it when its record had this version.
    /// An answer is one command's alone, and stays that.
    pub(crate) fn answer(
        &self,
        uid: &InstanceUid,
        order: &Order,
        custom: &Custom,
        since: u64,
    ) -> Option<Reply> {
        let expected = custom.reply.as_ref()?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let all = heard.by_agent.get_mut(uid)?;
        let own = all.iter().position(|said| said.answers == Some(order.id));
        let found = own.or_else(|| {
            let free = |said: &Said| said.version > since && said.answers.is_none();
            all.iter().position(|said| free(said) && is_answer(expected, custom, &said.message))
        })?;
        let said = &mut all[found];
        said.answers = Some(order.id);
        let data = Some(&said.message.data).filter(|data| data.len() <= order.reply_bytes_max());
        Some(Reply {
            data: data.cloned().unwrap_or_default(),
            size: said.message.size,
            at: said.at,
            version: said.version,
        })
    }
}

impl Heard {
    fn drop_oldest(&mut self) {
        while self.order.len() > Limits::REPLIES_MAX || self.bytes > Limits::REPLIES_BYTES_MAX {
            let Some((uid, version)) = self.order.pop_front() else { return };
            let Some(all) = self.by_agent.get_mut(&uid) else { continue };
            if let Ok(place) = all.binary_search_by_key(&version, |said| said.version) {
                self.bytes -= weight(&all.remove(place).message);
            }
            if all.is_empty() {
                self.by_agent.remove(&uid);
            }
        }
    }
}

fn weight(message: &Received) -> usize {
    message.capability.len() + message.kind.len() + message.data.len()
}

/// Whether a message is what is waited for.
fn is_answer(expected: &Expected, custom: &Custom, said: &Received) -> bool {
    said.capability == custom.capability
        && (expected.kind.is_empty() || said.kind == expected.kind)
        && (expected.key.is_empty() || same(&expected.key, &custom.data, &said.data))
}

/// Whether both are JSON objects with the same value under a key.
fn same(key: &str, asked: &[u8], said: &[u8]) -> bool {
    json_member(asked, key).is_some_and(|asked| json_member(said, key) == Some(asked))
}

/// What a JSON object has under a key.
pub(crate) fn json_member(data: &[u8], key: &str) -> Option<Value> {
    let object: Value = serde_json::from_slice(data).ok()?;
    object.get(key).cloned()
}

#[cfg(test)]
mod tests {
    use model::command::Action;

    use super::*;

    fn uid() -> InstanceUid {
        InstanceUid::from_bytes([1; 16])
    }

    fn told(version: u64, kind: &str, data: &[u8]) -> Told {
        let (capability, kind) = ("org.example.echo".to_owned(), kind.to_owned());
        let message = Received { capability, kind, size: data.len() as u64, data: data.to_vec() };
        Told {
            instance_uid: uid(),
            version,
            at: Timestamp(version),
            events: Vec::new(),
            summary: None,
            message: Some(message),
        }
    }

    fn order(id: u8, data: &[u8], key: &str) -> (Order, Custom) {
        let expected = Expected { kind: "pong".to_owned(), key: key.to_owned() };
        let custom = Custom {
            capability: "org.example.echo".to_owned(),
            kind: "ping".to_owned(),
            data: data.to_vec(),
            reply: Some(expected),
        };
        let order = Order {
            id: CommandId([id; 16]),
            action: Action::Custom(custom.clone()),
            actor: String::new(),
            created: Timestamp(0),
            expires: Timestamp(1),
            queue: false,
            selector: String::new(),
            max_per_second: 50,
            confirm_ms: 30_000,
            digest: [0; 32],
            driver: String::new(),
            targets: 1,
        };
        (order, custom)
    }

    fn answer(replies: &Replies, (order, custom): &(Order, Custom), since: u64) -> Option<u64> {
        replies.answer(&uid(), order, custom, since).map(|reply| reply.version)
    }

    #[test]
    fn an_answer_is_of_the_type_came_later_and_is_one_command_s_alone() {
        let replies = Replies::default();
        let (first, second) = (order(1, b"", ""), order(2, b"", ""));
        for (version, kind) in [(5, "pong"), (6, "other"), (9, "pong"), (8, "pong"), (8, "pong")] {
            replies.note(&told(version, kind, b"x"));
        }
        assert_eq!(answer(&replies, &first, 5), Some(8), "the oldest, in whatever order they came");
        assert_eq!(answer(&replies, &second, 5), Some(9));
        assert_eq!(answer(&replies, &first, 5), Some(8), "asked again");
        assert_eq!(answer(&replies, &order(3, b"", ""), 5), None);
    }

    #[test]
    fn a_key_tells_answers_apart() {
        let replies = Replies::default();
        replies.note(&told(2, "pong", br#"{"id": 2, "text": "b"}"#));
        replies.note(&told(3, "pong", b"no object"));
        replies.note(&told(4, "pong", br#"{"id": 1}"#));
        assert_eq!(answer(&replies, &order(1, br#"{"id": 1}"#, "id"), 1), Some(4));
        assert_eq!(answer(&replies, &order(2, br#"{"id": 2}"#, "id"), 1), Some(2));
        for data in [&b"{}"[..], b"", br#"{"id": 3}"#, b"[1]"] {
            assert_eq!(answer(&replies, &order(3, data, "id"), 1), None);
        }
    }

    #[test]
    fn long_answers_are_told_by_their_size_and_all_have_a_bound() {
        let replies = Replies::default();
        let (one, custom) = order(1, b"", "");
        replies.note(&told(2, "pong", &vec![7; one.reply_bytes_max() + 1]));
        let reply = replies.answer(&uid(), &one, &custom, 1).unwrap();
        assert_eq!((reply.data.len(), reply.size), (0, one.reply_bytes_max() as u64 + 1));
        for version in 3..1_000 {
            replies.note(&told(version, "pong", &vec![7; 100 << 10]));
        }
        let heard = replies.heard.lock().unwrap();
        assert!(heard.bytes <= Limits::REPLIES_BYTES_MAX, "{}", heard.bytes);
        assert_eq!(heard.by_agent[&uid()].len(), heard.order.len());
        assert!(heard.order.len() > 100);
    }
}
