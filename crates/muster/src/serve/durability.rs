//! Whether a ledger keeps what it acknowledged: what its Redis says of itself, judged.

use store::Durability;

use crate::exit::Failure;

/// What to warn of. Refuses a ledger that may forget on purpose, unless that was accepted.
pub(super) fn judge(ledger: &Durability, evicting_allowed: bool) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let policy = ledger.maxmemory_policy.as_deref().unwrap_or_default();
    match ledger.evicts() {
        Some(false) => {}
        Some(true) if evicting_allowed => warnings.push(format!(
            "its Redis evicts ({policy}): configs and assignments may vanish when memory runs out"
        )),
        Some(true) => {
            return Err(Failure::usage(format!(
                "the ledger's Redis has maxmemory-policy {policy}: it would throw configs and \
                 assignments away when memory runs out; set it to noeviction, or accept the loss \
                 with --allow-evicting-ledger"
            )));
        }
        None => warnings.push(
            "its Redis does not tell its maxmemory-policy: make sure it is noeviction".to_owned(),
        ),
    }
    match ledger.writes_through() {
        Some(true) => {}
        Some(false) => warnings.push(
            "its Redis has not both appendonly yes and appendfsync always: a crash may lose \
             decisions that were acknowledged"
                .to_owned(),
        ),
        None => warnings.push(
            "its Redis does not tell how it writes to disk: make sure of appendonly yes and \
             appendfsync always"
                .to_owned(),
        ),
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(policy: &str, appendfsync: &str) -> Durability {
        Durability {
            maxmemory_policy: Some(policy.to_owned()),
            appendonly: Some(true),
            appendfsync: Some(appendfsync.to_owned()),
        }
    }

    #[test]
    fn a_ledger_that_keeps_everything_is_not_worth_a_word() {
        let warnings = judge(&says("noeviction", "always"), false).unwrap();
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn an_evicting_ledger_is_refused_unless_accepted() {
        let evicting = says("allkeys-lru", "always");
        let error = judge(&evicting, false).unwrap_err().to_string();
        assert!(error.contains("allkeys-lru"), "{error}");
        assert!(error.contains("--allow-evicting-ledger"), "{error}");
        assert_eq!(judge(&evicting, true).unwrap().len(), 1);
    }

    #[test]
    fn what_may_be_lost_or_is_not_told_is_said() {
        assert_eq!(judge(&says("noeviction", "everysec"), false).unwrap().len(), 1);
        assert_eq!(judge(&Durability::default(), false).unwrap().len(), 2);
    }
}
