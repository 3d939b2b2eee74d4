//! What keeps secrets at rest: sealed with a key that is not where they are, and named by a mac
//! that tells nothing about them.
//!
//! ```text
//!   sealed:  1 (version) │ 4 bytes, which key │ 12 bytes, nonce │ AES-256-GCM, tag at its end
//! ```
//!
//! Each purpose is its own: what was sealed for one does not open for another. A vault seals with
//! its newest key and opens with all that it knows, so that a key can be taken out of use without
//! a moment at which something cannot be opened.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::Secret;

/// Bytes of a key.
pub const VAULT_KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
const ID_BYTES: usize = 4;
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_LEN;

/// Seals, opens and names secrets. The first key is the one in use; others only open.
pub struct Vault {
    keys: Vec<Key>,
}

/// Why something does not open. It names no byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It was sealed with a key that this vault was not given.
    #[error("it is sealed with secrets key {}, which is not known here", Id(*.0))]
    UnknownKey([u8; ID_BYTES]),
    /// It is not as it was sealed, or it was sealed for something else.
    #[error("it does not open for {0:?}: it was changed, or sealed for something else")]
    Refused(&'static str),
    /// It was never sealed, or by a version to come.
    #[error("it is not sealed in a way that is known here")]
    Unreadable,
}

/// One key, spread out so that none of its uses tells about another.
struct Key {
    id: [u8; ID_BYTES],
    seal: LessSafeKey,
    mac: hmac::Key,
}

impl Vault {
    /// A vault with one key.
    pub fn from_key(key: &[u8; VAULT_KEY_BYTES]) -> Self {
        Self { keys: vec![Key::new(key)] }
    }

    /// The same, which also opens what an older key sealed.
    #[must_use]
    pub fn with_older(mut self, key: &[u8; VAULT_KEY_BYTES]) -> Self {
        self.keys.push(Key::new(key));
        self
    }

    /// Seals with the key in use. `fill` gives random bytes; the same twice would give away what
    /// was sealed.
    pub fn seal(&self, purpose: &str, plain: &[u8], fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let key = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce);
        let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend(key.id);
        sealed.extend(nonce);
        let mut body = Zeroizing::new(plain.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal.seal_in_place_separate_tag(nonce, aad(purpose), &mut body);
        sealed.extend(body.iter());
        sealed.extend(tag.expect("a message in memory is not too long for the cipher").as_ref());
        sealed
    }

    /// Opens what was sealed for this purpose, with whichever key it was.
    pub fn open(&self, purpose: &'static str, sealed: &[u8]) -> Result<Secret, VaultError> {
        let (id, nonce, body) = parts(sealed).ok_or(VaultError::Unreadable)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(VaultError::UnknownKey(id))?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.seal.open_in_place(nonce, aad(purpose), &mut body);
        let length = opened.map_err(|_| VaultError::Refused(purpose))?.len();
        Ok(Secret::new(body[..length].to_vec()))
    }

    /// Whether it is sealed with the key in use. What is not is to be sealed again before the
    /// older key is taken away.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        parts(sealed).is_some_and(|(id, ..)| id == self.keys[0].id)
    }

    /// A name for something: the same for the same, and of no help to who guesses what it is.
    /// It is of the key in use, so it changes with it.
    pub fn mac(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        self.keys[0].mac(purpose, bytes)
    }

    /// Whether this is such a name, by any key. It takes as long whatever it has in common with a
    /// right one.
    pub fn verify(&self, purpose: &str, bytes: &[u8], mac: &[u8]) -> bool {
        let right = |key: &Key| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&key.mac(purpose, bytes), mac).is_ok()
        };
        // All of them, so that time does not tell which key it was either.
        self.keys.iter().fold(false, |found, key| found | right(key))
    }

    /// Names of its keys, the one in use first. They tell nothing about the keys.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| Id(key.id).to_string()).collect()
    }
}

impl Key {
    fn new(key: &[u8; VAULT_KEY_BYTES]) -> Self {
        let derived = |use_: &str| {
            let root = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&root, format!("muster vault 1: {use_}").as_bytes())
        };
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&derived("id").as_ref()[..ID_BYTES]);
        let seal = UnboundKey::new(&AES_256_GCM, derived("seal").as_ref());
        let seal = LessSafeKey::new(seal.expect("a derived key has the length of a key"));
        Self { id, seal, mac: hmac::Key::new(hmac::HMAC_SHA256, derived("mac").as_ref()) }
    }

    fn mac(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.mac);
        // Where the purpose ends must not be for the bytes to say.
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(bytes);
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }
}

fn aad(purpose: &str) -> Aad<&[u8]> {
    Aad::from(purpose.as_bytes())
}

fn parts(sealed: &[u8]) -> Option<([u8; ID_BYTES], [u8; NONCE_LEN], &[u8])> {
    let (head, body) = sealed.split_at_checked(HEAD_BYTES)?;
    let (version, head) = head.split_first()?;
    let (id, nonce) = head.split_at(ID_BYTES);
    (*version == VERSION).then_some((id.try_into().ok()?, nonce.try_into().ok()?, body))
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("keys", &self.ids()).finish()
    }
}

/// A key's name, in hex.
struct Id([u8; ID_BYTES]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"Bearer hunter2";

    fn vault(byte: u8) -> Vault {
        Vault::from_key(&[byte; 32])
    }

    fn sealed(vault: &Vault, nonce: u8) -> Vec<u8> {
        vault.seal("test", PLAIN, |bytes| bytes.fill(nonce))
    }

    #[test]
    fn what_is_sealed_opens_and_shows_nothing() {
        let vault = vault(1);
        let bytes = sealed(&vault, 7);
        assert_eq!(vault.open("test", &bytes).unwrap().reveal(), PLAIN);
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"));
        assert_ne!(bytes, sealed(&vault, 8), "another nonce");
        assert_eq!(vault.open("test", &vault.seal("test", b"", |_| {})).unwrap().reveal(), b"");
    }

    #[test]
    fn it_opens_for_its_purpose_and_with_its_key_only() {
        let bytes = sealed(&vault(1), 7);
        let refused = vault(1).open("other", &bytes).unwrap_err();
        assert_eq!(refused, VaultError::Refused("other"));
        let unknown = vault(2).open("test", &bytes).unwrap_err();
        assert_eq!(unknown, VaultError::UnknownKey(Key::new(&[1; 32]).id));
        assert!(unknown.to_string().contains(&vault(1).ids()[0]), "{unknown}");
    }

    #[test]
    fn no_byte_of_it_can_be_changed_or_left_out() {
        let vault = vault(1);
        let bytes = sealed(&vault, 7);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(vault.open("test", &changed).is_err(), "byte {at}");
            assert!(vault.open("test", &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(vault.open("test", &[&bytes[..], b"x"].concat()).is_err());
        assert_eq!(vault.open("test", PLAIN).unwrap_err(), VaultError::Unreadable);
    }

    #[test]
    fn an_older_key_still_opens_and_the_newest_seals() {
        let before = sealed(&vault(1), 7);
        let both = vault(2).with_older(&[1; 32]);
        assert_eq!(both.open("test", &before).unwrap().reveal(), PLAIN);
        let after = sealed(&both, 7);
        assert!(both.is_current(&after) && !both.is_current(&before) && !both.is_current(b""));
        assert_eq!(vault(2).open("test", &after).unwrap().reveal(), PLAIN);
    }

    #[test]
    fn a_mac_is_of_the_key_the_purpose_and_the_bytes() {
        let mac = vault(1).mac("a", b"bc");
        assert_eq!(mac, vault(1).mac("a", b"bc"));
        let others = [vault(1).mac("ab", b"c"), vault(1).mac("a", b"b"), vault(2).mac("a", b"bc")];
        assert!(!others.contains(&mac));
        let both = vault(2).with_older(&[1; 32]);
        assert!(both.verify("a", b"bc", &mac) && both.verify("a", b"bc", &others[2]));
        assert!(!both.verify("a", b"bd", &mac) && !both.verify("b", b"bc", &mac));
        assert!(!both.verify("a", b"bc", &mac[..31]) && !vault(2).verify("a", b"bc", &mac));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let vault = Vault::from_key(b"0123456789abcdef0123456789abcdef");
        let secret = vault.open("test", &sealed(&vault, 7)).unwrap();
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        let shown = format!("{vault:?}");
        assert!(shown.contains(&vault.ids()[0]) && !shown.contains("0123456789"), "{shown}");
    }
}
