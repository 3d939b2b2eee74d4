//! Credentials of agents, and the key that they are signed with. What gateways go by is written
//! first: a revocation that was told must not be forgotten because the next write failed.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Random;
use model::credential::{AgentCredential, Revocation, Standing};
use opamp::InstanceUid;
use store::tables::credentials::{
    FleetKey, decode, decode_key, decode_revocation, encode, encode_key, encode_revocation,
};
use store::{Key, Table, Version};
use trust::{Credential, Secret, Signer};

use super::{Held, Ledger};
use crate::Error;
use crate::actor::Actor;

/// What an agent is to be given.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) uid: InstanceUid,
    /// Resource name of what it came with for this; empty if it did not.
    pub(crate) by: String,
    pub(crate) expires_unix: u64,
    /// Those that were issued before are good no more.
    pub(crate) only: bool,
}

impl Ledger {
    /// Issues a credential.
    pub(crate) async fn issue_credential(
        &self,
        issue: Issue,
        actor: &Actor,
        random: &dyn Random,
    ) -> Result<(AgentCredential, Secret), Error> {
        let signer = self.signer(random).await?;
        let Issue { uid, by, expires_unix, only } = issue;
        let issued = self.change_credential(&uid, |credential| {
            let now = self.clock.now();
            Ok(credential.asked(now, &by).issued(now, actor.name(), expires_unix, only))
        });
        let issued = issued.await?;
        let uid = *uid.as_bytes();
        let token = signer.sign(&Credential { uid, serial: issued.serial, expires_unix });
        Ok((issued, token))
    }

    /// Makes all credentials of an agent worthless.
    pub(crate) async fn revoke_credential(
        &self,
        uid: &InstanceUid,
        actor: &Actor,
    ) -> Result<AgentCredential, Error> {
        self.credential(uid).await?;
        let revoke = |it: AgentCredential| Ok(it.revoked(self.clock.now(), actor.name()));
        self.change_credential(uid, revoke).await
    }

    /// Notes that an agent asks to be let in, and with what.
    pub(crate) async fn note_asked(&self, uid: &InstanceUid, by: &str) -> Result<(), Error> {
        let asked = |credential: AgentCredential| Ok(credential.asked(self.clock.now(), by));
        self.change_credential(uid, asked).await.map(drop)
    }

    /// Notes that an agent came in with this credential: those before it are good no more. Returns
    /// what enrolled it, if this is the first that it came with.
    pub(crate) async fn prove(
        &self,
        uid: &InstanceUid,
        serial: u64,
    ) -> Result<Option<String>, Error> {
        let before = self.held_credential(uid).await?.value;
        let after = self.change_credential(uid, |it| Ok(it.proven(serial))).await?;
        Ok((before.proven == 0 && after.proven > 0).then_some(after.enrollment))
    }

    /// Lets an agent be enrolled anew that showed this; what it has is good no more.
    pub(crate) async fn reset_credential(
        &self,
        uid: &InstanceUid,
        shown: u64,
    ) -> Result<AgentCredential, Error> {
        if shown == 0 {
            self.credential(uid).await?;
        }
        self.change_credential(uid, |credential| Ok(credential.reset(shown))).await
    }

    /// How agents stand; those that were never heard of stand at the default.
    pub(crate) async fn standings(&self, uids: &[InstanceUid]) -> Result<Vec<Standing>, Error> {
        let keys: Vec<Key> = uids.iter().map(Key::credential).collect();
        let stored = self.within(self.store.get(&keys)).await?;
        let mut standings = Vec::with_capacity(keys.len());
        for (key, stored) in keys.iter().zip(stored) {
            standings.push(match stored.map(|stored| (decode(key, &stored.value), stored)) {
                None => Standing::default(),
                Some((Ok(read), stored)) => read.value.standing(stored.version.0),
                // Workers turn it away for the same reason.
                Some((Err(error), stored)) => {
                    self.set_aside(key, &stored, &error).await;
                    Standing { refused: true, ..Standing::default() }
                }
            });
        }
        Ok(standings)
    }

    /// What was issued to an agent.
    pub(crate) async fn credential(&self, uid: &InstanceUid) -> Result<AgentCredential, Error> {
        let held = self.held_credential(uid).await?;
        match held.version {
            Version::ABSENT => Err(Error::NotFound(format!("credentials/{uid}"))),
            _ => Ok(held.value),
        }
    }

    /// What was issued to everybody, and the version of that.
    pub(crate) async fn credentials(
        &self,
    ) -> Result<BTreeMap<InstanceUid, (AgentCredential, u64)>, Error> {
        let mut all = BTreeMap::new();
        for (key, stored) in self.entries(Table::Credentials).await? {
            match decode(&key, &stored.value) {
                Ok(read) => {
                    all.insert(read.value.uid, (read.value, stored.version.0));
                }
                Err(error) => self.set_aside(&key, &stored, &error).await,
            }
        }
        Ok(all)
    }

    /// What is good no more. Where that cannot be read, nothing of that agent is good.
    pub(crate) async fn revocations(&self) -> Result<Vec<Revocation>, Error> {
        let mut all = Vec::new();
        for (key, stored) in self.entries(Table::Revocations).await? {
            match (decode_revocation(&key, &stored.value), InstanceUid::try_from(&key.id[..])) {
                (Ok(read), _) => all.push(read.value),
                (Err(error), uid) => {
                    let everything = |uid| Revocation {
                        uid,
                        below: u64::MAX,
                        until_unix: u64::MAX,
                        refused: true,
                    };
                    all.extend(uid.ok().map(everything));
                    self.set_aside(&key, &stored, &error).await;
                }
            }
        }
        Ok(all)
    }

    /// What credentials are looked at with; `None` before the first one was issued.
    pub(crate) async fn public_key(&self) -> Result<Option<[u8; 32]>, Error> {
        Ok(self.fleet_key().await?.map(|key| key.public_key))
    }

    /// Makes what signs credentials, where there is none.
    pub(crate) async fn make_key(&self, random: &dyn Random) -> Result<(), Error> {
        self.signer(random).await.map(drop)
    }

    /// What signs credentials. It is made when it is first needed.
    async fn signer(&self, random: &dyn Random) -> Result<Signer, Error> {
        let vault = self.vault()?;
        if self.fleet_key().await?.is_none() {
            let (signer, sealed) = Signer::seal(vault, |bytes| random.fill(bytes));
            let (public_key, created) = (signer.public_key(), self.clock.now());
            let key = FleetKey { sealed_seed: sealed.into(), public_key, created };
            let value = encode_key(&key, &Bytes::new());
            // Whoever was first, theirs is the key.
            self.write(Key::fleet_key(), Version::ABSENT, value).await?;
        }
        let key = self.fleet_key().await?;
        let key = key.ok_or_else(|| Error::Aborted("the fleet's key".to_owned()))?;
        let signer = Signer::unseal(vault, &key.sealed_seed);
        signer.map_err(|error| Error::Corrupt(format!("the fleet's key: {error}")))
    }

    /// Seals the fleet's key with the vault's key in use, where an older one did. Says whether it
    /// did so.
    pub(crate) async fn reseal_fleet_key(&self, random: &dyn Random) -> Result<bool, Error> {
        let (vault, key) = (self.vault()?, Key::fleet_key());
        let Some(stored) = self.read(&key).await? else { return Ok(false) };
        let held = decode_key(&key, &stored.value)?;
        if vault.is_current(&held.value.sealed_seed) {
            return Ok(false);
        }
        let sealed = Signer::reseal(vault, &held.value.sealed_seed, |nonce| random.fill(nonce));
        let sealed = sealed.map_err(|error| Error::Corrupt(format!("the fleet's key: {error}")))?;
        let value =
            encode_key(&FleetKey { sealed_seed: sealed.into(), ..held.value }, &held.unknown);
        Ok(self.write(key, stored.version, value).await?.is_some())
    }

    async fn fleet_key(&self) -> Result<Option<FleetKey>, Error> {
        let key = Key::fleet_key();
        let stored = self.read(&key).await?;
        Ok(stored.map(|stored| decode_key(&key, &stored.value)).transpose()?.map(|it| it.value))
    }

    /// Writes what `change` makes of what an agent has.
    async fn change_credential(
        &self,
        uid: &InstanceUid,
        change: impl Fn(AgentCredential) -> Result<AgentCredential, Error>,
    ) -> Result<AgentCredential, Error> {
        for _ in 0..self.limits.write_tries {
            let held = self.held_credential(uid).await?;
            let after = change(held.value.clone())?;
            if after == held.value {
                return Ok(after);
            }
            let lifted = |it: Revocation| Revocation { refused: false, until_unix: 0, ..it };
            let revocation = after.revocation();
            if let Some(revocation) = revocation.or_else(|| held.value.revocation().map(lifted)) {
                self.write_revocation(&revocation).await?;
            }
            let value = encode(&after, &held.unknown);
            if self.write(Key::credential(uid), held.version, value).await?.is_some() {
                return Ok(after);
            }
        }
        Err(Error::Aborted(format!("credentials/{uid}")))
    }

    /// Writes what is good no more. Serials below only ever rise.
    async fn write_revocation(&self, revocation: &Revocation) -> Result<(), Error> {
        let key = Key::revocation(&revocation.uid);
        for _ in 0..self.limits.write_tries {
            let stored = self.read(&key).await?;
            let before =
                stored.as_ref().map(|it| decode_revocation(&key, &it.value)).transpose()?;
            let (version, unknown) = stored.map_or((Version::ABSENT, Bytes::new()), |it| {
                (it.version, before.as_ref().map_or_else(Bytes::new, |it| it.unknown.clone()))
            });
            let held = before.map_or(*revocation, |before| Revocation {
                below: before.value.below.max(revocation.below),
                ..*revocation
            });
            let value = encode_revocation(&held, &unknown);
            if self.write(key.clone(), version, value).await?.is_some() {
                return Ok(());
            }
        }
        Err(Error::Aborted(format!("credentials/{}", revocation.uid)))
    }

    async fn held_credential(&self, uid: &InstanceUid) -> Result<Held<AgentCredential>, Error> {
        let key = Key::credential(uid);
        match self.read(&key).await? {
            None => {
                let (value, unknown) = (AgentCredential::none(*uid), Bytes::new());
                Ok(Held { value, unknown, version: Version::ABSENT })
            }
            Some(stored) => {
                let loaded = decode(&key, &stored.value)?;
                let (value, unknown) = (loaded.value, loaded.unknown);
                Ok(Held { value, unknown, version: stored.version })
            }
        }
    }
}
