//! Just enough of URLs to tell a complete one from a typing mistake.

/// The parts of a URL that rules are about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    /// From the first slash on; empty without one.
    pub(super) path: &'a str,
}

impl<'a> Url<'a> {
    /// The parts of an absolute URL with a host.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match host.strip_prefix('[') {
            Some(literal) => literal.split_once(']')?,
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
            None => port.is_empty(),
        };
        (port && !host.is_empty()).then_some(Self { scheme, host, path })
    }

    /// Whether the scheme is one of these, however it is written.
    pub(super) fn is_one_of(&self, schemes: &[&str]) -> bool {
        schemes.iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }

    /// Whether it stays on the machine.
    pub(super) fn is_local(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_host_and_path() {
        let parts = |text| Url::parse(text).map(|url| (url.scheme, url.host, url.path));
        assert_eq!(parts("https://h:4318/v1/metrics"), Some(("https", "h", "/v1/metrics")));
        assert_eq!(parts("ws://u:p@[::1]:4320/x?y"), Some(("ws", "::1", "/x")));
        assert_eq!(parts("http://h"), Some(("http", "h", "")));
        assert_eq!(parts("http://h?a/b"), Some(("http", "h", "")));
        for bad in ["", "h:4318", "https://", "https://:1/", "https://h:0/", "https://h:x/", "a b"]
        {
            assert_eq!(parts(bad), None, "{bad}");
        }
        let local = |text| Url::parse(text).unwrap().is_local();
        assert!(local("http://127.0.0.2") && local("http://[::1]/") && local("http://LocalHost/"));
        assert!(!local("http://127.0.0.1.example.org/"));
    }
}
