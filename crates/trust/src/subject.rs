//! What a certificate says of itself: its subject's common name, until when it is good, its key;
//! read from DER by hand. A verifier has been over the certificate before, or will be; what looks
//! strange all the same is not there.

use crate::limits::NAME_BYTES_MAX;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const OBJECT_ID: u8 = 0x06;
/// 2.5.4.3 in DER.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Kinds of text that are UTF-8: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The parts of a certificate that are of interest, as they stand.
pub(crate) struct Parts<'a> {
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    /// The public key with its algorithm.
    pub(crate) key: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn of(mut certificate: &'a [u8]) -> Option<Self> {
        let mut body = expect(&mut certificate, SEQUENCE)?;
        let mut signed = expect(&mut body, SEQUENCE)?;
        if signed.first() == Some(&VERSION) {
            element(&mut signed)?;
        }
        // Serial number, algorithm.
        element(&mut signed)?;
        element(&mut signed)?;
        let issuer = expect(&mut signed, SEQUENCE)?;
        let validity = expect(&mut signed, SEQUENCE)?;
        let subject = expect(&mut signed, SEQUENCE)?;
        let key = expect(&mut signed, SEQUENCE)?;
        Some(Self { issuer, validity, subject, key })
    }

    /// Whether it names itself as who signed it.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// From when and until when it is good, in seconds since the Unix epoch.
    pub(crate) fn validity(&self) -> Option<(i64, i64)> {
        let mut validity = self.validity;
        let mut next = || element(&mut validity).and_then(|(tag, text)| time(tag, text));
        Some((next()?, next()?))
    }

    pub(crate) fn common_name(&self) -> Option<&'a str> {
        common_name_in(self.subject)
    }
}

/// The last common name of the subject, which is the most specific one.
pub(crate) fn common_name(certificate: &[u8]) -> Option<&str> {
    Parts::of(certificate)?.common_name()
}

fn common_name_in(mut subject: &[u8]) -> Option<&str> {
    let mut found = None;
    while !subject.is_empty() {
        let mut parts = expect(&mut subject, SET)?;
        while !parts.is_empty() {
            let mut part = expect(&mut parts, SEQUENCE)?;
            let kind = expect(&mut part, OBJECT_ID)?;
            let (tag, value) = element(&mut part)?;
            if kind == COMMON_NAME && TEXTS.contains(&tag) {
                found = std::str::from_utf8(value).ok();
            }
        }
    }
    found.filter(|name| is_fit(name))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, as seconds since the Unix epoch.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    let good = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
    // Days of the civil calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    good.then_some(days * 86_400 + seconds)
}

/// What may be recorded and logged.
fn is_fit(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control)
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(input).filter(|(found, _)| *found == tag).map(|(_, value)| value)
}

/// The next element: its tag and its content.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, value))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    use services::Authority;

    use super::*;

    fn certificate(name: &str) -> CertificateDer<'static> {
        // Its files go with it.
        let authority = Authority::new().unwrap();
        let pair = authority.client(name).unwrap();
        CertificateDer::from_pem_file(pair.certificate).unwrap()
    }

    #[test]
    fn the_subject_s_name_is_found_and_the_issuer_s_is_not() {
        assert_eq!(common_name(&certificate("alice")), Some("alice"));
        assert_eq!(common_name(&certificate("Zoë of operations")), Some("Zoë of operations"));
    }

    #[test]
    fn a_name_that_cannot_be_shown_is_none() {
        assert_eq!(common_name(&certificate("two\nlines")), None);
        assert_eq!(common_name(&certificate(&"x".repeat(129))), None);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "000229120001Z", 951_825_601),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20501231235959Z", 2_556_143_999),
            (UTC_TIME, "991231235959Z", 946_684_799),
        ] {
            assert_eq!(time(tag, text.as_bytes()), Some(seconds), "{text}");
        }
        for bad in ["7001010000Z", "701301000000Z", "700101000000", "70010100000éZ"] {
            assert_eq!(time(UTC_TIME, bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = certificate("alice").to_vec();
        for end in 0..whole.len() {
            common_name(&whole[..end]);
            let mut wrong = whole.clone();
            wrong[end] ^= 0xff;
            common_name(&wrong);
            Parts::of(&wrong).map(|parts| parts.validity());
        }
    }
}
