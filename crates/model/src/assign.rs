//! What an agent should have: selectors over agents, resolved to one content of each kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use opamp::InstanceUid;
use opamp::v1::any_value::Value;
use opamp::v1::{AgentCapabilities, KeyValue};

use crate::brake::Brake;
use crate::config::RevisionRef;
use crate::packages::PackageSetRef;
use crate::record::AgentRecord;
use crate::selector::{Labels, Selector};
use crate::settings::SettingsRef;
use crate::{AgentSummary, Timestamp};

/// A selector and what the agents it selects are to have.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Its name.
    pub name: String,
    /// Which agents.
    pub selector: Selector,
    /// What they are to have, pinned.
    pub content: Content,
    /// The highest wins where several match.
    pub priority: i64,
    /// When it was last set.
    pub updated: Timestamp,
    /// How far it may go.
    pub brake: Brake,
    /// Who set it, by the name of their token.
    pub actor: String,
}

/// What an assignment gives. An agent has one of each kind, for which assignments compete; each
/// class of connection settings is a kind of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A remote config.
    Config(RevisionRef),
    /// A whole set of packages.
    Packages(PackageSetRef),
    /// Connection settings of one class.
    Settings(SettingsRef),
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

impl Content {
    /// Whether an agent can have only one of the two.
    pub fn competes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Config(_), Self::Config(_)) | (Self::Packages(_), Self::Packages(_)) => true,
            (Self::Settings(one), Self::Settings(other)) => one.class == other.class,
            _ => false,
        }
    }

    /// The config that it is, if it is one.
    pub fn config(&self) -> Option<&RevisionRef> {
        match self {
            Self::Config(config) => Some(config),
            Self::Packages(_) | Self::Settings(_) => None,
        }
    }

    /// Names the content.
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::Config(revision) => revision.hash.0,
            Self::Packages(set) => set.digest(),
            Self::Settings(settings) => settings.hash.0,
        }
    }

    /// Whether an agent of these capabilities takes such a thing.
    pub fn is_taken(&self, capabilities: u64) -> bool {
        let can = |bit| opamp::capability::has(capabilities, bit);
        match self {
            Self::Config(_) => can(AgentCapabilities::AcceptsRemoteConfig),
            Self::Packages(_) => can(AgentCapabilities::AcceptsPackages),
            Self::Settings(settings) => settings.class.is_taken(capabilities),
        }
    }

    /// Whether an agent that is to have this is offered something else.
    pub fn changes(&self, agent: &AgentSummary) -> bool {
        match self {
            Self::Config(revision) => agent.config.offered.as_ref() != Some(revision),
            Self::Packages(set) => set.offer(agent).is_some_and(|offer| {
                let offered = agent.packages.as_ref().and_then(|it| it.offered.as_ref());
                offered.is_none_or(|old| !old.is(&offer))
            }),
            Self::Settings(settings) => {
                let offered = agent.settings.as_ref().map(|it| &it.offered);
                let offered = offered.and_then(|classes| classes.get(&settings.class));
                // Only what an agent takes is in force for it.
                offered != Some(settings) && settings.class.is_taken(agent.capabilities)
            }
        }
    }

    /// The decision that made what an agent is offered of this kind.
    fn decision(&self, agent: &AgentSummary) -> u64 {
        match self {
            Self::Config(_) => agent.config.decision,
            Self::Packages(_) => agent.packages.as_ref().map_or(0, |it| it.decision),
            Self::Settings(_) => agent.settings.as_ref().map_or(0, |it| it.decision),
        }
    }
}

impl Assignment {
    /// Whether an agent may have the content now. One that was not there when it was decided has no
    /// place in the queue and waits for nobody.
    pub fn admits(&self, uid: &InstanceUid, first_seen: Timestamp) -> bool {
        let is_new = first_seen > self.updated && !self.brake.is_stopped();
        is_new || self.brake.admits(uid, &self.content.digest())
    }

    fn outranks(&self, rival: &Self) -> bool {
        (self.priority, &rival.name) > (rival.priority, &self.name)
    }
}

impl Assignments {
    /// The assignments that hold for an agent: of those that select it, the one of the highest
    /// priority for each kind of content. Writers refuse ties; should one slip through, the first
    /// by name wins everywhere.
    pub fn resolve(&self, agent: &impl Labels) -> Vec<&Assignment> {
        let mut held: Vec<&Assignment> = Vec::new();
        for found in self.list.iter().filter(|found| found.selector.matches(agent)) {
            match held.iter_mut().find(|rival| rival.content.competes(&found.content)) {
                Some(rival) if found.outranks(rival) => *rival = found,
                Some(_) => {}
                None => held.push(found),
            }
        }
        held
    }

    /// The config that an agent is to have, and the assignment that says so.
    pub fn config(&self, agent: &impl Labels) -> Option<(&Assignment, &RevisionRef)> {
        self.resolve(agent).into_iter().find_map(|found| Some((found, found.content.config()?)))
    }

    /// Another assignment that could tie with this one.
    pub fn conflict(&self, new: &Assignment) -> Option<&Assignment> {
        self.list.iter().find(|old| {
            old.name != new.name
                && old.priority == new.priority
                && old.content.competes(&new.content)
                && old.selector.may_overlap(&new.selector)
        })
    }

    /// The assignments whose content an agent may be offered now: those that hold for it and whose
    /// brakes let it through.
    pub fn admitted(
        &self,
        uid: &InstanceUid,
        first_seen: Timestamp,
        agent: &impl Labels,
    ) -> Vec<&Assignment> {
        if self.hold.is_some() {
            return Vec::new();
        }
        let mut held = self.resolve(agent);
        held.retain(|found| found.admits(uid, first_seen));
        held
    }

    /// Whether what an agent's record offers of a kind may go out to it now: offers are not held,
    /// and the assignment that made it was not stopped.
    pub fn lets_out(&self, record: &AgentRecord, kind: impl Fn(&Content) -> bool) -> bool {
        let stopped = |found: &&Assignment| {
            kind(&found.content) && found.brake.is_stopped() && record.offers(&found.content)
        };
        self.hold.is_none() && !self.resolve(record).iter().any(stopped)
    }

    /// Whether an agent is offered something else than these assignments, at this decision
    /// number, say. An agent that nothing selects, or whose turn has not come, keeps what it has.
    pub fn outdates(&self, decision: u64, uid: &InstanceUid, agent: &AgentSummary) -> bool {
        self.admitted(uid, agent.first_seen, agent)
            .iter()
            .any(|found| decision >= found.content.decision(agent) && found.content.changes(agent))
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
            content: Content::Config(config),
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
        let names = |agent: &AgentRecord| -> Vec<String> {
            assignments.resolve(agent).iter().map(|found| found.name.clone()).collect()
        };
        assert_eq!(
            (names(&env("prod")), names(&env("dev"))),
            (vec!["prod".to_owned()], vec!["all".to_owned()])
        );
        assert!(Assignments::default().resolve(&env("dev")).is_empty());
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
