//! Credentials of agents: what was issued, what of it is good no more, and how an agent comes in.
//! The credential itself is never here.

use std::fmt;

use opamp::InstanceUid;

use crate::Timestamp;

/// What was issued to an agent, or is to be decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCredential {
    /// To whom.
    pub uid: InstanceUid,
    /// Resource name of what it came with when it asked; empty if it never did.
    pub enrollment: String,
    /// When it asked.
    pub asked: Timestamp,
    /// Of the newest one; each is higher than those before it. 0 if there is none.
    pub serial: u64,
    /// Those below are good no more.
    pub below: u64,
    /// The newest one that the agent came in with.
    pub proven: u64,
    /// Unix time in seconds at which the newest expires.
    pub expires_unix: u64,
    /// And the last of those before it.
    pub older_unix: u64,
    /// When the newest one was issued.
    pub issued: Timestamp,
    /// By whom; empty for nobody in particular.
    pub issued_by: String,
    /// When an operator turned the agent away and who it was, if one did.
    pub revoked: Option<(Timestamp, String)>,
}

/// Credentials that are good no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub uid: InstanceUid,
    /// Those below this serial.
    pub below: u64,
    /// Unix time in seconds from which on that is no matter: all of them have expired.
    pub until_unix: u64,
    /// An operator turned the agent away: it may not be there by a token either.
    pub refused: bool,
}

/// What an agent's credentials are good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialState {
    /// It has none, and waits for an operator.
    Pending,
    /// It was told to come again: the next time it comes with a token it is enrolled anew.
    Reset,
    /// It comes in.
    Active,
    /// The newest of them has expired.
    Expired,
    /// An operator took them back, or let it have none.
    Revoked,
}

/// What an agent showed at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown<'a> {
    /// Nothing that is its own, nor anything that enrolls: such agents have no credentials.
    #[default]
    Nothing,
    /// An enrollment token of this name.
    Token(&'a str),
    /// The credential of another uid, which it went by until it was given this one.
    Another(InstanceUid),
    /// Its own credential of this serial.
    Own(u64),
}

/// How an agent comes in, as its record knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Resource name of what it came with; empty if that was its own credential.
    pub by: String,
    /// Serial of its own that it showed; 0 if it never did.
    pub shown: u64,
    /// What the ledger says of it.
    pub standing: Standing,
}

/// An agent's credentials in short, as the ledger has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Of the newest one; 0 if there is none.
    pub serial: u64,
    /// Those below are good no more.
    pub below: u64,
    /// The newest one that the agent came in with.
    pub proven: u64,
    /// An operator turned it away.
    pub refused: bool,
    /// An operator is to decide.
    pub waits: bool,
    /// Version of it in the ledger; 0 if that knows nothing.
    pub version: u64,
}

/// Why an agent is not heard, although its gateway let it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An operator said so.
    TurnedAway,
    /// Others who know an enrollment token must not come in its name.
    HasItsOwn,
}

impl AgentCredential {
    /// Before the first one is issued.
    pub fn none(uid: InstanceUid) -> Self {
        Self {
            uid,
            enrollment: String::new(),
            asked: Timestamp(0),
            serial: 0,
            below: 0,
            proven: 0,
            expires_unix: 0,
            older_unix: 0,
            issued: Timestamp(0),
            issued_by: String::new(),
            revoked: None,
        }
    }

    /// After the agent came with this. The first time counts, until it is enrolled anew.
    #[must_use]
    pub fn asked(self, now: Timestamp, enrollment: &str) -> Self {
        match self.enrollment.is_empty() && !enrollment.is_empty() {
            true => Self { enrollment: enrollment.to_owned(), asked: now, ..self },
            false => self,
        }
    }

    /// After one more was issued, which is good until then.
    #[must_use]
    pub fn issued(self, now: Timestamp, actor: String, expires_unix: u64, only: bool) -> Self {
        let serial = self.serial.max(self.below.saturating_sub(1)) + 1;
        Self {
            serial,
            below: if only { serial } else { self.below },
            expires_unix,
            older_unix: self.last_unix(),
            issued: now,
            issued_by: actor,
            revoked: None,
            ..self
        }
    }

    /// After the agent came in with one of them: those before it are not needed any more.
    #[must_use]
    pub fn proven(self, serial: u64) -> Self {
        let good = self.below <= serial && serial <= self.serial && serial > self.proven;
        if good { Self { proven: serial, below: serial, ..self } } else { self }
    }

    /// After all of them were taken back. The first time counts.
    #[must_use]
    pub fn revoked(self, now: Timestamp, actor: String) -> Self {
        match self.revoked {
            Some(_) => self,
            None => Self { below: self.serial + 1, revoked: Some((now, actor)), ..self },
        }
    }

    /// After it was decided that the agent may be enrolled anew. Serials go on, from what the agent
    /// is known to have shown if that is more: the ledger may have lost it.
    #[must_use]
    pub fn reset(self, shown: u64) -> Self {
        let (serial, below) = (self.serial, self.serial.max(shown) + 1);
        let older_unix = self.last_unix();
        Self { serial, below, older_unix, ..Self::none(self.uid) }
    }

    /// What is not good any more, if anything is not.
    pub fn revocation(&self) -> Option<Revocation> {
        let (uid, below, refused) = (self.uid, self.below, self.revoked.is_some());
        let until_unix = match refused {
            true => u64::MAX,
            // Those that a newer one took the place of expire before that does.
            false if self.serial >= below => self.older_unix,
            false => self.last_unix(),
        };
        (refused || below > 1).then_some(Revocation { uid, below, until_unix, refused })
    }

    /// When the last of all of them expires.
    fn last_unix(&self) -> u64 {
        self.expires_unix.max(self.older_unix)
    }

    /// What they are good for at this time.
    pub fn state(&self, now: Timestamp) -> CredentialState {
        match self {
            Self { revoked: Some(_), .. } => CredentialState::Revoked,
            Self { serial, below, enrollment, .. } if *serial == 0 || serial < below => {
                match enrollment.is_empty() {
                    true => CredentialState::Reset,
                    false => CredentialState::Pending,
                }
            }
            Self { expires_unix, .. } if *expires_unix <= now.0 / 1000 => CredentialState::Expired,
            _ => CredentialState::Active,
        }
    }

    /// In short, at this version.
    pub fn standing(&self, version: u64) -> Standing {
        let Self { serial, below, proven, .. } = *self;
        let refused = self.revoked.is_some();
        let short = Standing { serial, below, proven, refused, waits: false, version };
        Standing { waits: !self.enrollment.is_empty() && !refused && short.good() == 0, ..short }
    }
}

impl Standing {
    /// Serial of the credential that the agent is to use; 0 if there is none.
    pub fn good(&self) -> u64 {
        if self.serial > 0 && self.serial >= self.below && !self.refused { self.serial } else { 0 }
    }
}

impl Admission {
    /// After the agent came in with this.
    pub fn note(&mut self, shown: Shown<'_>) {
        match shown {
            Shown::Nothing => {}
            Shown::Token(name) => self.by = format!("enrollmentTokens/{name}"),
            Shown::Another(uid) => self.by = format!("credentials/{uid}"),
            Shown::Own(serial) => {
                self.by.clear();
                self.shown = self.shown.max(serial);
            }
        }
    }

    /// Whether it came in by the roll, and an operator turned it away since.
    pub fn is_turned_away(&self) -> bool {
        self.standing.refused && (self.shown > 0 || !self.by.is_empty())
    }

    /// Why the agent is not heard that shows this.
    pub fn refuses(&self, shown: Shown<'_>) -> Option<Refusal> {
        let proven = self.shown.max(self.standing.proven);
        match shown {
            Shown::Nothing => None,
            _ if self.standing.refused => Some(Refusal::TurnedAway),
            Shown::Own(_) => None,
            // What is not good any more does not count as its own.
            Shown::Token(_) | Shown::Another(_) => {
                (proven > 0 && proven >= self.standing.below).then_some(Refusal::HasItsOwn)
            }
        }
    }

    /// Whether somebody is to decide whether it is enrolled.
    pub fn is_new(&self) -> bool {
        let Standing { waits, refused, .. } = self.standing;
        !self.by.is_empty() && !waits && !refused && self.standing.good() == 0
    }

    /// Whether it came in with a credential that the ledger does not know to have arrived.
    pub fn is_proof(&self) -> bool {
        let Standing { serial, below, proven, .. } = self.standing;
        self.shown > proven && (below..=serial).contains(&self.shown)
    }

    /// Whether it waits to be let in: until then it is told nothing.
    pub fn is_pending(&self) -> bool {
        self.standing.refused || !self.by.is_empty() && self.standing.good() == 0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TurnedAway => "an operator turned this agent away",
            Self::HasItsOwn => {
                "this agent has a credential of its own and must come with that: an operator can \
                 let it be enrolled anew"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(5_000);

    fn none() -> AgentCredential {
        AgentCredential::none(InstanceUid::from_bytes([7; 16]))
    }

    fn issued(before: AgentCredential) -> AgentCredential {
        before.issued(NOW, String::new(), 10, false)
    }

    fn below(credential: &AgentCredential) -> Option<u64> {
        credential.revocation().map(|revocation| revocation.below)
    }

    #[test]
    fn a_newer_one_leaves_older_ones_good_until_it_is_proven() {
        let first = none().issued(NOW, String::new(), 10, true);
        assert_eq!((first.serial, below(&first)), (1, None), "there is no older one");
        let second = issued(first).proven(1);
        assert_eq!((second.serial, below(&second)), (2, None));
        let proven = second.clone().proven(2).revocation().unwrap();
        assert_eq!((proven.below, proven.until_unix), (2, 10), "until the first expires");
        assert_eq!(second.clone().proven(3), second, "it was never issued");
        let only = second.issued(NOW, String::new(), 11, true);
        assert_eq!((only.serial, below(&only), only.expires_unix), (3, Some(3), 11));
        assert_eq!(only.clone().proven(2), only, "it is good no more");
    }

    #[test]
    fn what_was_revoked_never_becomes_good_again() {
        let gone = issued(none()).revoked(NOW, "a".to_owned());
        let told = gone.revocation().unwrap();
        assert_eq!((told.below, told.until_unix, told.refused), (2, u64::MAX, true));
        assert_eq!(gone.state(NOW), CredentialState::Revoked);
        assert_eq!(gone.clone().revoked(Timestamp(9), "b".to_owned()), gone);
        assert_eq!(gone.standing(1).good(), 0);
        let again = issued(gone.clone());
        assert_eq!((again.serial, below(&again)), (2, Some(2)), "serial 1 stays revoked");
        assert_eq!(again.state(NOW), CredentialState::Active);
        assert_eq!(again.state(Timestamp(10_000)), CredentialState::Expired);
        let anew = gone.reset(0);
        let told = anew.revocation().unwrap();
        assert_eq!((told.below, told.until_unix, told.refused), (2, 10, false));
        assert_eq!(anew.state(NOW), CredentialState::Reset);
        let anew = anew.asked(NOW, "enrollmentTokens/ci");
        assert_eq!((anew.state(NOW), anew.standing(1).good()), (CredentialState::Pending, 0));
        assert_eq!(issued(anew).standing(1).good(), 2);
    }

    #[test]
    fn who_was_never_let_in_can_be_turned_away_and_let_in_later() {
        let denied = none().asked(NOW, "enrollmentTokens/ci").revoked(NOW, String::new());
        assert_eq!(denied.state(NOW), CredentialState::Revoked);
        assert!(denied.revocation().unwrap().refused);
        let later = issued(denied);
        assert_eq!((later.serial, later.state(NOW)), (1, CredentialState::Active));
        assert_eq!(later.revocation(), None);
    }

    #[test]
    fn a_token_does_once_and_the_agent_s_own_from_then_on() {
        let mut admission = Admission::default();
        let token = Shown::Token("ci");
        assert_eq!(admission.refuses(token), None);
        admission.note(token);
        assert!(admission.is_pending() && admission.by == "enrollmentTokens/ci");
        admission.standing = issued(none()).standing(1);
        assert!(!admission.is_pending());
        assert_eq!(admission.refuses(token), None, "it may not have got it");
        admission.note(Shown::Own(1));
        assert!(!admission.is_pending() && admission.by.is_empty());
        assert_eq!(admission.refuses(token), Some(Refusal::HasItsOwn));
        let another = Shown::Another(InstanceUid::from_bytes([1; 16]));
        assert_eq!(admission.refuses(another), Some(Refusal::HasItsOwn));
        assert_eq!(admission.refuses(Shown::Own(1)), None);
        let proven = issued(none()).proven(1);
        let lost = Admission { standing: proven.standing(2), ..Admission::default() };
        assert_eq!(lost.refuses(token), Some(Refusal::HasItsOwn), "the ledger remembers");
        admission.standing = proven.clone().revoked(NOW, String::new()).standing(3);
        assert!(admission.is_pending() && admission.is_turned_away());
        assert_eq!(admission.refuses(Shown::Own(1)), Some(Refusal::TurnedAway));
        assert_eq!(admission.refuses(Shown::Nothing), None);
        admission.standing = proven.reset(1).standing(4);
        assert_eq!(admission.refuses(token), None, "it may be enrolled anew");
        admission.note(token);
        assert!(admission.is_pending());
    }

    #[test]
    fn who_showed_what_the_ledger_lost_can_be_enrolled_anew() {
        let mut admission = Admission { shown: 7, ..Admission::default() };
        let token = Shown::Token("ci");
        assert_eq!(admission.refuses(token), Some(Refusal::HasItsOwn));
        admission.standing = none().reset(7).standing(1);
        assert_eq!(admission.refuses(token), None);
        admission.note(token);
        assert!(admission.is_new() && !admission.is_proof());
        assert_eq!(issued(none().reset(7)).serial, 8, "above all that it had");
    }
}
