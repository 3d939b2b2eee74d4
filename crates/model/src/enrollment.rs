//! Tokens that enroll agents: what they are good for, and until when. The token itself is never
//! here, only its digest.

use std::collections::BTreeMap;
use std::fmt;

use crate::Timestamp;

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

/// A token that enrolls agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// Its name.
    pub name: String,
    /// What is known of the token itself.
    pub digest: TokenDigest,
    /// What agents are labelled with when they are enrolled.
    pub labels: BTreeMap<String, String>,
    /// Who lets them in.
    pub approval: Approval,
    /// From when on it is good no more; never if not given.
    pub expires: Option<Timestamp>,
    /// How many agents it may enroll; any number if not given.
    pub uses_max: Option<u64>,
    /// How many it has enrolled.
    pub uses: u64,
    /// How many of those have come with a credential of their own.
    pub arrived: u64,
    /// When it was made.
    pub created: Timestamp,
    /// By whom; empty for nobody in particular.
    pub actor: String,
    /// When it was revoked and by whom, if it was.
    pub revoked: Option<(Timestamp, String)>,
}

/// Who lets an agent in that comes with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Approval {
    /// Nobody is asked.
    #[default]
    Automatic,
    /// An operator, each time.
    Manual,
}

/// What a token is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It enrolls agents.
    Live,
    /// Its time is over.
    Expired,
    /// It enrolled as many as it may.
    UsedUp,
    /// An operator took it back.
    Revoked,
}

impl EnrollmentToken {
    /// Whether nobody is to come with it any more: all that it may enroll have their own.
    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.state(now) == TokenState::UsedUp && self.arrived >= self.uses
    }

    /// How many of so many agents it enrolls now without anybody being asked.
    pub fn enrolls(&self, agents: u64, now: Timestamp) -> u64 {
        match (self.state(now), self.approval) {
            (TokenState::Live, Approval::Automatic) => {
                let left = self.uses_max.map_or(u64::MAX, |most| most.saturating_sub(self.uses));
                agents.min(left)
            }
            _ => 0,
        }
    }

    /// What it is good for at this time. What an operator did is said first.
    pub fn state(&self, now: Timestamp) -> TokenState {
        match self {
            Self { revoked: Some(_), .. } => TokenState::Revoked,
            Self { expires: Some(expires), .. } if *expires <= now => TokenState::Expired,
            Self { uses_max: Some(most), uses, .. } if uses >= most => TokenState::UsedUp,
            _ => TokenState::Live,
        }
    }
}

/// The first bytes do to tell tokens apart.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrollmentToken {
        EnrollmentToken {
            name: "ci".to_owned(),
            digest: TokenDigest([1; 32]),
            labels: BTreeMap::new(),
            approval: Approval::Automatic,
            expires: Some(Timestamp(100)),
            uses_max: Some(2),
            uses: 0,
            arrived: 0,
            created: Timestamp(1),
            actor: String::new(),
            revoked: None,
        }
    }

    #[test]
    fn a_token_ends_by_its_time_its_uses_or_an_operator() {
        let mut token = token();
        assert_eq!(token.state(Timestamp(99)), TokenState::Live);
        assert_eq!(token.state(Timestamp(100)), TokenState::Expired);
        token.uses = 1;
        assert_eq!(token.state(Timestamp(99)), TokenState::Live);
        token.uses = 2;
        assert_eq!(token.state(Timestamp(99)), TokenState::UsedUp);
        token.arrived = 1;
        assert!(!token.is_spent(Timestamp(99)), "one may have to come again");
        token.arrived = 2;
        assert!(token.is_spent(Timestamp(99)));
        token.revoked = Some((Timestamp(50), "alice".to_owned()));
        assert_eq!(token.state(Timestamp(99)), TokenState::Revoked);
        assert_eq!(token.enrolls(9, Timestamp(99)), 0, "revoked");
        let fresh = self::token();
        assert_eq!((fresh.enrolls(9, Timestamp(99)), fresh.enrolls(1, Timestamp(99))), (2, 1));
        let manual = EnrollmentToken { approval: Approval::Manual, ..self::token() };
        assert_eq!(manual.enrolls(1, Timestamp(99)), 0);
        let mut endless = EnrollmentToken { expires: None, uses_max: None, ..self::token() };
        endless.uses = u64::MAX;
        assert_eq!(endless.state(Timestamp(u64::MAX)), TokenState::Live);
    }
}
