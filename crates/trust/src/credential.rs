//! Credentials of agents: who somebody is, until when, and how often they were given another one,
//! signed by the fleet. Whoever knows the public key can look at one; nobody else can make one.
//!
//! ```text
//!   msa_ + base64url( 1 │ uid, 16 bytes │ serial, 8 │ expires, 8, Unix seconds │ signature, 64 )
//! ```

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use zeroize::Zeroizing;

use crate::{Secret, Vault, VaultError};

/// What a credential begins with, so that people and scanners know one.
const PREFIX: &[u8] = b"msa_";
const VERSION: u8 = 1;
const UID_BYTES: usize = 16;
const SIGNED_BYTES: usize = 1 + UID_BYTES + 8 + 8;
const SIGNATURE_BYTES: usize = 64;
/// Said before what is signed, so that no signature is good for anything else.
const CONTEXT: &[u8] = b"muster agent credential\0";

/// What a fleet's key is sealed for.
const SEED_PURPOSE: &str = "fleet key of credentials";

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// The public half of a fleet's key.
pub type PublicKey = [u8; PUBLIC_KEY_BYTES];

/// What a credential says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is.
    pub uid: [u8; UID_BYTES],
    /// Rises with each one that somebody is given.
    pub serial: u64,
    /// Unix time in seconds from which on it is good no more.
    pub expires_unix: u64,
}

/// What signs credentials.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The one that these bytes make. They are the secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Self(pair.expect("32 bytes are a seed"))
    }

    /// The one whose seed lies sealed in the ledger.
    pub fn unseal(vault: &Vault, sealed: &[u8]) -> Result<Self, VaultError> {
        let seed = vault.open(SEED_PURPOSE, sealed)?;
        let seed = seed.reveal().try_into().map_err(|_| VaultError::Unreadable)?;
        Ok(Self::from_seed(seed))
    }

    /// Makes a seed and seals it; the key is the one that it makes.
    pub fn seal(vault: &Vault, mut fill: impl FnMut(&mut [u8])) -> (Self, Vec<u8>) {
        let mut seed = Zeroizing::new([0; 32]);
        fill(&mut *seed);
        let sealed = vault.seal(SEED_PURPOSE, &*seed, |nonce| fill(nonce));
        (Self::from_seed(&seed), sealed)
    }

    /// The same seed, sealed with the vault's key in use.
    pub fn reseal(
        vault: &Vault,
        sealed: &[u8],
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Vec<u8>, VaultError> {
        let seed = vault.open(SEED_PURPOSE, sealed)?;
        Ok(vault.seal(SEED_PURPOSE, seed.reveal(), fill))
    }

    /// What its credentials are looked at with.
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// A credential for somebody to show.
    pub fn sign(&self, credential: &Credential) -> Secret {
        let signed = credential.signed();
        let signature = self.0.sign(&[CONTEXT, &signed].concat());
        let body = BASE64_URL_SAFE_NO_PAD.encode([&signed, signature.as_ref()].concat());
        Secret::new([PREFIX, body.as_bytes()].concat())
    }
}

impl Credential {
    /// Whether a token claims to be a credential. It may be forged all the same.
    pub fn is_like(token: &[u8]) -> bool {
        token.starts_with(PREFIX)
    }

    /// What a token says that one of these keys signed; `None` if none of them did.
    pub fn read(token: &[u8], keys: &[PublicKey]) -> Option<Self> {
        let body = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (signed, signature) = body.split_at_checked(SIGNED_BYTES)?;
        if signature.len() != SIGNATURE_BYTES {
            return None;
        }
        let message = [CONTEXT, signed].concat();
        let signs =
            |key: &PublicKey| UnparsedPublicKey::new(&ED25519, key).verify(&message, signature);
        keys.iter().any(|key| signs(key).is_ok()).then_some(())?;
        let (version, rest) = signed.split_first()?;
        let (uid, rest) = rest.split_first_chunk()?;
        let (serial, rest) = rest.split_first_chunk()?;
        let expires_unix = u64::from_be_bytes(rest.try_into().ok()?);
        let read = Self { uid: *uid, serial: u64::from_be_bytes(*serial), expires_unix };
        (*version == VERSION).then_some(read)
    }

    fn signed(&self) -> [u8; SIGNED_BYTES] {
        let mut signed = [VERSION; SIGNED_BYTES];
        signed[1..17].copy_from_slice(&self.uid);
        signed[17..25].copy_from_slice(&self.serial.to_be_bytes());
        signed[25..].copy_from_slice(&self.expires_unix.to_be_bytes());
        signed
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIAL: Credential = Credential { uid: [7; 16], serial: 3, expires_unix: 100 };

    #[test]
    fn a_credential_says_what_was_signed() {
        let signer = Signer::from_seed(&[1; 32]);
        let token = signer.sign(&CREDENTIAL);
        let keys = [Signer::from_seed(&[2; 32]).public_key(), signer.public_key()];
        assert_eq!(Credential::read(token.reveal(), &keys), Some(CREDENTIAL));
        assert!(Credential::is_like(token.reveal()));
        assert_eq!(Credential::read(token.reveal(), &keys[..1]), None, "another fleet's");
        assert_eq!(Credential::read(token.reveal(), &[]), None);
    }

    #[test]
    fn no_character_of_it_can_be_changed() {
        let signer = Signer::from_seed(&[1; 32]);
        let (token, keys) = (signer.sign(&CREDENTIAL), [signer.public_key()]);
        let token = token.reveal();
        for at in 0..token.len() {
            let others = [token[at] ^ 1, token[at] ^ 2, token[at] ^ 0x20, b'A', b'='];
            for other in others.into_iter().filter(|other| *other != token[at]) {
                let mut forged = token.to_vec();
                forged[at] = other;
                assert_eq!(Credential::read(&forged, &keys), None, "{other} at {at}");
            }
            assert_eq!(Credential::read(&token[..at], &keys), None, "cut at {at}");
        }
        assert_eq!(Credential::read(&[token, b"A"].concat(), &keys), None);
    }

    #[test]
    fn what_was_signed_for_something_else_is_no_credential() {
        let signer = Signer::from_seed(&[1; 32]);
        let signed = CREDENTIAL.signed();
        let body = [&signed, signer.0.sign(&signed).as_ref()].concat();
        let token = format!("msa_{}", BASE64_URL_SAFE_NO_PAD.encode(body));
        assert_eq!(Credential::read(token.as_bytes(), &[signer.public_key()]), None);
    }
}
