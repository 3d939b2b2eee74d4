//! How a connection came in, where agents have credentials, and who may speak on it: the agent of
//! the credential, whoever it is told to become here, and nobody else. Pure but for its lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use opamp::InstanceUid;
use trust::Credential;

use crate::incoming::{Incoming, Refused};

/// Uids that agents were given on a connection, at most. The last ones count.
const GIVEN_MAX: usize = 8;

/// How a connection came in.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) by: trust::Pass,
    uids: Mutex<Uids>,
}

/// How an agent came in, as reports say it: by one of these, or by nothing of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) enrollment_token: String,
    pub(crate) credential_serial: u64,
    /// Another uid, whose credential it came with.
    pub(crate) credential_uid: Vec<u8>,
}

/// Who may speak.
#[derive(Debug, Default)]
struct Uids {
    /// Whose credential it is, or the first that spoke.
    own: Option<InstanceUid>,
    /// Uids that its agent was given here.
    given: Vec<InstanceUid>,
}

impl Pass {
    pub(crate) fn new(by: trust::Pass) -> Self {
        let own = match &by {
            trust::Pass::Own(Credential { uid, .. }) => Some(InstanceUid::from_bytes(*uid)),
            trust::Pass::Enrollment { .. } => None,
        };
        Self { by, uids: Mutex::new(Uids { own, given: Vec::new() }) }
    }

    /// Refuses a message of somebody else. Who comes to be enrolled is whoever it says first.
    pub(crate) fn check(&self, message: &Incoming) -> Result<(), Refused> {
        let mut uids = self.uids();
        let unbound = uids.own.is_none() && uids.given.is_empty();
        if unbound && !message.anonymous {
            uids.own = Some(message.uid);
        }
        let may = match message.anonymous {
            true => unbound,
            false => uids.own == Some(message.uid) || uids.given.contains(&message.uid),
        };
        if may {
            return Ok(());
        }
        metrics::counter!("muster_gateway_impersonations_total").increment(1);
        Err(Refused {
            uid: message.reply_uid(),
            text: "the credential is another agent's".to_owned(),
            undecodable: false,
        })
    }

    /// Whether this holds of a uid that may speak here.
    pub(crate) fn any(&self, mut holds: impl FnMut(&InstanceUid) -> bool) -> bool {
        let uids = self.uids();
        uids.own.iter().chain(&uids.given).any(&mut holds)
    }

    /// The agent is told to go by this uid.
    pub(crate) fn give(&self, uid: InstanceUid) {
        let mut uids = self.uids();
        if !uids.given.contains(&uid) {
            let over = (uids.given.len() + 1).saturating_sub(GIVEN_MAX);
            uids.given.drain(..over);
            uids.given.push(uid);
        }
    }

    /// What workers are told of how an agent came in.
    pub(crate) fn told(&self, uid: &InstanceUid) -> Told {
        match &self.by {
            trust::Pass::Enrollment { name, .. } => {
                Told { enrollment_token: name.to_string(), ..Told::default() }
            }
            trust::Pass::Own(Credential { uid: own, serial, .. }) if own == uid.as_bytes() => {
                Told { credential_serial: *serial, ..Told::default() }
            }
            trust::Pass::Own(Credential { uid: own, .. }) => {
                Told { credential_uid: own.to_vec(), ..Told::default() }
            }
        }
    }

    fn uids(&self) -> MutexGuard<'_, Uids> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use opamp::Message as _;
    use opamp::v1::{AgentToServer, AgentToServerFlags};

    use super::*;
    use crate::Limits;
    use crate::budget::Budget;

    fn message(uid: u8) -> Incoming {
        let (instance_uid, flags) = match uid {
            0 => (Vec::new(), AgentToServerFlags::RequestInstanceUid as u64),
            uid => (vec![uid; 16], 0),
        };
        let message = AgentToServer { instance_uid, flags, ..Default::default() };
        let charge = Budget::new(1).open();
        Incoming::read(message.encode_to_vec().into(), charge, &Limits::default()).unwrap()
    }

    fn enrollment() -> Pass {
        Pass::new(trust::Pass::Enrollment { digest: [1; 32], name: "ci".into() })
    }

    #[test]
    fn a_credential_speaks_for_its_agent_and_for_whom_that_becomes() {
        let own = Credential { uid: [1; 16], serial: 2, expires_unix: 9 };
        let pass = Pass::new(trust::Pass::Own(own));
        assert!(pass.check(&message(1)).is_ok() && pass.check(&message(2)).is_err());
        assert!(pass.check(&message(0)).is_err(), "whose it is is known");
        pass.give(InstanceUid::from_bytes([2; 16]));
        assert!(pass.check(&message(2)).is_ok() && pass.check(&message(1)).is_ok());
        assert!(pass.check(&message(3)).is_err());
        let uid = |uid| InstanceUid::from_bytes([uid; 16]);
        let own = Told { credential_serial: 2, ..Told::default() };
        assert_eq!(pass.told(&uid(1)), own);
        let credential_uid = vec![1; 16];
        assert_eq!(pass.told(&uid(2)), Told { credential_uid, ..Told::default() });
    }

    #[test]
    fn a_token_that_enrolls_speaks_for_the_first_who_shows_it() {
        let pass = enrollment();
        assert!(pass.check(&message(1)).is_ok());
        assert!(pass.check(&message(2)).is_err() && pass.check(&message(0)).is_err());
        assert!(pass.check(&message(1)).is_ok());
        let told = pass.told(&InstanceUid::from_bytes([1; 16]));
        assert_eq!(told, Told { enrollment_token: "ci".to_owned(), ..Told::default() });
    }

    #[test]
    fn who_has_no_uid_may_speak_until_it_has_one() {
        let pass = enrollment();
        assert!(pass.check(&message(0)).is_ok() && pass.check(&message(0)).is_ok());
        pass.give(InstanceUid::from_bytes([5; 16]));
        assert!(pass.check(&message(0)).is_err() && pass.check(&message(6)).is_err());
        assert!(pass.check(&message(5)).is_ok());
    }

    #[test]
    fn no_more_uids_are_remembered_than_a_few() {
        let pass = enrollment();
        let given = |uid: usize| InstanceUid::from_bytes([u8::try_from(uid).unwrap(); 16]);
        (1..=GIVEN_MAX + 1).for_each(|uid| pass.give(given(uid)));
        assert!(pass.check(&message(1)).is_err() && pass.check(&message(2)).is_ok());
        assert_eq!(pass.uids().given.len(), GIVEN_MAX);
    }
}
