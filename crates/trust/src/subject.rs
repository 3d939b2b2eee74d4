//! The name in a certificate: its subject's common name, read from DER by hand. A verifier has
//! been over the certificate before; what looks strange all the same has no name.

use crate::limits::NAME_BYTES_MAX;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const OBJECT_ID: u8 = 0x06;
/// 2.5.4.3 in DER.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Kinds of text that are UTF-8: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The last common name of the subject, which is the most specific one.
pub(crate) fn common_name(mut certificate: &[u8]) -> Option<&str> {
    let mut body = expect(&mut certificate, SEQUENCE)?;
    let mut signed = expect(&mut body, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        element(&mut signed)?;
    }
    let mut subject = expect(&mut signed, SEQUENCE)?;
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
    fn no_bytes_make_it_panic() {
        let whole = certificate("alice").to_vec();
        for end in 0..whole.len() {
            common_name(&whole[..end]);
            let mut wrong = whole.clone();
            wrong[end] ^= 0xff;
            common_name(&wrong);
        }
    }
}
