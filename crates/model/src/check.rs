//! What operators give, looked at before it is kept: what both connection settings and packages
//! need for that.

use http::Uri;

/// What is wrong with something that an operator gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Fault {
    /// Path of the field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

pub(crate) fn fault<T>(field: &'static str, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { field, reason: reason.into() })
}

/// An absolute URL of one of these schemes, with a host, and with a port that there is.
pub(crate) fn url(text: &str, schemes: &[&str]) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let (authority, host) = (url.authority()?.as_str(), url.host()?);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    // A port that is no number is none to the parser, which lets it pass.
    let has_port = !place.strip_prefix(host)?.is_empty();
    let is_sound = !host.is_empty() && (!has_port || url.port_u16().is_some_and(|port| port > 0));
    (is_sound && schemes.iter().any(|scheme| is_of(&url, scheme))).then_some(url)
}

pub(crate) fn is_of(url: &Uri, scheme: &str) -> bool {
    url.scheme_str().is_some_and(|it| it.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_whole_or_none() {
        let schemes = ["https", "http", "ws"];
        let parts = |text: &str| url(text, &schemes).map(|url| url.path().to_owned());
        assert_eq!(parts("https://h:4318/v1/metrics").unwrap(), "/v1/metrics");
        assert_eq!(parts("ws://u:p@[::1]:4320/x?y").unwrap(), "/x");
        assert_eq!(parts("ws://u:p@[::1]/").unwrap(), "/");
        assert_eq!(parts("HTTP://h").unwrap(), "/");
        for bad in [
            "",
            "h:4318",
            "https://",
            "https://:1/",
            "https://h:0/",
            "https://h:x/",
            "https://x:x/",
            "https://u@h:/",
            "a b",
            "ftp://h",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
