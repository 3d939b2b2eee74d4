//! Service Credentials. What lets somebody in is in the answer that makes it and nowhere else.

use model::enrollment::{Approval, EnrollmentToken, TokenDigest, TokenState};
use model::{Random, Timestamp};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert, labels, names, page};
use crate::Error;
use crate::actor::Actor;
use crate::ledger::enrollment::COLLECTION;
use crate::roll;
use crate::v1::{self, credentials_server, enrollment_token as wire};

#[async_trait]
impl credentials_server::Credentials for Api {
    async fn create_enrollment_token(
        &self,
        request: Request<v1::CreateEnrollmentTokenRequest>,
    ) -> Result<Response<v1::CreateEnrollmentTokenResponse>, Status> {
        let actor = Actor::of(&request).name();
        let asked = request.into_inner().enrollment_token;
        let asked = asked.ok_or_else(|| Error::invalid("enrollment_token", "must be there"))?;
        let random: &dyn Random = &*self.random;
        let (secret, digest) = trust::enrollment_token(|bytes| random.fill(bytes));
        let token = EnrollmentToken { actor, ..self.token_wanted(asked, TokenDigest(digest))? };
        self.ledger.create_enrollment_token(&token).await?;
        roll::changed(&self.bus, &self.limits).await;
        let EnrollmentToken { name, actor, .. } = &token;
        tracing::info!(actor, name, digest = ?token.digest, "enrollment token made");
        Ok(Response::new(v1::CreateEnrollmentTokenResponse {
            enrollment_token: Some(told(&token, token.created)),
            token: String::from_utf8_lossy(secret.reveal()).into_owned(),
        }))
    }

    async fn get_enrollment_token(
        &self,
        request: Request<v1::GetEnrollmentTokenRequest>,
    ) -> Result<Response<v1::EnrollmentToken>, Status> {
        let name = names::parse("name", &request.get_ref().name, COLLECTION)?;
        let token = self.ledger.enrollment_token(name).await?;
        Ok(Response::new(told(&token, self.ledger.clock.now())))
    }

    async fn list_enrollment_tokens(
        &self,
        request: Request<v1::ListEnrollmentTokensRequest>,
    ) -> Result<Response<v1::ListEnrollmentTokensResponse>, Status> {
        let request = request.get_ref();
        let asked = (request.page_size, &*request.page_token);
        let (all, now) = (self.ledger.enrollment_tokens().await?, self.ledger.clock.now());
        let (page, next_page_token) = page::of(all, asked, COLLECTION, &self.limits)?;
        let enrollment_tokens = page.iter().map(|it| told(it, now)).collect();
        Ok(Response::new(v1::ListEnrollmentTokensResponse { enrollment_tokens, next_page_token }))
    }

    async fn revoke_enrollment_token(
        &self,
        request: Request<v1::RevokeEnrollmentTokenRequest>,
    ) -> Result<Response<v1::EnrollmentToken>, Status> {
        let actor = Actor::of(&request);
        let name = names::parse("name", &request.get_ref().name, COLLECTION)?;
        let (token, changed) = self.ledger.revoke_enrollment_token(name, &actor).await?;
        // Also the second time: the first word of it may have been lost.
        roll::changed(&self.bus, &self.limits).await;
        if changed {
            tracing::info!(actor = actor.name(), name, "enrollment token revoked");
        }
        Ok(Response::new(told(&token, self.ledger.clock.now())))
    }

    async fn issue_credential(
        &self,
        request: Request<v1::IssueCredentialRequest>,
    ) -> Result<Response<v1::IssueCredentialResponse>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.issue(request.into_inner(), &actor).await?))
    }

    async fn get_credential(
        &self,
        request: Request<v1::GetCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        Ok(Response::new(self.issued(&request.get_ref().name).await?))
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        Ok(Response::new(self.all_issued(request.get_ref()).await?))
    }

    async fn approve_credential(
        &self,
        request: Request<v1::ApproveCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.approve(&request.get_ref().name, &actor).await?))
    }

    async fn rotate_credential(
        &self,
        request: Request<v1::RotateCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.rotate(&request.get_ref().name, &actor).await?))
    }

    async fn reset_credential(
        &self,
        request: Request<v1::ResetCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.reset(&request.get_ref().name, &actor).await?))
    }

    async fn revoke_credential(
        &self,
        request: Request<v1::RevokeCredentialRequest>,
    ) -> Result<Response<v1::Credential>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.revoke_issued(&request.get_ref().name, &actor).await?))
    }
}

impl Api {
    /// The token that is asked for, if it would be of use.
    fn token_wanted(
        &self,
        asked: v1::EnrollmentToken,
        digest: TokenDigest,
    ) -> Result<EnrollmentToken, Error> {
        let name = names::parse("enrollment_token.name", &asked.name, COLLECTION)?.to_owned();
        let field = "enrollment_token.labels";
        labels::check(field, &asked.labels, &self.limits)?;
        let uses_max = u64::try_from(asked.uses_max)
            .map_err(|_| Error::invalid("enrollment_token.uses_max", "must not be negative"))?;
        let created = self.ledger.clock.now();
        let expires = asked.expire_time.as_ref().map(|time| expiry(time, created)).transpose()?;
        let approval = match asked.approval() {
            wire::Approval::Unspecified | wire::Approval::Automatic => Approval::Automatic,
            wire::Approval::Manual => Approval::Manual,
        };
        Ok(EnrollmentToken {
            name,
            digest,
            labels: asked.labels,
            approval,
            expires,
            uses_max: (uses_max != 0).then_some(uses_max),
            uses: 0,
            arrived: 0,
            created,
            actor: String::new(),
            revoked: None,
        })
    }
}

fn expiry(time: &prost_types::Timestamp, now: Timestamp) -> Result<Timestamp, Error> {
    let expires = convert::time_in(time).filter(|expires| *expires > now);
    expires.ok_or_else(|| Error::invalid("enrollment_token.expire_time", "must be in the future"))
}

fn told(token: &EnrollmentToken, now: Timestamp) -> v1::EnrollmentToken {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let approval = match token.approval {
        Approval::Automatic => wire::Approval::Automatic,
        Approval::Manual => wire::Approval::Manual,
    };
    let state = match token.state(now) {
        TokenState::Live => wire::State::Live,
        TokenState::Expired => wire::State::Expired,
        TokenState::UsedUp => wire::State::UsedUp,
        TokenState::Revoked => wire::State::Revoked,
    };
    let (revoke_time, revoke_actor) = token.revoked.clone().unzip();
    v1::EnrollmentToken {
        name: format!("{COLLECTION}/{}", token.name),
        approval: approval.into(),
        labels: token.labels.clone(),
        expire_time: token.expires.map(convert::time),
        uses_max: token.uses_max.map_or(0, number),
        uses: number(token.uses),
        state: state.into(),
        create_time: Some(convert::time(token.created)),
        actor: token.actor.clone(),
        revoke_time: revoke_time.map(convert::time),
        revoke_actor: revoke_actor.unwrap_or_default(),
    }
}
