//! A request's body: bounded on the wire, inflated, and in memory.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::coding::Coding;
use crate::budget::Charge;
use crate::shared::Shared;

/// Compressed bodies above this are inflated beside the network tasks.
const INFLATE_INLINE_BYTES_MAX: usize = 16 << 10;
/// Inflated this much at a time.
const STEP_BYTES: usize = 32 << 10;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge,
    Corrupt,
    Broken,
    TooSlow,
    Exhausted,
}

impl Unreadable {
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::TooLarge => "the message exceeds the limit",
            Self::Corrupt => "the body is not valid gzip",
            Self::Broken => "the body broke off",
            Self::TooSlow => "the body took too long",
            Self::Exhausted => "the server is short of memory",
        }
    }
}

/// Reads a whole body and takes its coding off.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Body,
    coded: Coding,
) -> Result<(Bytes, Charge), Unreadable> {
    let limit = shared.limits.receive_bytes_max;
    if announced(headers).is_some_and(|bytes| bytes > limit as u64) {
        return Err(Unreadable::TooLarge);
    }
    let mut charge = shared.budget.open();
    let collecting = collect(body, limit, &mut charge);
    let bytes = timeout(shared.limits.body_deadline, collecting)
        .await
        .map_err(|_| Unreadable::TooSlow)??;
    match coded {
        Coding::Identity => Ok((bytes, charge)),
        Coding::Gzip if bytes.len() <= INFLATE_INLINE_BYTES_MAX => inflate(&bytes, limit, charge),
        Coding::Gzip => tokio::task::spawn_blocking(move || inflate(&bytes, limit, charge))
            .await
            .unwrap_or(Err(Unreadable::Broken)),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body, limit: usize, charge: &mut Charge) -> Result<Bytes, Unreadable> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unreadable::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limit - whole.len() {
            return Err(Unreadable::TooLarge);
        }
        charge.grow(data.len()).map_err(|_| Unreadable::Exhausted)?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Inflates no further than the limit, and only as far as the budget goes.
fn inflate(bytes: &[u8], limit: usize, mut charge: Charge) -> Result<(Bytes, Charge), Unreadable> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut whole = Vec::new();
    loop {
        let before = whole.len();
        let step = STEP_BYTES.min(limit + 1 - before);
        charge.grow(step).map_err(|_| Unreadable::Exhausted)?;
        let mut part = (&mut decoder).take(step as u64);
        part.read_to_end(&mut whole).map_err(|_| Unreadable::Corrupt)?;
        if whole.len() > limit {
            return Err(Unreadable::TooLarge);
        }
        if whole.len() == before {
            // Shrinking cannot fail, and the compressed form is about to go.
            let _ = charge.set(whole.len());
            return Ok((whole.into(), charge));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::budget::Budget;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(bytes: &[u8], limit: usize, budget: usize) -> Result<Bytes, Unreadable> {
        inflate(bytes, limit, Budget::new(budget).open()).map(|(bytes, _)| bytes)
    }

    #[test]
    fn inflates_up_to_the_limit_and_not_a_byte_more() {
        let whole = vec![7; 100_000];
        let gzip = packed(&whole);
        assert_eq!(inflated(&gzip, whole.len(), 1 << 20), Ok(whole.into()));
        assert_eq!(inflated(&gzip, 99_999, 1 << 20), Err(Unreadable::TooLarge));
        assert_eq!(inflated(&gzip, 1 << 20, 50_000), Err(Unreadable::Exhausted));
        assert_eq!(inflated(&gzip[..50], 1 << 20, 1 << 20), Err(Unreadable::Corrupt));
        assert_eq!(inflated(b"plain", 1 << 20, 1 << 20), Err(Unreadable::Corrupt));
    }
}
