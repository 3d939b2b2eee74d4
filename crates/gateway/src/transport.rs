//! Which of OpAMP's two transports a request speaks, by its method and headers alone. Pure.

use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use opamp::ws;

/// The media type of an OpAMP exchange.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
/// The only version of the WebSocket protocol there is.
pub(crate) const WEBSOCKET_VERSION: &str = "13";

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One message, one answer.
    Exchange,
    /// A WebSocket; the answer proves that its key was read.
    Upgrade {
        /// Value of `Sec-WebSocket-Accept`.
        accept_key: String,
    },
    /// Neither.
    Refuse(StatusCode, &'static str),
}

/// Reads a request's intent. A protobuf body is an exchange; all else must be a handshake.
/// Subprotocols, origins and extensions play no part.
pub(crate) fn choose(method: &Method, version: Version, headers: &HeaderMap) -> Choice {
    let refuse = |status, text| Choice::Refuse(status, text);
    if is_protobuf(headers) {
        return match *method {
            Method::POST => Choice::Exchange,
            _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "a protobuf message is to be posted"),
        };
    }
    match *method {
        Method::GET => {}
        Method::POST => {
            return refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-type must be application/x-protobuf",
            );
        }
        _ => {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "only get and post are taken");
        }
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return refuse(
            StatusCode::UPGRADE_REQUIRED,
            "open a websocket, or post application/x-protobuf",
        );
    }
    if version != Version::HTTP_11 {
        return refuse(StatusCode::BAD_REQUEST, "a websocket begins with http/1.1");
    }
    if text(headers, &SEC_WEBSOCKET_VERSION) != Some(WEBSOCKET_VERSION) {
        return refuse(StatusCode::UPGRADE_REQUIRED, "the websocket version must be 13");
    }
    match text(headers, &SEC_WEBSOCKET_KEY).filter(|key| ws::is_request_key(key)) {
        Some(key) => Choice::Upgrade { accept_key: ws::accept_key(key) },
        None => refuse(StatusCode::BAD_REQUEST, "sec-websocket-key must be 16 bytes in base64"),
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let media_type = text(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(PROTOBUF))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let mut tokens = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: &[(&str, &str)] = &[
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "whatever"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "https://elsewhere.example"),
    ];

    fn choice(method: &Method, headers: &[(&'static str, &'static str)]) -> Choice {
        let pairs = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        choose(method, Version::HTTP_11, &pairs.collect())
    }

    fn status(method: &Method, headers: &[(&'static str, &'static str)]) -> u16 {
        match choice(method, headers) {
            Choice::Refuse(status, _) => status.as_u16(),
            Choice::Exchange => 200,
            Choice::Upgrade { .. } => 101,
        }
    }

    #[test]
    fn a_protobuf_post_is_an_exchange() {
        for value in ["application/x-protobuf", "Application/X-Protobuf; charset=utf-8"] {
            assert_eq!(status(&Method::POST, &[("content-type", value)]), 200);
            assert_eq!(status(&Method::GET, &[("content-type", value)]), 405);
        }
    }

    #[test]
    fn a_handshake_is_answered_with_its_key() {
        let accept_key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(choice(&Method::GET, HANDSHAKE), Choice::Upgrade { accept_key });
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        assert_eq!(status(&Method::POST, &[("content-type", "application/json")]), 415);
        assert_eq!(status(&Method::POST, &[]), 415);
        assert_eq!(status(&Method::PUT, &[]), 405);
        assert_eq!(status(&Method::GET, &[]), 426);
        for (changed, expected) in [
            (("sec-websocket-version", "12"), 426),
            (("sec-websocket-key", "short"), 400),
            (("upgrade", "h2c"), 426),
            (("connection", "close"), 426),
        ] {
            let mut headers = HANDSHAKE.to_vec();
            headers.retain(|(name, _)| *name != changed.0);
            headers.push(changed);
            assert_eq!(status(&Method::GET, &headers), expected, "{changed:?}");
        }
        let headers = HANDSHAKE
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let old = choose(&Method::GET, Version::HTTP_10, &headers.collect());
        assert!(matches!(old, Choice::Refuse(StatusCode::BAD_REQUEST, _)));
    }
}
