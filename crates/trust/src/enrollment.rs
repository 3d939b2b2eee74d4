//! Tokens that agents show the first time they come: `mse_` and 32 random bytes in base64url.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::Secret;

/// What such a token begins with, so that people and scanners know one.
const PREFIX: &str = "mse_";
/// Random bytes in it: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

/// Makes a token of random bytes, and the digest that is all that is to be kept of it.
pub fn enrollment_token(fill: impl FnOnce(&mut [u8])) -> (Secret, [u8; 32]) {
    let mut random = Zeroizing::new([0; TOKEN_BYTES]);
    fill(&mut *random);
    let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(*random));
    let digest = token_digest(text.as_bytes());
    (Secret::new(text.into_bytes()), digest)
}

/// What is known of a token.
pub fn token_digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_random_bytes_and_known_by_its_digest() {
        let (token, digest) = enrollment_token(|bytes| bytes.fill(0xff));
        assert_eq!(token.reveal(), format!("mse_{}8", "_".repeat(42)).as_bytes());
        assert_eq!(digest, token_digest(token.reveal()));
        let (other, another) = enrollment_token(|bytes| bytes.fill(0xfe));
        assert!(other.reveal() != token.reveal() && another != digest);
        assert_eq!(format!("{token:?}"), "***");
    }
}
