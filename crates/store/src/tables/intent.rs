//! Table `intent`: one value, all assignments. Its version numbers the operators' decisions.

use bytes::Bytes;
use model::assign::{Assignment, Assignments};
use model::selector::Selector;
use model::{RevisionRef, Timestamp};

use super::agents::hash;
use super::{Loaded, corrupt, read, write};
use crate::v1::assignments as wire;
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Assignments`.
const FIELDS: u32 = 2;

/// The bytes of the assignments.
pub fn encode(assignments: &Assignments, unknown: &Bytes) -> Bytes {
    let assignment = |assignment: &Assignment| wire::Assignment {
        name: assignment.name.clone(),
        selector: assignment.selector.as_str().to_owned(),
        config_name: assignment.config.config.clone(),
        config_revision: assignment.config.revision,
        config_hash: assignment.config.hash.0.to_vec(),
        priority: assignment.priority,
        updated_unix_ms: assignment.updated.0,
    };
    let assignments = assignments.list.iter().map(assignment).collect();
    write(&v1::Assignments { format: FORMAT, assignments }, unknown)
}

/// The assignments in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Assignments>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Assignments| m.format, FORMAT)?;
    let list: Result<Vec<Assignment>, String> =
        message.assignments.into_iter().map(from_wire).collect();
    let list = list.map_err(|reason| corrupt(key, &reason))?;
    Ok(Loaded { value: Assignments { list }, unknown })
}

fn from_wire(message: wire::Assignment) -> Result<Assignment, String> {
    let selector = Selector::parse(&message.selector).map_err(|error| error.to_string())?;
    let config = RevisionRef {
        config: message.config_name,
        revision: message.config_revision,
        hash: hash(&message.config_hash)?,
    };
    Ok(Assignment {
        name: message.name,
        selector,
        config,
        priority: message.priority,
        updated: Timestamp(message.updated_unix_ms),
    })
}

#[cfg(test)]
mod tests {
    use model::ConfigHash;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_corrupt() {
        let assignment = Assignment {
            name: "prod".to_owned(),
            selector: Selector::parse("env in (prod)").unwrap(),
            config: RevisionRef { config: "c".to_owned(), revision: 2, hash: ConfigHash([4; 32]) },
            priority: -3,
            updated: Timestamp(5),
        };
        let value = Assignments { list: vec![assignment] };
        let bytes = encode(&value, &Bytes::new());
        let loaded = decode(&Key::intent(), &bytes).unwrap();
        assert_eq!(loaded.value, value);
        let broken = v1::Assignments {
            format: FORMAT,
            assignments: vec![wire::Assignment { selector: "((".to_owned(), ..Default::default() }],
        };
        assert!(decode(&Key::intent(), &write(&broken, &Bytes::new())).is_err());
    }
}
