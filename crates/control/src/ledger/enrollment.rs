//! Tokens that enroll agents, by name. A name is used once, so that what an agent came with is
//! never in doubt.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::enrollment::EnrollmentToken;
use opamp::InstanceUid;
use store::tables::enrollment::{decode, encode};
use store::{Key, Table, Version};

use super::labels::Relabel;
use super::{Held, Ledger};
use crate::Error;
use crate::actor::Actor;

/// The collection of their resource names.
pub(crate) const COLLECTION: &str = "enrollmentTokens";

/// Whose decision it is that agents are enrolled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decided {
    ByRule,
    ByOperator,
}

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
        let revoke = |token: &mut EnrollmentToken| {
            let is_new = token.revoked.is_none();
            token.revoked.get_or_insert_with(|| (self.clock.now(), actor.name()));
            is_new
        };
        self.change_enrollment_token(name, revoke).await
    }

    /// Agents came with this, a resource name, to be enrolled. Says how many of them are, for their
    /// token's rule or an operator's word; those are counted and labelled.
    pub(crate) async fn enroll_by(
        &self,
        by: &str,
        uids: &[InstanceUid],
        decided: Decided,
    ) -> Result<usize, Error> {
        match by.split_once('/') {
            Some((COLLECTION, name)) => {
                let agents = uids.len() as u64;
                let count = |token: &mut EnrollmentToken| {
                    let enrolls = match decided {
                        Decided::ByRule => token.enrolls(agents, self.clock.now()),
                        Decided::ByOperator => agents,
                    };
                    token.uses += enrolls;
                    usize::try_from(enrolls).unwrap_or(usize::MAX)
                };
                let (token, enrolls) = match self.change_enrollment_token(name, count).await {
                    Err(Error::NotFound(_)) => return Ok(0),
                    changed => changed?,
                };
                let change = Relabel { set: token.labels, remove: Vec::new() };
                if !change.set.is_empty() {
                    self.relabel(&uids[..enrolls], &change).await?;
                }
                Ok(enrolls)
            }
            // It was let in, and is called otherwise since.
            Some(("credentials", uid)) => {
                let Ok(uid) = uid.parse::<InstanceUid>() else { return Ok(0) };
                let good = self.standings(&[uid]).await?[0].good() > 0;
                Ok(if good { uids.len() } else { 0 })
            }
            _ => Ok(0),
        }
    }

    /// Agents that were enrolled by this, a resource name, came with their own.
    pub(crate) async fn note_arrived(&self, by: &str, agents: u64) -> Result<(), Error> {
        let Some((COLLECTION, name)) = by.split_once('/') else { return Ok(()) };
        let count = |token: &mut EnrollmentToken| token.arrived += agents;
        match self.change_enrollment_token(name, count).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes what `change` makes of a token, and says what else that found.
    async fn change_enrollment_token<T>(
        &self,
        name: &str,
        change: impl Fn(&mut EnrollmentToken) -> T,
    ) -> Result<(EnrollmentToken, T), Error> {
        for _ in 0..self.limits.write_tries {
            let held = self.held_enrollment_token(name).await?;
            let mut token = held.value.clone();
            let found = change(&mut token);
            if token == held.value {
                return Ok((token, found));
            }
            let value = encode(&token, &held.unknown);
            let key = Key::enrollment_token(name);
            if self.write(key, held.version, value).await?.is_some() {
                return Ok((token, found));
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
