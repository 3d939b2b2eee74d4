//! What an agent should have: selectors over agents, resolved to one config each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use opamp::InstanceUid;
use opamp::v1::KeyValue;
use opamp::v1::any_value::Value;

use crate::brake::Brake;
use crate::config::RevisionRef;
use crate::record::AgentRecord;
use crate::selector::{Labels, Selector};
use crate::{AgentSummary, Timestamp};

/// A selector and the config revision for the agents it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Its name.
    pub name: String,
    /// Which agents.
    pub selector: Selector,
    /// Which revision, pinned.
    pub config: RevisionRef,
    /// The highest wins where several match.
    pub priority: i64,
    /// When it was last set.
    pub updated: Timestamp,
    /// How far it may go.
    pub brake: Brake,
    /// Who set it, by the name of their token.
    pub actor: String,
}

/// Why no offer goes out to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: Timestamp,
    /// In the operator's words.
    pub reason: String,
    /// Who holds them, by the name of their token.
    pub actor: String,
}

/// Every assignment there is. Stored as one value, whose version is the decision number: it
/// orders all decisions, and no reader can see half of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignments {
    /// In no particular order.
    pub list: Vec<Assignment>,
    /// While it is there, no offer goes out.
    pub hold: Option<Hold>,
}

impl Assignment {
    /// Whether an agent may have the config now. One that was not there when it was decided has no
    /// place in the queue and waits for nobody.
    pub fn admits(&self, uid: &InstanceUid, first_seen: Timestamp) -> bool {
        let is_new = first_seen > self.updated && !self.brake.is_stopped();
        is_new || self.brake.admits(uid, &self.config.hash)
    }
}

impl Assignments {
    /// The assignment that holds for an agent: of those that select it, the one of the highest
    /// priority. Writers refuse ties; should one slip through, the first by name wins everywhere.
    pub fn resolve(&self, agent: &impl Labels) -> Option<&Assignment> {
        self.list
            .iter()
            .filter(|assignment| assignment.selector.matches(agent))
            .max_by(|a, b| a.priority.cmp(&b.priority).then_with(|| b.name.cmp(&a.name)))
    }

    /// Another assignment that could tie with this one.
    pub fn conflict(&self, new: &Assignment) -> Option<&Assignment> {
        self.list.iter().find(|old| {
            old.name != new.name
                && old.priority == new.priority
                && old.selector.may_overlap(&new.selector)
        })
    }

    /// The assignment whose config an agent may be offered now: the one that holds for it, once
    /// its brake lets the agent through.
    pub fn admitted(
        &self,
        uid: &InstanceUid,
        first_seen: Timestamp,
        agent: &impl Labels,
    ) -> Option<&Assignment> {
        let open = |found: &&Assignment| found.admits(uid, first_seen);
        self.resolve(agent).filter(|_| self.hold.is_none()).filter(open)
    }

    /// Whether the offer in an agent's record may go out to it now.
    pub fn lets_out(&self, record: &AgentRecord) -> bool {
        let stopped = |found: &Assignment| {
            found.brake.is_stopped() && record.offered.config.as_ref() == Some(&found.config)
        };
        self.hold.is_none() && !self.resolve(record).is_some_and(stopped)
    }

    /// Whether an agent is offered something else than these assignments, at this decision
    /// number, say. An agent that nothing selects, or whose turn has not come, keeps what it has.
    pub fn outdates(&self, decision: u64, uid: &InstanceUid, agent: &AgentSummary) -> bool {
        decision >= agent.config.decision
            && self.changes(agent)
            && self.admitted(uid, agent.first_seen, agent).is_some()
    }

    /// Whether an agent is to have another config than it is offered, sooner or later.
    pub fn changes(&self, agent: &AgentSummary) -> bool {
        self.resolve(agent)
            .is_some_and(|found| agent.config.offered.as_ref() != Some(&found.config))
    }
}

impl Labels for AgentSummary {
    fn value(&self, key: &str) -> Option<Cow<'_, str>> {
        label(key, &self.labels, &[&self.identifying_attributes, &self.non_identifying_attributes])
    }
}

impl Labels for AgentRecord {
    fn value(&self, key: &str) -> Option<Cow<'_, str>> {
        let description = self.reported.agent_description.as_ref();
        let attributes = description.map_or([&[][..], &[][..]], |description| {
            [&description.identifying_attributes, &description.non_identifying_attributes]
        });
        label(key, &self.labels, &attributes)
    }
}

/// The operator's label wins over what the agent says of itself.
fn label<'a>(
    key: &str,
    labels: &'a BTreeMap<String, String>,
    attributes: &[&'a [KeyValue]; 2],
) -> Option<Cow<'a, str>> {
    if let Some(value) = labels.get(key) {
        return Some(Cow::Borrowed(value));
    }
    let found = attributes.iter().flat_map(|list| list.iter()).find(|pair| pair.key == key)?;
    Some(text(found.value.as_ref().and_then(|value| value.value.as_ref())))
}

/// A scalar as text. What has no text form is there, but equals nothing useful.
fn text(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        Some(Value::StringValue(text)) => Cow::Borrowed(text),
        Some(Value::BoolValue(value)) => Cow::Owned(value.to_string()),
        Some(Value::IntValue(value)) => Cow::Owned(value.to_string()),
        Some(Value::DoubleValue(value)) => Cow::Owned(value.to_string()),
        Some(Value::ArrayValue(_) | Value::KvlistValue(_) | Value::BytesValue(_)) | None => {
            Cow::Borrowed("")
        }
    }
}

#[cfg(test)]
mod tests {
    use opamp::InstanceUid;
    use opamp::v1::{AgentDescription, AnyValue};

    use super::*;
    use crate::ConfigHash;

    fn assignment(name: &str, selector: &str, priority: i64) -> Assignment {
        let config =
            RevisionRef { config: name.to_owned(), revision: 1, hash: ConfigHash([1; 32]) };
        let selector = Selector::parse(selector).unwrap();
        Assignment {
            name: name.to_owned(),
            selector,
            config,
            priority,
            updated: Timestamp(0),
            brake: Brake::default(),
            actor: String::new(),
        }
    }

    fn agent(attributes: &[(&str, Value)]) -> AgentRecord {
        let mut record = AgentRecord::new(InstanceUid::from_bytes([1; 16]), Timestamp(0));
        let pair = |(key, value): &(&str, Value)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(value.clone()) }),
        };
        record.reported.agent_description = Some(AgentDescription {
            identifying_attributes: attributes.iter().map(pair).collect(),
            ..Default::default()
        });
        record
    }

    #[test]
    fn the_highest_priority_wins() {
        let list = vec![assignment("all", "", 0), assignment("prod", "env=prod", 10)];
        let assignments = Assignments { list, hold: None };
        let env = |value: &str| agent(&[("env", Value::StringValue(value.to_owned()))]);
        assert_eq!(assignments.resolve(&env("prod")).unwrap().name, "prod");
        assert_eq!(assignments.resolve(&env("dev")).unwrap().name, "all");
        assert!(Assignments::default().resolve(&env("dev")).is_none());
    }

    #[test]
    fn a_possible_tie_is_a_conflict_and_disjoint_selectors_are_not() {
        let assignments = Assignments { list: vec![assignment("prod", "env=prod", 0)], hold: None };
        assert_eq!(assignments.conflict(&assignment("all", "", 0)).unwrap().name, "prod");
        assert!(assignments.conflict(&assignment("all", "", 1)).is_none());
        assert!(assignments.conflict(&assignment("dev", "env=dev", 0)).is_none());
        assert!(assignments.conflict(&assignment("prod", "", 0)).is_none(), "it replaces itself");
    }

    #[test]
    fn labels_win_over_attributes_and_scalars_have_text() {
        let mut record = agent(&[
            ("env", Value::StringValue("dev".to_owned())),
            ("port", Value::IntValue(4317)),
            ("edge", Value::BoolValue(true)),
        ]);
        record.labels.insert("env".to_owned(), "prod".to_owned());
        let summary = AgentSummary::from(&record);
        for selector in ["env=prod", "port=4317", "edge=true", "!missing"] {
            let selector = Selector::parse(selector).unwrap();
            assert!(selector.matches(&record) && selector.matches(&summary), "{selector}");
        }
    }
}
