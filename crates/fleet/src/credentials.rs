//! Agents' credentials: how the ledger says they stand, and the credential itself, which is signed
//! anew each time it is told. Nothing is issued here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use model::credential::{AgentCredential, Standing};
use opamp::InstanceUid;
use opamp::v1::{ConnectionSettingsOffers, Header, Headers, OpAmpConnectionSettings};
use store::{Key, Stored, tables};
use trust::{Credential, Signer};

use crate::Error;
use crate::engine::Engine;
use crate::intent::Ledger;

/// Header that a credential is shown in.
const AUTHORIZATION: &str = "Authorization";
/// Told where operators set no interval: an offer without one would stop heartbeats.
const HEARTBEAT_SECONDS: u64 = 30;

impl Ledger {
    /// How agents stand with their credentials; those without are left out. What cannot be read
    /// lets nobody in.
    pub(crate) async fn standings(
        &self,
        uids: &[InstanceUid],
    ) -> Result<BTreeMap<InstanceUid, Standing>, Error> {
        let mut found = BTreeMap::new();
        if uids.is_empty() {
            return Ok(found);
        }
        let keys: Vec<Key> = uids.iter().map(Key::credential).collect();
        for ((uid, key), stored) in uids.iter().zip(&keys).zip(self.values(&keys).await?) {
            let Some(stored) = stored else { continue };
            let version = stored.version.0;
            let standing = match self.readable_credential(key, &stored).await {
                Some(credential) => credential.standing(version),
                None => Standing { refused: true, version, ..Standing::default() },
            };
            found.insert(*uid, standing);
        }
        Ok(found)
    }

    async fn credential(&self, uid: &InstanceUid) -> Result<Option<AgentCredential>, Error> {
        let key = Key::credential(uid);
        let stored = self.value(&key).await?;
        let Some(stored) = stored else { return Ok(None) };
        Ok(self.readable_credential(&key, &stored).await)
    }

    async fn readable_credential(&self, key: &Key, stored: &Stored) -> Option<AgentCredential> {
        match tables::credentials::decode(key, &stored.value) {
            Ok(read) => Some(read.value),
            Err(error) => {
                self.set_aside(key, stored, &error).await;
                None
            }
        }
    }

    /// What signs credentials, or why nothing does.
    async fn signer(&self) -> Result<Result<Signer, String>, Error> {
        let key = Key::fleet_key();
        let Some(stored) = self.value(&key).await? else {
            return Ok(Err("there is no key".into()));
        };
        let Some(vault) = self.vault() else { return Ok(Err("no --secrets-key is set".into())) };
        let sealed = tables::credentials::decode_key(&key, &stored.value)?.value.sealed_seed;
        Ok(Signer::unseal(vault, &sealed).map_err(|error| format!("the fleet's key: {error}")))
    }
}

/// Tells agents their credentials.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    /// Where agents reach us: told where no settings say it.
    agent_url: Option<String>,
    /// Somebody was told that it cannot.
    complained: AtomicBool,
}

impl Teller {
    pub(crate) fn new(agent_url: Option<String>) -> Self {
        Self { agent_url, complained: AtomicBool::new(false) }
    }

    /// Said once: it is so for every agent, until something is set up otherwise.
    fn complain(&self, reason: &str) {
        metrics::counter!("muster_fleet_credentials_untold_total").increment(1);
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::error!(
                reason,
                "agents that enroll are not told credentials, nor other connection settings"
            );
        }
    }
}

impl Engine {
    /// Puts an agent's credential into what it is told of its connection to us. False if it cannot
    /// be had: then nothing of that may be told.
    pub(crate) async fn add_credential(
        &self,
        offers: &mut ConnectionSettingsOffers,
        uid: &InstanceUid,
        serial: u64,
    ) -> Result<bool, Error> {
        let found = self.ledger.credential(uid).await?;
        let is_good = |it: &AgentCredential| it.standing(0).good() == serial;
        let Some(credential) = found.filter(is_good) else { return Ok(false) };
        let signer = match self.ledger.signer().await? {
            Ok(signer) => signer,
            Err(reason) => {
                self.teller.complain(&reason);
                return Ok(false);
            }
        };
        let opamp = match (&mut offers.opamp, &self.teller.agent_url) {
            (Some(opamp), _) => opamp,
            (none, Some(agent_url)) => none.insert(OpAmpConnectionSettings {
                destination_endpoint: agent_url.clone(),
                heartbeat_interval_seconds: HEARTBEAT_SECONDS,
                ..Default::default()
            }),
            (None, None) => {
                self.teller.complain("no --agent-url is set");
                return Ok(false);
            }
        };
        let expires_unix = credential.expires_unix;
        let token = signer.sign(&Credential { uid: *uid.as_bytes(), serial, expires_unix });
        let value = format!("Bearer {}", String::from_utf8_lossy(token.reveal()));
        let headers = opamp.headers.get_or_insert_with(Headers::default);
        headers.headers.retain(|header| !header.key.eq_ignore_ascii_case(AUTHORIZATION));
        headers.headers.push(Header { key: AUTHORIZATION.to_owned(), value });
        Ok(true)
    }
}
