//! I5: a config at an agent never goes back except by a newer decision, and nothing reaches it that
//! nobody decided.

use std::borrow::Cow;

use model::ConfigHash;
use model::selector::Labels;

use super::{Evidence, Seen, Violation, violation};
use crate::history::{Act, Decision, History, What};

/// What operators may have labelled an agent; the simulation knows of no other label.
const RINGS: [Option<&str>; 3] = [None, Some("canary"), Some("wide")];

pub(super) fn decide(evidence: &Evidence, history: &History) -> Vec<Violation> {
    evidence.agents.iter().flat_map(|agent| check(agent, history)).collect()
}

fn check(agent: &Seen, history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut complain = |what: String| {
        found.push(violation("I5", format!("agent {}: {what}", agent.index)));
    };
    // The oldest decision that explains what it has now.
    let mut newest = 0;
    for act in history.acts.iter().filter(|act| act.agent == agent.index) {
        match &act.what {
            What::Offered { hash, whole: false } => {
                complain(format!("was sent another body than {} at {}", short(hash), act.at));
            }
            What::Applied { hash } => match explains(agent, hash, newest, act, history) {
                Some(number) => newest = number,
                None => {
                    let at = act.at;
                    complain(format!("took {} at {at}, after decision {newest}", short(hash)));
                }
            },
            _ => {}
        }
    }
    found
}

/// The oldest decision, not older than the one before, that gives the agent this config.
fn explains(agent: &Seen, hash: &[u8], since: u64, act: &Act, history: &History) -> Option<u64> {
    let hash = ConfigHash::from_slice(hash)?;
    let gives = |decision: &&Decision| {
        decision.number >= since
            && decision.at <= act.at
            && RINGS.iter().any(|ring| {
                let resolved = decision.assignments.config(&Known { agent, ring: *ring });
                resolved.is_some_and(|(_, config)| config.hash == hash)
            })
    };
    history.decisions.iter().filter(gives).map(|decision| decision.number).min()
}

struct Known<'a> {
    agent: &'a Seen,
    ring: Option<&'static str>,
}

impl Labels for Known<'_> {
    fn value(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "ring" => self.ring.map(Cow::Borrowed),
            "env" => Some(Cow::Borrowed(self.agent.env)),
            _ => None,
        }
    }
}

fn short(hash: &[u8]) -> String {
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
