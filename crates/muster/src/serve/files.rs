//! How many files this process may have open, and what that leaves for agents' connections. Some
//! are kept back: a process without any left can neither say that it lives nor reach its stores.

use crate::limits::FILES_KEPT;

/// Where the system says what this process may have.
const LIMITS: &str = "/proc/self/limits";

/// Lowers what a gateway takes to what the process may have open.
pub(super) fn bound(limits: &mut gateway::Limits) {
    let Some(files) = std::fs::read_to_string(LIMITS).ok().as_deref().and_then(open_files) else {
        return;
    };
    let (sockets, http) = share(files, limits.connections_max, limits.http_connections_max);
    if sockets < limits.connections_max {
        let asked = limits.connections_max;
        tracing::info!(files, asked, sockets, "open files bound the connections (ulimit -n)");
    }
    (limits.connections_max, limits.http_connections_max) = (sockets, http);
}

/// The soft limit.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// WebSockets, and connections that speak HTTP. Some of these are always left, to tell who comes in
/// vain when to come back.
fn share(files: usize, sockets: usize, http: usize) -> (usize, usize) {
    let left = files.saturating_sub(FILES_KEPT).max(8);
    let sockets = sockets.min(left / 8 * 7);
    (sockets, http.min(left - sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Max processes   96311  96311  processes \nMax open files            1024      \
                    524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(open_files("Max open files  unlimited  unlimited  files\n"), None);
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn connections_have_what_the_process_has_not_kept() {
        assert_eq!(share(1_000_000, 100_000, 100_000), (100_000, 100_000));
        assert_eq!(share(FILES_KEPT + 800, 100_000, 100_000), (700, 100));
        assert_eq!(share(FILES_KEPT + 800, 100, 100), (100, 100));
        assert_eq!(share(10, 100, 100), (7, 1), "it starts all the same");
    }
}
