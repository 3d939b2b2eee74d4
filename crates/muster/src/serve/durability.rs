//! Whether a ledger keeps what it acknowledged: what its Redis says of itself, judged.

use store::Durability;

use crate::exit::Failure;

/// What to warn of. Refuses a ledger that may forget on purpose, unless that was accepted.
pub(super) fn judge(ledger: &Durability, forgetting_allowed: bool) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut refuse = |what: String, instead: &str| match forgetting_allowed {
        true => {
            warnings.push(what);
            Ok(())
        }
        false => Err(Failure::usage(format!(
            "the ledger is not safe: {what}; {instead}, or accept the loss with \
             --allow-evicting-ledger"
        ))),
    };
    let policy = ledger.maxmemory_policy.as_deref().unwrap_or_default();
    if ledger.evicts() == Some(true) {
        refuse(
            format!(
                "its Redis has maxmemory-policy {policy}: it throws configs and assignments away \
                 when memory runs out"
            ),
            "set it to noeviction",
        )?;
    }
    if ledger.reads_back() == Some(false) {
        refuse(DROPPED.to_owned(), "give it `user default off ~* &* +@all`")?;
    }
    warnings.extend(unknown(ledger));
    Ok(warnings)
}

/// What to warn of where agents' records are: they can be rebuilt.
pub(super) fn of_records(records: &Durability) -> Option<&'static str> {
    (records.reads_back() == Some(false)).then_some(DROPPED)
}

const DROPPED: &str = "its Redis reads its log as a default user without rights, and so drops \
    what was acknowledged when it starts again";

fn unknown(ledger: &Durability) -> Vec<String> {
    let mut warnings = Vec::new();
    if ledger.evicts().is_none() {
        warnings.push(
            "its Redis does not tell its maxmemory-policy: make sure it is noeviction".to_owned(),
        );
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
    if ledger.writes_through() == Some(true) && ledger.reads_back().is_none() {
        warnings.push(
            "its Redis does not tell what its default user may do: make sure of `user default off \
             ~* &* +@all`, or what it wrote may be dropped when it is read"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(policy: &str, appendfsync: &str) -> Durability {
        Durability {
            maxmemory_policy: Some(policy.to_owned()),
            appendonly: Some(true),
            appendfsync: Some(appendfsync.to_owned()),
            default_user_may_write: Some(true),
        }
    }

    #[test]
    fn a_log_that_would_be_dropped_is_refused_unless_accepted() {
        let dropped =
            Durability { default_user_may_write: Some(false), ..says("noeviction", "always") };
        let error = judge(&dropped, false).unwrap_err().to_string();
        assert!(error.contains("user default off ~* &* +@all"), "{error}");
        assert_eq!(judge(&dropped, true).unwrap().len(), 1);
        assert!(of_records(&dropped).is_some() && of_records(&says("x", "no")).is_none());
        // Without a log there is nothing to drop.
        let none = Durability { appendonly: Some(false), ..dropped };
        assert_eq!(judge(&none, false).unwrap().len(), 1);
        let untold = Durability { default_user_may_write: None, ..says("noeviction", "always") };
        assert_eq!(judge(&untold, false).unwrap().len(), 1);
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
