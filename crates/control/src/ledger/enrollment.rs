//! Tokens that enroll agents, by name. A name is used once, so that what an agent came with is
//! never in doubt.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::enrollment::EnrollmentToken;
use store::tables::enrollment::{decode, encode};
use store::{Key, Table, Version};

use super::{Held, Ledger};
use crate::Error;
use crate::actor::Actor;

impl Ledger {
    /// Stores a token under a name that was never used.
    pub(crate) async fn create_enrollment_token(
        &self,
        token: &EnrollmentToken,
    ) -> Result<(), Error> {
        let most = self.limits.enrollment_tokens_max;
        if self.enrollment_tokens().await?.len() >= most {
            let reason = format!("there are {most}, which is the most");
            return Err(Error::Precondition(format!("enrollment tokens: {reason}")));
        }
        let value = encode(token, &Bytes::new());
        let key = Key::enrollment_token(&token.name);
        match self.write(key, Version::ABSENT, value).await? {
            Some(_) => Ok(()),
            None => {
                let reason = "is or was the name of another token: take a new one";
                Err(Error::invalid("enrollment_token.name", reason))
            }
        }
    }

    /// A token.
    pub(crate) async fn enrollment_token(&self, name: &str) -> Result<EnrollmentToken, Error> {
        Ok(self.held_enrollment_token(name).await?.value)
    }

    /// Every token, by name.
    pub(crate) async fn enrollment_tokens(
        &self,
    ) -> Result<BTreeMap<String, EnrollmentToken>, Error> {
        let mut tokens = BTreeMap::new();
        for (key, stored) in self.entries(Table::EnrollmentTokens).await? {
            match decode(&key, &stored.value) {
                Ok(read) => {
                    tokens.insert(read.value.name.clone(), read.value);
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(tokens)
    }

    /// Makes a token worthless. Says whether it was not before.
    pub(crate) async fn revoke_enrollment_token(
        &self,
        name: &str,
        actor: &Actor,
    ) -> Result<(EnrollmentToken, bool), Error> {
        for _ in 0..self.limits.write_tries {
            let held = self.held_enrollment_token(name).await?;
            let mut token = held.value;
            if token.revoked.is_some() {
                return Ok((token, false));
            }
            token.revoked = Some((self.clock.now(), actor.name()));
            let value = encode(&token, &held.unknown);
            let key = Key::enrollment_token(name);
            if self.write(key, held.version, value).await?.is_some() {
                return Ok((token, true));
            }
        }
        Err(Error::Aborted(format!("enrollmentTokens/{name}")))
    }

    /// Agents are enrolled by a token: says how many of them it does for, and what it says of them.
    pub(crate) async fn use_enrollment_token(
        &self,
        name: &str,
        agents: u64,
    ) -> Result<(EnrollmentToken, u64), Error> {
        for _ in 0..self.limits.write_tries {
            let held = self.held_enrollment_token(name).await?;
            let mut token = held.value;
            let enrolls = token.enrolls(agents, self.clock.now());
            token.uses += enrolls;
            if enrolls == 0 {
                return Ok((token, 0));
            }
            let value = encode(&token, &held.unknown);
            let key = Key::enrollment_token(name);
            if self.write(key, held.version, value).await?.is_some() {
                return Ok((token, enrolls));
            }
        }
        Err(Error::Aborted(format!("enrollmentTokens/{name}")))
    }

    async fn held_enrollment_token(&self, name: &str) -> Result<Held<EnrollmentToken>, Error> {
        let key = Key::enrollment_token(name);
        let stored = self.read(&key).await?;
        let stored = stored.ok_or_else(|| Error::NotFound(format!("enrollmentTokens/{name}")))?;
        let loaded = decode(&key, &stored.value)?;
        Ok(Held { value: loaded.value, unknown: loaded.unknown, version: stored.version })
    }
}
