//! Resource names of the API and their short forms on the command line: `collector@3` for
//! `configs/collector/revisions/3`.

/// `commands/{command}`, whether or not it is typed so.
pub(super) fn command(id: &str) -> String {
    let id = id.strip_prefix("commands/").unwrap_or(id);
    format!("commands/{id}")
}

/// `configs/{name}`.
pub(super) fn config(name: &str) -> String {
    format!("configs/{name}")
}

/// `connectionSettings/{name}`.
pub(super) fn settings(name: &str) -> String {
    format!("connectionSettings/{name}")
}

/// `enrollmentTokens/{name}`.
pub(super) fn enrollment_token(name: &str) -> String {
    format!("enrollmentTokens/{name}")
}

/// `assignments/{name}`.
pub(super) fn assignment(name: &str) -> String {
    format!("assignments/{name}")
}

/// The revision of a config that `name@revision` names; `latest` where none is given.
pub(super) fn revision(short: &str) -> String {
    revision_in("configs", Some(short))
}

/// The same of any collection; empty without a name.
pub(super) fn revision_in(collection: &str, short: Option<&str>) -> String {
    let Some(short) = short else { return String::new() };
    let (name, revision) = short.rsplit_once('@').unwrap_or((short, "latest"));
    format!("{collection}/{name}/revisions/{revision}")
}

/// A resource name as people write it: without its collection, a revision after an `@`.
pub(super) fn short(resource: &str) -> String {
    let parts: Vec<&str> = resource.split('/').collect();
    match parts[..] {
        [_, name, "revisions" | "versions", number] => format!("{name}@{number}"),
        [_, name] => name.to_owned(),
        _ => resource.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_stand_for_resource_names() {
        assert_eq!(revision("collector@3"), "configs/collector/revisions/3");
        assert_eq!(revision("collector"), "configs/collector/revisions/latest");
        assert_eq!(short("configs/collector/revisions/3"), "collector@3");
        assert_eq!(short("packageSets/edge/revisions/2"), "edge@2");
        assert_eq!(revision_in("packageSets", Some("edge")), "packageSets/edge/revisions/latest");
        assert_eq!(short("assignments/all"), "all");
        assert_eq!(short(""), "");
    }
}
