//! Resource names (AIP-122), in and out.

use opamp::InstanceUid;

use crate::Error;
use crate::ledger::Which;

/// Longest id of a config or an assignment, in characters: as a DNS label.
const ID_MAX: usize = 63;

/// `agents/{instance_uid}`.
pub(crate) fn agent(uid: &InstanceUid) -> String {
    format!("agents/{uid}")
}

/// `configs/{config}/revisions/{revision}`.
pub(crate) fn revision(config: &str, number: u64) -> String {
    revision_in("configs", config, number)
}

/// `{collection}/{id}/revisions/{revision}`.
pub(crate) fn revision_in(collection: &str, id: &str, number: u64) -> String {
    format!("{collection}/{id}/revisions/{number}")
}

/// The uid in `agents/{instance_uid}`.
pub(crate) fn parse_agent(name: &str) -> Result<InstanceUid, Error> {
    parse_agent_in("name", name)
}

/// The uid in `agents/{instance_uid}`, which stands in a field.
pub(crate) fn parse_agent_in(field: &'static str, name: &str) -> Result<InstanceUid, Error> {
    let uid = name
        .strip_prefix("agents/")
        .ok_or_else(|| Error::invalid(field, "must be agents/{instance_uid}"))?;
    uid.parse().map_err(|error| Error::invalid(field, format!("{error}")))
}

/// The id in `configs/{config}` or `assignments/{assignment}`.
pub(crate) fn parse<'a>(
    field: &'static str,
    name: &'a str,
    collection: &'static str,
) -> Result<&'a str, Error> {
    let id = name
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| Error::invalid(field, format!("must be {collection}/{{id}}")))?;
    check(field, id)?;
    Ok(id)
}

/// The config and revision in `configs/{config}/revisions/{revision}`. Without a revision, or
/// with `latest`, it is the newest.
pub(crate) fn parse_revision<'a>(
    field: &'static str,
    name: &'a str,
) -> Result<(&'a str, Which), Error> {
    parse_revision_in(field, name, "configs")
}

/// The id and revision in `{collection}/{id}/revisions/{revision}`, as with configs.
pub(crate) fn parse_revision_in<'a>(
    field: &'static str,
    name: &'a str,
    collection: &'static str,
) -> Result<(&'a str, Which), Error> {
    let rest = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
    let shape = || format!("must be {collection}/{{id}}/revisions/{{revision}}");
    let rest = rest.ok_or_else(|| Error::invalid(field, shape()))?;
    let (config, which) = match rest.split_once("/revisions/") {
        None => (rest, Which::Latest),
        Some((config, "latest")) => (config, Which::Latest),
        Some((config, number)) => {
            let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                Error::invalid(field, format!("revision {number:?} is neither a number nor latest"))
            })?;
            (config, Which::Number(number))
        }
    };
    check(field, config)?;
    Ok((config, which))
}

/// Ids are lower-case letters, digits, and `-`, `.` or `_` between them.
fn check(field: &'static str, id: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || matches!(c, '-' | '.' | '_');
    let good =
        id.len() <= ID_MAX && id.starts_with(plain) && id.ends_with(plain) && id.chars().all(inner);
    if good {
        return Ok(());
    }
    let reason = format!(
        "{id:?} is no id: use 1 to {ID_MAX} lower-case letters and digits, with - . _ between them"
    );
    Err(Error::invalid(field, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        assert_eq!(parse("name", "configs/a-b.c_1", "configs"), Ok("a-b.c_1"));
        for bad in ["a", "configs/", "configs/-a", "configs/A", "configs/a/b", "assignments/a"] {
            assert!(parse("name", bad, "configs").is_err(), "{bad}");
        }
        assert!(parse("name", &format!("configs/{}", "a".repeat(64)), "configs").is_err());
    }

    #[test]
    fn a_revision_may_be_left_out() {
        assert_eq!(parse_revision("f", "configs/a"), Ok(("a", Which::Latest)));
        assert_eq!(parse_revision("f", "configs/a/revisions/latest"), Ok(("a", Which::Latest)));
        assert_eq!(parse_revision("f", "configs/a/revisions/3"), Ok(("a", Which::Number(3))));
        for bad in ["configs/a/revisions/0", "configs/a/revisions/x", "configs/a/revisions/"] {
            assert!(parse_revision("f", bad).is_err(), "{bad}");
        }
    }
}
