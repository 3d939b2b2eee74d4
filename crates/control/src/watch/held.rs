//! What a watcher holds, and so what an event means to it. Pure.

use std::collections::BTreeMap;

use bus::event::Told;
use model::Event;
use model::selector::Selector;
use opamp::InstanceUid;

use crate::v1::watch_agents_response::Change;
use crate::view::Survey;

/// What one watcher was told so far.
#[derive(Debug)]
pub(super) struct Held {
    selector: Selector,
    agents: BTreeMap<InstanceUid, Last>,
    /// The watcher may hold agents that are not in here.
    resumed: bool,
}

/// The newest that is known of an agent.
#[derive(Debug, Clone, Copy)]
struct Last {
    version: u64,
    matches: bool,
}

/// Whether a watcher holds an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Holds,
    Lacks,
    Unknown,
}

impl Held {
    /// For a watcher that is sent a survey.
    pub(super) fn everything(selector: Selector, survey: &Survey) -> Self {
        let selected = survey
            .selected
            .iter()
            .map(|shown| (shown.uid, Last { version: shown.entry.version, matches: true }));
        let others = survey.others.iter();
        let others =
            others.map(|(uid, version)| (*uid, Last { version: *version, matches: false }));
        Self { selector, agents: selected.chain(others).collect(), resumed: false }
    }

    /// For a watcher that was told things by somebody else.
    pub(super) fn unknown(selector: Selector) -> Self {
        Self { selector, agents: BTreeMap::new(), resumed: true }
    }

    /// Takes an event. `None` if it is old, or none of the watcher's business.
    pub(super) fn take(&mut self, told: &Told) -> Option<Change> {
        let last = self.agents.get(&told.instance_uid).copied();
        if last.is_some_and(|last| last.version >= told.version) {
            return None;
        }
        let matches = told.summary.as_ref().is_some_and(|summary| self.selector.matches(summary));
        let before = self.before(last, told, matches);
        if told.summary.is_some() {
            self.agents.insert(told.instance_uid, Last { version: told.version, matches });
        } else {
            self.agents.remove(&told.instance_uid);
        }
        match (before, matches) {
            (Before::Holds, true) => Some(Change::Modified),
            (Before::Lacks | Before::Unknown, true) => Some(Change::Added),
            (Before::Holds | Before::Unknown, false) => Some(Change::Removed),
            (Before::Lacks, false) => None,
        }
    }

    /// The log does not say how an agent was before. But selectors look at what it says of
    /// itself and at its labels, so where both stayed the same, it matches as it did.
    fn before(&self, last: Option<Last>, told: &Told, matches: bool) -> Before {
        let known = |holds| if holds { Before::Holds } else { Before::Lacks };
        let happened = |event| told.events.contains(&event);
        match last {
            Some(last) => known(last.matches),
            None if !self.resumed || happened(Event::Appeared) => Before::Lacks,
            None if told.summary.is_none() => Before::Unknown,
            None if self.selector.as_str().is_empty() => Before::Holds,
            // No kind at all: those of a newer writer are not known here.
            None if told.events.is_empty()
                || happened(Event::DescriptionChanged)
                || happened(Event::LabelsChanged) =>
            {
                Before::Unknown
            }
            None => known(matches),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AgentRecord, AgentSummary, Timestamp};

    use super::*;
    use bus::Position;

    fn uid() -> InstanceUid {
        InstanceUid::from_bytes([1; 16])
    }

    fn summary(env: &str) -> AgentSummary {
        let mut summary = AgentSummary::from(&AgentRecord::new(uid(), Timestamp(0)));
        summary.labels.insert("env".to_owned(), env.to_owned());
        summary
    }

    fn told(version: u64, env: Option<&str>, events: &[Event]) -> Told {
        let (summary, events) = (env.map(summary), events.to_vec());
        let (instance_uid, at, message) = (uid(), Timestamp(0), None);
        Told { instance_uid, version, at, events, summary, message }
    }

    fn prod() -> Selector {
        Selector::parse("env=prod").unwrap()
    }

    #[test]
    fn changes_are_told_by_who_matched_before() {
        let (next, selected) = (Position(1), Vec::new());
        let survey = Survey { next, selected, others: vec![(uid(), 3)] };
        let mut held = Held::everything(prod(), &survey);
        let described = [Event::DescriptionChanged];
        for (version, env, change) in [
            (3, Some("prod"), None),
            (4, Some("dev"), None),
            (5, Some("prod"), Some(Change::Added)),
            (5, Some("dev"), None),
            (6, Some("prod"), Some(Change::Modified)),
            (7, Some("dev"), Some(Change::Removed)),
            (8, None, None),
            (9, Some("prod"), Some(Change::Added)),
            (10, None, Some(Change::Removed)),
        ] {
            assert_eq!(held.take(&told(version, env, &described)), change, "version {version}");
        }
    }

    #[test]
    fn a_resumed_watch_tells_rather_too_much_than_too_little() {
        let take = |env, event: Event| Held::unknown(prod()).take(&told(5, env, &[event]));
        let health = Event::HealthChanged;
        assert_eq!(take(Some("prod"), health), Some(Change::Modified));
        assert_eq!(take(Some("dev"), health), None, "it did not match before either");
        assert_eq!(take(Some("prod"), Event::Appeared), Some(Change::Added));
        assert_eq!(take(Some("dev"), Event::Appeared), None);
        assert_eq!(take(Some("prod"), Event::DescriptionChanged), Some(Change::Added));
        assert_eq!(take(Some("dev"), Event::DescriptionChanged), Some(Change::Removed));
        assert_eq!(take(None, health), Some(Change::Removed));
        let unknown = Held::unknown(prod()).take(&told(5, Some("dev"), &[]));
        assert_eq!(unknown, Some(Change::Removed), "what happened is not known");
        let everybody = Held::unknown(Selector::default()).take(&told(5, Some("dev"), &[]));
        assert_eq!(everybody, Some(Change::Modified));
    }
}
