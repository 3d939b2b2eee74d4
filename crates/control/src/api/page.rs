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

/// The page that is asked for, by its size and token, of items that have an id each; and the token
/// of the next page, empty after the last.
pub(crate) fn of<T>(
    items: impl IntoIterator<Item = (String, T)>,
    (size, token): (i32, &str),
    query: &str,
    limits: &Limits,
) -> Result<(Vec<T>, String), Error> {
    let (size, after) = (self::size(size, limits)?, after(token, query)?);
    let items = items.into_iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
    let mut items: Vec<(String, T)> = items.collect();
    items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().filter(|_| more);
    let next = last.map_or(String::new(), |(id, _)| self::token(id, query));
    Ok((items.into_iter().map(|(_, item)| item).collect(), next))
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
    fn pages_hold_every_item_once_in_order_of_their_ids() {
        let items = || ["b", "a-b@1", "a@1", "c"].map(|id| (id.to_owned(), id));
        let limits = Limits::default();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = of(items(), (2, &token), "", &limits).unwrap();
            assert!(page.len() <= 2);
            seen.extend(page);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ["a-b@1", "a@1", "b", "c"]);
        assert!(of(items(), (2, "x"), "", &limits).is_err());
        assert_eq!(of(items(), (4, ""), "", &limits).unwrap().1, "", "nothing follows");
    }

    #[test]
    fn sizes_are_bounded() {
        let limits = Limits::default();
        assert_eq!(size(0, &limits), Ok(limits.page_default));
        assert_eq!(size(i32::MAX, &limits), Ok(limits.page_max));
        assert!(size(-1, &limits).is_err());
    }
}
