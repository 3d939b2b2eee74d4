//! I5: no agent is offered an older decision after a newer one, nor what nobody decided; and none
//! applies a decision twice.

use agent::ledger::Entry;

use crate::book::Group;
use crate::campaign::Campaign;
use crate::story::{Violation, violation};

impl Campaign {
    pub(super) async fn offers_never_go_back(&mut self) -> Result<(), Violation> {
        let book = self.operators.book().await;
        let memory = self.memory.offered.iter_mut().zip(&mut self.memory.applied);
        for (member, (offered, applied)) in self.crowd.members.iter().zip(memory) {
            let mut entries = Vec::new();
            member.handle.change(|agent| entries = agent.ledger.take_entries());
            let group = &book.groups[member.group];
            for entry in entries {
                let (hash, newest, twice) = match &entry {
                    Entry::Offered(hash) => (hash, &mut *offered, true),
                    Entry::Applied(hash, _) => (hash, &mut *applied, false),
                    _ => continue,
                };
                match follows(group, hash, *newest, twice) {
                    Ok(found) => *newest = Some(found),
                    // Its words were garbled, and it was answered accordingly.
                    Err(_) if self.lenient => {}
                    Err(found) => {
                        return Err(violation("I5", format!("{} {found}", member.name)));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which decision it is, if it may come after the newest one so far.
fn follows(
    group: &Group,
    hash: &[u8],
    newest: Option<usize>,
    twice: bool,
) -> Result<usize, String> {
    let Some(found) = group.find(hash) else {
        return Err(format!("was offered {hash:02x?}, which nobody decided"));
    };
    let before = newest.filter(|newest| *newest > found || (*newest == found && !twice));
    match before {
        None => Ok(found),
        Some(before) => {
            let name = |index: usize| &group.decisions[index].revision;
            Err(format!("got {} after {}", name(found), name(before)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Decision, Known};

    #[test]
    fn only_newer_decisions_follow() {
        let decision = |name: &str| Decision {
            hash: name.as_bytes().to_vec(),
            revision: name.to_owned(),
            known: Known::Sure,
        };
        let decisions = vec![decision("one"), decision("two")];
        let group = Group { decisions, label: None };
        assert_eq!(follows(&group, b"two", Some(0), false), Ok(1));
        assert_eq!(follows(&group, b"two", Some(1), true), Ok(1), "offered again");
        for (hash, newest, twice, why) in [
            (&b"one"[..], Some(1), true, "got one after two"),
            (&b"two"[..], Some(1), false, "got two after two"),
            (&b"three"[..], None, true, "which nobody decided"),
        ] {
            let found = follows(&group, hash, newest, twice).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
