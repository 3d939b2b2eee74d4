//! The part of service Credentials that is about agents and what was issued to them.

use model::credential::{AgentCredential, CredentialState};
use opamp::InstanceUid;

use super::{Api, convert, page};
use crate::actor::Actor;
use crate::keeper::admitted;
use crate::ledger::credentials::Issue;
use crate::ledger::enrollment::Decided;
use crate::registrar::expiry;
use crate::v1::{self, credential as wire};
use crate::{Error, roll};

const COLLECTION: &str = "credentials";

impl Api {
    pub(super) async fn issue(
        &self,
        request: v1::IssueCredentialRequest,
        actor: &Actor,
    ) -> Result<v1::IssueCredentialResponse, Error> {
        let uid = parse(&request.name)?;
        let now = self.ledger.clock.now();
        let expires_unix = match &request.expire_time {
            None => expiry(now.0, self.credential_lifetime),
            Some(time) => {
                let expires = convert::time_in(time).filter(|expires| *expires > now);
                let expires = expires
                    .ok_or_else(|| Error::invalid("expire_time", "must be in the future"))?;
                expires.0.div_ceil(1000)
            }
        };
        let issue = Issue { uid, by: String::new(), expires_unix, only: request.revoke_older };
        let (issued, token) = self.ledger.issue_credential(issue, actor, &*self.random).await?;
        self.spread(&uid, actor, "issued").await;
        let token = String::from_utf8_lossy(token.reveal()).into_owned();
        let credential = Some(self.told(&issued));
        Ok(v1::IssueCredentialResponse { credential, token })
    }

    pub(super) async fn approve(&self, name: &str, actor: &Actor) -> Result<v1::Credential, Error> {
        let uid = parse(name)?;
        let held = self.ledger.credential(&uid).await?;
        match held.state(self.ledger.clock.now()) {
            CredentialState::Active => Ok(self.told(&held)),
            state @ (CredentialState::Pending | CredentialState::Revoked) => {
                // Who had one was enrolled by its token already.
                if state == CredentialState::Pending || held.serial == 0 {
                    let by = &held.enrollment;
                    self.ledger.enroll_by(by, &[uid], Decided::ByOperator).await?;
                }
                self.issue_to(&uid, actor, "approved").await
            }
            CredentialState::Expired | CredentialState::Reset => {
                let reason = "does not wait to be let in: rotate or reset it";
                Err(Error::Precondition(format!("credentials/{uid}: {reason}")))
            }
        }
    }

    pub(super) async fn rotate(&self, name: &str, actor: &Actor) -> Result<v1::Credential, Error> {
        let uid = parse(name)?;
        let held = self.ledger.credential(&uid).await?;
        match held.state(self.ledger.clock.now()) {
            CredentialState::Active | CredentialState::Expired => {
                self.issue_to(&uid, actor, "rotated").await
            }
            CredentialState::Pending | CredentialState::Revoked | CredentialState::Reset => {
                let reason = "there is none that is good: approve the agent";
                Err(Error::Precondition(format!("credentials/{uid}: {reason}")))
            }
        }
    }

    /// Issues a credential that the agent is told over its connection.
    async fn issue_to(
        &self,
        uid: &InstanceUid,
        actor: &Actor,
        what: &'static str,
    ) -> Result<v1::Credential, Error> {
        let expires_unix = expiry(self.ledger.clock.now().0, self.credential_lifetime);
        let issue = Issue { uid: *uid, by: String::new(), expires_unix, only: false };
        let (issued, _) = self.ledger.issue_credential(issue, actor, &*self.random).await?;
        self.spread(uid, actor, what).await;
        Ok(self.told(&issued))
    }

    pub(super) async fn issued(&self, name: &str) -> Result<v1::Credential, Error> {
        Ok(self.told(&self.ledger.credential(&parse(name)?).await?))
    }

    pub(super) async fn all_issued(
        &self,
        request: &v1::ListCredentialsRequest,
    ) -> Result<v1::ListCredentialsResponse, Error> {
        let all = self.ledger.credentials().await?;
        let told = all.into_iter().map(|(uid, (it, _))| (uid.to_string(), self.told(&it)));
        let told = told.filter(|(_, it)| request.state == 0 || request.state == it.state);
        let query = format!("{COLLECTION} {}", request.state);
        let asked = (request.page_size, &*request.page_token);
        let (credentials, next_page_token) = page::of(told, asked, &query, &self.limits)?;
        Ok(v1::ListCredentialsResponse { credentials, next_page_token })
    }

    pub(super) async fn revoke_issued(
        &self,
        name: &str,
        actor: &Actor,
    ) -> Result<v1::Credential, Error> {
        let uid = parse(name)?;
        let revoked = self.ledger.revoke_credential(&uid, actor).await?;
        // Also the second time: the first word of it may have been lost.
        self.spread(&uid, actor, "revoked").await;
        Ok(self.told(&revoked))
    }

    pub(super) async fn reset(&self, name: &str, actor: &Actor) -> Result<v1::Credential, Error> {
        let uid = parse(name)?;
        let seen = self.view.agent(&uid);
        let seen = seen.as_ref().and_then(|it| it.entry.summary.admission.as_ref());
        let shown = seen.map_or(0, |admission| admission.shown);
        let reset = self.ledger.reset_credential(&uid, shown).await?;
        self.spread(&uid, actor, "reset").await;
        Ok(self.told(&reset))
    }

    /// Tells gateways and workers. What they do not hear now they find out soon.
    async fn spread(&self, uid: &InstanceUid, actor: &Actor, what: &'static str) {
        roll::changed(&self.bus, &self.limits).await;
        if let Err(error) = admitted(&self.bus, &self.limits, &[*uid]).await {
            tracing::warn!(%error, agent = %uid, "the agent's record is changed later");
        }
        tracing::info!(actor = actor.name(), agent = %uid, what, "credential");
    }

    fn told(&self, credential: &AgentCredential) -> v1::Credential {
        let state = match credential.state(self.ledger.clock.now()) {
            CredentialState::Active => wire::State::Active,
            CredentialState::Expired => wire::State::Expired,
            CredentialState::Revoked => wire::State::Revoked,
            CredentialState::Pending => wire::State::Pending,
            CredentialState::Reset => wire::State::Reset,
        };
        let (revoke_time, revoke_actor) = credential.revoked.clone().unzip();
        let seconds = i64::try_from(credential.expires_unix).unwrap_or(i64::MAX);
        let expire_time = prost_types::Timestamp { seconds, nanos: 0 };
        let was_issued = credential.expires_unix > 0;
        let has_asked = !credential.enrollment.is_empty();
        v1::Credential {
            name: format!("{COLLECTION}/{}", credential.uid),
            serial: credential.serial,
            oldest_good_serial: credential.below.max(1),
            state: state.into(),
            expire_time: was_issued.then_some(expire_time),
            issue_time: was_issued.then(|| convert::time(credential.issued)),
            issue_actor: credential.issued_by.clone(),
            revoke_time: revoke_time.map(convert::time),
            revoke_actor: revoke_actor.unwrap_or_default(),
            ask_time: has_asked.then(|| convert::time(credential.asked)),
            enrollment: credential.enrollment.clone(),
            proven_serial: credential.proven,
        }
    }
}

fn parse(name: &str) -> Result<InstanceUid, Error> {
    let uid = name.strip_prefix(COLLECTION).and_then(|rest| rest.strip_prefix('/'));
    let uid = uid.ok_or_else(|| Error::invalid("name", "must be credentials/{instance_uid}"))?;
    uid.parse().map_err(|error| Error::invalid("name", format!("{error}")))
}
