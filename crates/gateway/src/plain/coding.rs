//! Content codings: what a request's body is in and what its response may be in.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, GetAll};
use http::{HeaderMap, HeaderValue};

/// Messages above this are compressed beside the network tasks.
const DEFLATE_INLINE_BYTES_MAX: usize = 64 << 10;

/// The codings that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

/// The coding of a request's body.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<Coding, &'static str> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().unwrap_or("?").trim();
        coding = match (coding, &*value.to_ascii_lowercase()) {
            (coding, "identity" | "") => coding,
            (Coding::Identity, "gzip" | "x-gzip") => Coding::Gzip,
            _ => return Err("content-encoding must be gzip or identity"),
        };
    }
    Ok(coding)
}

/// Whether `Accept-Encoding` allows gzip: named or meant by `*`, and not with a weight of 0. An
/// explicit entry wins over `*`.
pub(crate) fn allows_gzip(values: GetAll<'_, HeaderValue>) -> bool {
    let (mut named, mut any) = (None, None);
    let values = values.into_iter().filter_map(|value| value.to_str().ok());
    for entry in values.flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight).unwrap_or(1.0);
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            named = Some(weight > 0.0);
        } else if coding == "*" {
            any = Some(weight > 0.0);
        }
    }
    named.or(any).unwrap_or(false)
}

fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let is_weight = name.trim().eq_ignore_ascii_case("q");
    // A weight that cannot be read is no permission.
    is_weight.then(|| value.trim().parse().unwrap_or(0.0))
}

/// Compresses a message.
pub(crate) async fn gzip(message: Bytes) -> Bytes {
    if message.len() <= DEFLATE_INLINE_BYTES_MAX {
        return deflate(&message);
    }
    tokio::task::spawn_blocking(move || deflate(&message))
        .await
        .expect("compressing into memory does not panic")
}

fn deflate(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(message)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
        .into()
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;

    use super::*;

    fn allows(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        allows_gzip(headers.get_all(ACCEPT_ENCODING))
    }

    #[test]
    fn gzip_is_used_only_when_allowed() {
        for yes in ["gzip", "GZIP", "deflate, gzip;q=0.5", "*", "br , *;q=0.1", "gzip; q=1"] {
            assert!(allows(&[yes]), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "gzip; Q=0.000", "*;q=0", "gzip;q=0, *", "gzipp"] {
            assert!(!allows(&[no]), "{no}");
        }
        assert!(!allows(&[]));
        assert!(allows(&["br", "gzip"]));
    }

    #[test]
    fn unknown_codings_are_never_read_raw() {
        let of = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            of_request(&[(CONTENT_ENCODING, value)].into_iter().collect())
        };
        assert_eq!(of("GZip"), Ok(Coding::Gzip));
        assert_eq!(of("identity"), Ok(Coding::Identity));
        assert!(of("zstd").is_err());
        assert!(of("gzip, gzip").is_err());
        assert_eq!(of_request(&HeaderMap::new()), Ok(Coding::Identity));
    }
}
