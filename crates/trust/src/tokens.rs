//! Tokens and who holds them. A token is a secret that was handed to somebody under a name; only
//! its digest is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::limits::{NAME_BYTES_MAX, TOKEN_BYTES_MAX, TOKEN_CHARS_MIN};
use crate::{Error, token_digest};

/// SHA-256 of a token. Looking one up takes as long whatever it has in common with a real one.
type Fingerprint = [u8; 32];

/// Somebody who showed a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name beside the token.
    pub name: Arc<str>,
    fingerprint: Fingerprint,
}

/// The tokens of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    holders: BTreeMap<Fingerprint, Arc<Holder>>,
}

impl Tokens {
    /// Reads a file: a name and a token on each line, with space between them. Empty lines and
    /// lines that begin with `#` say nothing.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut tokens = Self::default();
        let mut names = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let refuse = |reason: String| {
                Err(Error::Line { path: path.to_owned(), line: line_number, reason })
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, token) = match words[..] {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [name, token] => (name, token),
                _ => return refuse("must be a name and a token".to_owned()),
            };
            if let Err(reason) = check(name, token) {
                return refuse(reason);
            }
            if !names.insert(name) {
                return refuse(format!("{name:?} is also the name of another token"));
            }
            let holder = Holder { name: name.into(), fingerprint: token_digest(token.as_bytes()) };
            if tokens.holders.contains_key(&holder.fingerprint) {
                return refuse(format!("the token of {name:?} is also somebody else's"));
            }
            tokens.holders.insert(holder.fingerprint, Arc::new(holder));
        }
        Ok(tokens)
    }

    /// Whether nobody holds one.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Who holds this token.
    pub fn holder(&self, token: &[u8]) -> Option<Arc<Holder>> {
        self.holders.get(&token_digest(token)).cloned()
    }

    /// Whether a token that was good is still good, and still its holder's.
    pub fn still_good(&self, holder: &Holder) -> bool {
        self.holders.get(&holder.fingerprint).is_some_and(|found| found.name == holder.name)
    }
}

fn check(name: &str, token: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_graphic();
    if name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err(format!("the name must be {NAME_BYTES_MAX} plain ASCII characters at most"));
    }
    if token.chars().count() < TOKEN_CHARS_MIN {
        return Err(format!("the token of {name:?} is shorter than {TOKEN_CHARS_MIN} characters"));
    }
    if token.len() > TOKEN_BYTES_MAX || !token.chars().all(plain) {
        return Err(format!(
            "the token of {name:?} must be {TOKEN_BYTES_MAX} plain ASCII characters at most"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "0123456789abcdef-alice";
    const BOB: &str = "0123456789abcdef-bob";

    fn parse(text: &str) -> Result<Tokens, Error> {
        Tokens::parse(Path::new("tokens"), text)
    }

    #[test]
    fn holders_are_known_by_their_tokens() {
        let text = format!("# operators\n\nalice {ALICE}\n  bob\t{BOB}  \n");
        let tokens = parse(&text).unwrap();
        assert_eq!(&*tokens.holder(ALICE.as_bytes()).unwrap().name, "alice");
        assert_eq!(&*tokens.holder(BOB.as_bytes()).unwrap().name, "bob");
        assert_eq!(tokens.holder(b"0123456789abcdef"), None);
        assert!(!format!("{tokens:?}").contains(ALICE), "no token is shown");
    }

    #[test]
    fn a_bad_line_is_named_and_no_token_is_repeated() {
        let again = format!("alice {ALICE}\nalice {BOB}");
        let same = format!("alice {ALICE}\nbob {ALICE}");
        let three = format!("alice {ALICE} {BOB}");
        for (text, line, reason) in [
            ("alice", 1, "a name and a token"),
            ("# x\nalice short", 2, "shorter than 16"),
            (&again, 2, "another token"),
            (&same, 2, "somebody else's"),
            (&three, 1, "a name and a token"),
            ("al\u{e9} 0123456789abcdef", 1, "plain ASCII"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tokens, line {line}: ")), "{error}");
            assert!(error.contains(reason) && !error.contains("0123456789"), "{error}");
        }
    }

    #[test]
    fn a_token_taken_out_or_given_to_another_is_no_longer_good() {
        let alice = parse(&format!("alice {ALICE}")).unwrap().holder(ALICE.as_bytes()).unwrap();
        assert!(parse(&format!("bob {BOB}\nalice {ALICE}")).unwrap().still_good(&alice));
        assert!(!parse(&format!("alice {BOB}")).unwrap().still_good(&alice));
        assert!(!parse(&format!("bob {ALICE}")).unwrap().still_good(&alice));
        assert!(!Tokens::default().still_good(&alice));
    }
}
