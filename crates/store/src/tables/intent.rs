//! Table `intent`: one value, all assignments. Its version numbers the operators' decisions.

use bytes::Bytes;
use model::assign::{Assignment, Assignments, Content, Hold};
use model::brake::{Brake, Stage};
use model::packages::{PackageChoice, PackageHash, PackageSetRef, Variant};
use model::selector::Selector;
use model::{RevisionRef, Timestamp};

use super::agents::hash;
use super::tracks::{digest, settings_ref};
use super::{Loaded, corrupt, read, write};
use crate::v1::assignments as wire;
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field number of `muster.state.v1.Assignments`.
const FIELDS: u32 = 3;

/// The bytes of the assignments.
pub fn encode(assignments: &Assignments, unknown: &Bytes) -> Bytes {
    let hold = assignments.hold.as_ref().map(|hold| wire::Hold {
        since_unix_ms: hold.since.0,
        reason: hold.reason.clone(),
        actor: hold.actor.clone(),
    });
    let assignments = assignments.list.iter().map(to_wire).collect();
    write(&v1::Assignments { format: FORMAT, assignments, hold }, unknown)
}

/// The assignments in these bytes.
pub fn decode(key: &Key, bytes: &Bytes) -> Result<Loaded<Assignments>, Error> {
    let (message, unknown) = read(key, bytes, FIELDS, |m: &v1::Assignments| m.format, FORMAT)?;
    let list: Result<Vec<Assignment>, String> =
        message.assignments.into_iter().map(from_wire).collect();
    let list = list.map_err(|reason| corrupt(key, &reason))?;
    let hold = message.hold.map(|hold| Hold {
        since: Timestamp(hold.since_unix_ms),
        reason: hold.reason,
        actor: hold.actor,
    });
    Ok(Loaded { value: Assignments { list, hold }, unknown })
}

fn to_wire(assignment: &Assignment) -> wire::Assignment {
    let mut message = wire::Assignment {
        name: assignment.name.clone(),
        selector: assignment.selector.as_str().to_owned(),
        priority: assignment.priority,
        updated_unix_ms: assignment.updated.0,
        brake: Some(brake_to_wire(&assignment.brake)),
        actor: assignment.actor.clone(),
        ..Default::default()
    };
    match &assignment.content {
        Content::Config(config) => {
            message.config_name.clone_from(&config.config);
            message.config_revision = config.revision;
            message.config_hash = config.hash.0.to_vec();
        }
        Content::Packages(set) => {
            message.package_set = Some(wire::PackageSet {
                set: set.set.clone(),
                revision: set.revision,
                packages: set.packages.iter().map(package_to_wire).collect(),
            });
        }
        Content::Settings(settings) => {
            message.settings = Some(wire::Settings {
                settings: settings.settings.clone(),
                revision: settings.revision,
                class: settings.class.to_string(),
                hash: settings.hash.0.to_vec(),
            });
        }
    }
    message
}

fn package_to_wire(choice: &PackageChoice) -> wire::package_set::Package {
    let variant = |variant: &Variant| wire::package_set::Variant {
        selector: variant.selector.as_str().to_owned(),
        hash: variant.hash.0.to_vec(),
    };
    wire::package_set::Package {
        name: choice.package.clone(),
        version: choice.version.clone(),
        variants: choice.variants.iter().map(variant).collect(),
    }
}

fn package(message: wire::package_set::Package) -> Result<PackageChoice, String> {
    let variant = |message: wire::package_set::Variant| -> Result<Variant, String> {
        let selector = Selector::parse(&message.selector).map_err(|error| error.to_string())?;
        Ok(Variant { selector, hash: PackageHash(digest(&message.hash)?) })
    };
    let variants = message.variants.into_iter().map(variant).collect::<Result<_, _>>()?;
    Ok(PackageChoice { package: message.name, version: message.version, variants })
}

fn content(message: &mut wire::Assignment) -> Result<Content, String> {
    if let Some(set) = message.package_set.take() {
        let packages = set.packages.into_iter().map(package).collect::<Result<_, _>>()?;
        let (set, revision) = (set.set, set.revision);
        return Ok(Content::Packages(PackageSetRef { set, revision, packages }));
    }
    if let Some(settings) = message.settings.take() {
        let named = (settings.settings, settings.revision);
        return Ok(Content::Settings(settings_ref(named, &settings.class, &settings.hash)?));
    }
    Ok(Content::Config(RevisionRef {
        config: std::mem::take(&mut message.config_name),
        revision: message.config_revision,
        hash: hash(&message.config_hash)?,
    }))
}

fn brake_to_wire(brake: &Brake) -> wire::Brake {
    let mut message = wire::Brake {
        max_in_flight: brake.max_in_flight,
        max_failures: brake.max_failures,
        ..Default::default()
    };
    match brake.stage {
        Stage::Releasing(below) => {
            message.released_below = below;
            message.set_stage(wire::Stage::Releasing);
        }
        Stage::Released => message.set_stage(wire::Stage::Released),
        Stage::Done => message.set_stage(wire::Stage::Done),
        Stage::Stopped { failed } => {
            message.failed = failed;
            message.set_stage(wire::Stage::Stopped);
        }
    }
    message
}

/// A stage that a newer binary knows is not guessed at: it lets nobody through.
fn brake(message: &wire::Brake) -> Brake {
    let stage = match wire::Stage::try_from(message.stage) {
        Ok(wire::Stage::Releasing) => Stage::Releasing(message.released_below),
        Ok(wire::Stage::Released) => Stage::Released,
        Ok(wire::Stage::Done | wire::Stage::Unspecified) => Stage::Done,
        Ok(wire::Stage::Stopped) => Stage::Stopped { failed: message.failed },
        Err(_) => Stage::Releasing(0),
    };
    Brake { max_in_flight: message.max_in_flight, max_failures: message.max_failures, stage }
}

fn from_wire(mut message: wire::Assignment) -> Result<Assignment, String> {
    let selector = Selector::parse(&message.selector).map_err(|error| error.to_string())?;
    let content = content(&mut message)?;
    Ok(Assignment {
        name: message.name,
        selector,
        content,
        priority: message.priority,
        updated: Timestamp(message.updated_unix_ms),
        // Who wrote none knew no brake.
        brake: message.brake.as_ref().map_or_else(Brake::default, brake),
        actor: message.actor,
    })
}

#[cfg(test)]
mod tests {
    use model::ConfigHash;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_corrupt() {
        let assignment = |name: &str, stage| Assignment {
            name: name.to_owned(),
            selector: Selector::parse("env in (prod)").unwrap(),
            content: Content::Config(RevisionRef {
                config: "c".to_owned(),
                revision: 2,
                hash: ConfigHash([4; 32]),
            }),
            priority: -3,
            updated: Timestamp(5),
            brake: Brake { stage, ..Brake::new(7, 8) },
            actor: "alice".to_owned(),
        };
        let list = vec![
            assignment("a", Stage::Releasing(u64::MAX - 1)),
            assignment("b", Stage::Released),
            assignment("c", Stage::Done),
            assignment("d", Stage::Stopped { failed: 9 }),
        ];
        let hold =
            Some(Hold { since: Timestamp(6), reason: "why".to_owned(), actor: "bob".to_owned() });
        let value = Assignments { list, hold };
        let bytes = encode(&value, &Bytes::new());
        let loaded = decode(&Key::intent(), &bytes).unwrap();
        assert_eq!(loaded.value, value);
        let broken = v1::Assignments {
            format: FORMAT,
            assignments: vec![wire::Assignment { selector: "((".to_owned(), ..Default::default() }],
            hold: None,
        };
        assert!(decode(&Key::intent(), &write(&broken, &Bytes::new())).is_err());
    }
}
