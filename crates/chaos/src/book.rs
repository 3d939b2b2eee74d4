//! What operators asked for and what they were answered: their side of the history.

use std::time::Instant;

use crate::limits::SETTLE;

/// What is known of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The API said that it is done.
    Sure,
    /// No clear answer came, then; it may still take effect.
    Open(Instant),
    /// It is known not to be done.
    Refused,
}

/// A decision about a group.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) hash: Vec<u8>,
    /// `configs/{config}/revisions/{revision}`.
    pub(crate) revision: String,
    pub(crate) known: Known,
}

/// A group of agents that is configured and labelled together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// In the order in which they were asked for.
    pub(crate) decisions: Vec<Decision>,
    /// The label's value last asked for, and what is known of it.
    pub(crate) label: Option<(u64, Known)>,
}

impl Group {
    /// The decision that holds, unless it is open which one does.
    pub(crate) fn holds(&self) -> Option<&Decision> {
        let mut left = self.decisions.iter().rev().filter(|one| one.known != Known::Refused);
        left.next().filter(|one| one.known == Known::Sure)
    }

    /// The decision without a clear answer, if the last one has none.
    pub(crate) fn open(&mut self) -> Option<&mut Decision> {
        self.decisions.last_mut().filter(|one| matches!(one.known, Known::Open(_)))
    }

    /// Which decision has this hash.
    pub(crate) fn find(&self, hash: &[u8]) -> Option<usize> {
        self.decisions.iter().rposition(|one| one.hash == hash)
    }

    /// Takes in which revision is assigned, once nothing that is open can change it any more.
    pub(crate) fn settle(&mut self, assigned: Option<&str>) {
        let Some(open) = self.open() else { return };
        match open.known {
            Known::Open(since) if since.elapsed() >= SETTLE => {
                let is = assigned == Some(open.revision.as_str());
                open.known = if is { Known::Sure } else { Known::Refused };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(revision: &str, known: Known) -> Decision {
        let hash = revision.as_bytes().to_vec();
        Decision { hash, revision: revision.to_owned(), known }
    }

    #[test]
    fn what_is_open_hides_what_held_until_it_is_settled() {
        let long_ago = Instant::now().checked_sub(SETTLE).unwrap();
        let decisions = vec![decision("1", Known::Sure), decision("2", Known::Refused)];
        let mut group = Group { decisions, label: None };
        assert_eq!(group.holds().unwrap().revision, "1");
        group.decisions.push(decision("3", Known::Open(Instant::now())));
        assert!(group.holds().is_none());
        group.settle(Some("1"));
        assert!(group.holds().is_none(), "it may still come");
        group.open().unwrap().known = Known::Open(long_ago);
        group.settle(Some("1"));
        assert_eq!(group.holds().unwrap().revision, "1");
        group.decisions.push(decision("4", Known::Open(long_ago)));
        group.settle(Some("4"));
        assert_eq!(group.holds().unwrap().revision, "4");
    }
}
