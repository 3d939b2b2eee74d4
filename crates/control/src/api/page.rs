//! Page tokens (AIP-158): where a list goes on, and that it is the same list.

use crate::{Error, Limits};

/// How many items to return.
pub(crate) fn size(asked: i32, limits: &Limits) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Err(_) => Err(Error::invalid("page_size", "must not be negative")),
        Ok(0) => Ok(limits.page_default),
        Ok(size) => Ok(size.min(limits.page_max)),
    }
}

/// The token of the page after `last`, in a list asked for with `query`.
pub(crate) fn token(last: &str, query: &str) -> String {
    format!("{:016x}.{last}", fingerprint(query))
}

/// The item that a token goes on after; `None` for the first page.
pub(crate) fn after<'a>(token: &'a str, query: &str) -> Result<Option<&'a str>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let (print, last) = token
        .split_once('.')
        .ok_or_else(|| Error::invalid("page_token", "is not one that was handed out"))?;
    if print != format!("{:016x}", fingerprint(query)) {
        let reason = "belongs to a list that was asked for with other parameters";
        return Err(Error::invalid("page_token", reason));
    }
    Ok(Some(last))
}

/// Tells queries apart, alike in every build: a list may go on at another control. FNV-1a.
pub(crate) fn fingerprint(query: &str) -> u64 {
    query.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_on_where_its_own_list_stopped() {
        let token = token("x.y", "env=prod");
        assert_eq!(after(&token, "env=prod"), Ok(Some("x.y")));
        assert!(after(&token, "env=dev").is_err());
        assert!(after("nonsense", "").is_err());
        assert_eq!(after("", "env=dev"), Ok(None));
    }

    #[test]
    fn sizes_are_bounded() {
        let limits = Limits::default();
        assert_eq!(size(0, &limits), Ok(limits.page_default));
        assert_eq!(size(i32::MAX, &limits), Ok(limits.page_max));
        assert!(size(-1, &limits).is_err());
    }
}
