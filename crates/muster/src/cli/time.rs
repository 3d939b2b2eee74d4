//! Times as people read them at a glance.

/// How long ago, in one unit. `then_secs` is Unix time by the server's clock.
pub(super) fn ago(now_ms: u64, then_secs: i64) -> String {
    let now_secs = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    match now_secs.saturating_sub(then_secs).max(0) {
        secs @ ..120 => format!("{secs}s ago"),
        secs @ ..7200 => format!("{}m ago", secs / 60),
        secs @ ..172_800 => format!("{}h ago", secs / 3600),
        secs => format!("{}d ago", secs / 86_400),
    }
}

/// A moment of Unix time, to the second.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    // Far beyond it there are five digits to a year.
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The end of the year 9999.
const LAST_MS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_and_none_is_too_far() {
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn ages_read_in_one_unit() {
        let cases = [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")];
        for (secs, want) in cases {
            assert_eq!(ago(1_000_000_000_000, 1_000_000_000 - secs), format!("{want} ago"));
        }
        assert_eq!(ago(0, 100), "0s ago", "a clock that lags");
    }
}
