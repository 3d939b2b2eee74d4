//! The order of a list (AIP-132): `last_seen_time desc, labels.zone`. A place in such a list is
//! what its last agent was ordered by, so that it means the same when that agent has changed.

use std::cmp::Ordering;

use model::{AgentSummary, Timestamp};
use opamp::InstanceUid;
use opamp::v1::KeyValue;
use serde::{Deserialize, Serialize};

use super::convert;
use crate::view::Shown;
use crate::{Error, Limits};

/// How a list is ordered. What is left equal is in order of the instance uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Order {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: Field,
    descending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    InstanceUid,
    Status,
    Healthy,
    ConfigStatus,
    OfferedRevision,
    Gateway,
    Transport,
    FirstSeen,
    LastSeen,
    Label(String),
    Attribute(String),
}

/// Names that stand alone; labels and attributes have a key after their name.
const FIELDS: [(&str, Field); 10] = [
    ("name", Field::InstanceUid),
    ("instance_uid", Field::InstanceUid),
    ("status", Field::Status),
    ("health.healthy", Field::Healthy),
    ("config.status", Field::ConfigStatus),
    ("config.offered_revision", Field::OfferedRevision),
    ("gateway_id", Field::Gateway),
    ("transport", Field::Transport),
    ("first_seen_time", Field::FirstSeen),
    ("last_seen_time", Field::LastSeen),
];

/// Where an agent stands in the list: the place to go on after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    keys: Vec<Option<Value>>,
    uid: [u8; 16],
}

/// What a field of an agent is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(i64),
    Text(String),
}

impl Order {
    /// Reads the grammar of AIP-132.
    pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let terms = text.split(',').map(term).collect::<Result<Vec<_>, _>>();
        let terms = terms.map_err(|reason| Error::invalid("order_by", reason))?;
        if terms.len() > limits.order_terms_max {
            let reason = format!("at most {} fields are taken", limits.order_terms_max);
            return Err(Error::invalid("order_by", reason));
        }
        Ok(Self { terms })
    }

    /// Whether only the instance uid counts, in which order agents are kept anyway.
    pub(crate) fn is_natural(&self) -> bool {
        self.terms.is_empty()
    }

    /// The agents after a place, the first `size` of them in order, each with its own place; and
    /// whether there are more.
    pub(crate) fn page(
        &self,
        agents: Vec<Shown>,
        after: Option<&Place>,
        size: usize,
    ) -> (Vec<(Place, Shown)>, bool) {
        let places = agents.into_iter().map(|shown| (self.place(&shown), shown));
        let follows = |place: &Place| {
            after.is_none_or(|after| self.compare(place, after) == Ordering::Greater)
        };
        let mut rest: Vec<(Place, Shown)> = places.filter(|(place, _)| follows(place)).collect();
        let more = rest.len() > size;
        if more {
            rest.select_nth_unstable_by(size, |(a, _), (b, _)| self.compare(a, b));
            rest.truncate(size);
        }
        rest.sort_unstable_by(|(a, _), (b, _)| self.compare(a, b));
        (rest, more)
    }

    fn place(&self, shown: &Shown) -> Place {
        let keys = self.terms.iter().map(|term| term.field.of(shown)).collect();
        Place { keys, uid: *shown.uid.as_bytes() }
    }

    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        let keys = self.terms.iter().zip(a.keys.iter().zip(&b.keys));
        let mut compared = keys.map(|(term, (a, b))| term.compare(a.as_ref(), b.as_ref()));
        let decided = compared.find(|ordering| ordering.is_ne());
        decided.unwrap_or_else(|| a.uid.cmp(&b.uid))
    }
}

fn term(text: &str) -> Result<Term, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, descending) = match words[..] {
        [name] => (name, false),
        [name, "desc"] => (name, true),
        [_, word] => return Err(format!("{word:?} after a field: only `desc` may stand there")),
        _ => return Err("must be fields separated by commas, as `last_seen_time desc`".to_owned()),
    };
    Ok(Term { field: field(name)?, descending })
}

fn field(name: &str) -> Result<Field, String> {
    match name.split_once('.') {
        Some(("labels", key)) if !key.is_empty() => return Ok(Field::Label(key.to_owned())),
        Some(("attributes", key)) if !key.is_empty() => {
            return Ok(Field::Attribute(key.to_owned()));
        }
        _ => {}
    }
    let known = FIELDS.iter().find(|(known, _)| *known == name);
    known.map(|(_, field)| field.clone()).ok_or_else(|| {
        let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        format!("no field {name:?}; known: {}, labels.KEY, attributes.KEY", known.join(", "))
    })
}

impl Term {
    /// What is absent comes last, in the reverse first.
    fn compare(&self, a: Option<&Value>, b: Option<&Value>) -> Ordering {
        let (a, b) = ((a.is_none(), a), (b.is_none(), b));
        match self.descending {
            false => a.cmp(&b),
            true => b.cmp(&a),
        }
    }
}

impl Field {
    fn of(&self, shown: &Shown) -> Option<Value> {
        let summary = &shown.entry.summary;
        let time = |at: Timestamp| i64::try_from(at.0).ok().map(Value::Number);
        match self {
            Self::InstanceUid => Some(uid(&shown.uid)),
            Self::Status => Some(Value::Number(i64::from(!shown.connected))),
            Self::Healthy => {
                summary.health.as_ref().map(|health| Value::Number(health.healthy.into()))
            }
            Self::ConfigStatus => {
                Some(Value::Number(i32::from(convert::config_status(summary)).into()))
            }
            Self::OfferedRevision => {
                let offered = summary.config.offered.as_ref()?;
                Some(Value::Text(format!("{}@{:020}", offered.config, offered.revision)))
            }
            Self::Gateway => summary.gateway.as_ref().map(|id| text(&id.to_string())),
            Self::Transport => Some(text(convert::transport(summary))),
            Self::FirstSeen => time(summary.first_seen),
            Self::LastSeen => time(convert::last_seen(&shown.entry)),
            Self::Label(key) => summary.labels.get(key).map(|value| text(value)),
            Self::Attribute(key) => attribute(summary, key),
        }
    }
}

fn uid(uid: &InstanceUid) -> Value {
    Value::Text(uid.to_string())
}

fn attribute(summary: &AgentSummary, key: &str) -> Option<Value> {
    use opamp::v1::any_value::Value as Any;
    let lists = [&summary.identifying_attributes, &summary.non_identifying_attributes];
    let named = |pair: &&KeyValue| pair.key == key;
    let found = lists.into_iter().flatten().find(named)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(value) => Some(text(value)),
        Any::BoolValue(value) => Some(Value::Number((*value).into())),
        Any::IntValue(value) => Some(Value::Number(*value)),
        Any::DoubleValue(value) => Some(text(&value.to_string())),
        // Lists, maps and bytes have no order that would tell anybody anything.
        Any::ArrayValue(_) | Any::KvlistValue(_) | Any::BytesValue(_) => None,
    }
}

/// Enough of a text to order by: places travel in page tokens.
fn text(text: &str) -> Value {
    Value::Text(text.chars().take(Limits::ORDER_CHARS).collect())
}

#[cfg(test)]
mod tests;
