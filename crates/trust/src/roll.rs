//! The roll: all that a door needs to judge who shows an enrollment token or a credential, without
//! asking anybody. It holds nothing that lets its holder in, or make anything that does.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::credential::PublicKey;
use crate::door::bearer;
use crate::{Credential, Refused, token_digest};

/// What is good now, and what is not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// Keys that credentials are signed with.
    pub keys: Vec<PublicKey>,
    /// Tokens that enroll agents, by their digest.
    pub enrollment: BTreeMap<[u8; 32], Enrolls>,
    /// By uid: what is good no more.
    pub revoked: BTreeMap<[u8; 16], Revoked>,
}

/// A token that enrolls agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolls {
    /// Its name.
    pub name: Arc<str>,
    /// Unix time in seconds from which on it is good no more, if there is one.
    pub expires_unix: Option<u64>,
    /// It enrolled all that it may, and they have their own: who came in with it stays, and nobody
    /// else comes.
    pub used_up: bool,
}

/// What of an agent's is good no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revoked {
    /// Credentials below this serial.
    pub below: u64,
    /// It may not be here by a token either.
    pub refused: bool,
}

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// With a token that enrolls agents: they may be anybody yet.
    Enrollment {
        /// Of the token.
        digest: [u8; 32],
        /// Of the token.
        name: Arc<str>,
    },
    /// With a credential of their own.
    Own(Credential),
}

impl Roll {
    /// Who comes in with this `Authorization` header.
    pub fn admit(&self, authorization: Option<&[u8]>, now_unix: u64) -> Result<Pass, Refused> {
        let token = authorization.and_then(bearer).ok_or(Refused::Missing)?;
        let pass = match Credential::is_like(token) {
            true => Credential::read(token, &self.keys).map(Pass::Own),
            false => self.enrollment(token),
        };
        pass.filter(|pass| self.admits_still(pass, now_unix)).ok_or(Refused::Unknown)
    }

    /// Whether somebody who came in still may be there.
    pub fn admits_still(&self, pass: &Pass, now_unix: u64) -> bool {
        match pass {
            Pass::Enrollment { digest, .. } => self
                .enrollment
                .get(digest)
                .is_some_and(|token| token.expires_unix.is_none_or(|at| now_unix < at)),
            Pass::Own(Credential { uid, serial, expires_unix }) => {
                let below = self.revoked.get(uid).map_or(0, |revoked| revoked.below);
                *serial >= below && now_unix < *expires_unix
            }
        }
    }

    /// Whether an agent was turned away, whatever it shows.
    pub fn refuses(&self, uid: &[u8; 16]) -> bool {
        self.revoked.get(uid).is_some_and(|revoked| revoked.refused)
    }

    fn enrollment(&self, token: &[u8]) -> Option<Pass> {
        let digest = token_digest(token);
        let found = self.enrollment.get(&digest).filter(|token| !token.used_up)?;
        Some(Pass::Enrollment { digest, name: found.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Signer;
    use crate::enrollment_token;

    fn header(token: &crate::Secret) -> Vec<u8> {
        [b"Bearer ", token.reveal()].concat()
    }

    #[test]
    fn a_token_enrolls_until_it_expires_is_used_up_or_is_taken_off() {
        let (token, digest) = enrollment_token(|bytes| bytes.fill(5));
        let entry = Enrolls { name: "ci".into(), expires_unix: Some(100), used_up: false };
        let mut roll = Roll { enrollment: [(digest, entry)].into(), ..Roll::default() };
        let pass = roll.admit(Some(&header(&token)), 99).unwrap();
        assert_eq!(pass, Pass::Enrollment { digest, name: "ci".into() });
        assert_eq!(roll.admit(Some(&header(&token)), 100), Err(Refused::Unknown));
        assert!(!roll.admits_still(&pass, 100));
        roll.enrollment.get_mut(&digest).unwrap().used_up = true;
        assert_eq!(roll.admit(Some(&header(&token)), 99), Err(Refused::Unknown));
        assert!(roll.admits_still(&pass, 99), "who came in stays");
        roll.enrollment.clear();
        assert!(!roll.admits_still(&pass, 99));
        assert_eq!(roll.admit(None, 99), Err(Refused::Missing));
        assert_eq!(roll.admit(Some(b"Basic x"), 99), Err(Refused::Missing));
    }

    #[test]
    fn a_credential_is_good_until_it_expires_or_a_newer_one_counts() {
        let signer = Signer::from_seed(&[1; 32]);
        let credential = Credential { uid: [7; 16], serial: 3, expires_unix: 100 };
        let header = header(&signer.sign(&credential));
        let mut roll = Roll { keys: vec![signer.public_key()], ..Roll::default() };
        assert_eq!(roll.admit(Some(&header), 99), Ok(Pass::Own(credential)));
        assert_eq!(roll.admit(Some(&header), 100), Err(Refused::Unknown));
        let revoked = |below| Revoked { below, refused: false };
        roll.revoked.insert([7; 16], revoked(3));
        assert!(roll.admit(Some(&header), 99).is_ok(), "only those below");
        assert!(!roll.refuses(&[7; 16]));
        roll.revoked.insert([7; 16], Revoked { refused: true, ..revoked(4) });
        assert!(roll.refuses(&[7; 16]) && !roll.refuses(&[8; 16]));
        assert_eq!(roll.admit(Some(&header), 99), Err(Refused::Unknown));
        assert!(!roll.admits_still(&Pass::Own(credential), 99));
        assert_eq!(Roll::default().admit(Some(&header), 99), Err(Refused::Unknown), "no key");
    }
}
