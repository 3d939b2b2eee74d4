//! What offers say, as encoded fields of ServerToAgent. Bodies are encoded once and shared; a field
//! may stand behind any others.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use model::connection::{SEAL_PURPOSE, Settings};
use model::packages::PackagesOffer;
use model::session::{Offers, Pushed, Withheld};
use model::settings::{SettingsPart, SettingsRef};
use opamp::v1::{ConnectionSettingsOffers, PackageAvailable};
use opamp::{InstanceUid, Message as _};
use trust::Vault;

use crate::engine::Engine;
use crate::intent::Ledger;
use crate::{Error, reply};

/// The fields of one reply.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    fields: Vec<Bytes>,
    /// Those that hold secrets.
    secret: Vec<Bytes>,
    /// Offers whose bodies cannot be had.
    pub(crate) withheld: Withheld,
}

/// Fields of a message, as they cross the bus.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) clear: Bytes,
    /// For a gateway to open; empty if there are none.
    pub(crate) sealed: Bytes,
}

impl Bodies {
    /// Takes a field in; false if there is none.
    fn take(&mut self, what: &Pushed, field: Option<Bytes>) -> bool {
        let found = field.is_some();
        match what {
            Pushed::Settings(_) => self.secret.extend(field),
            Pushed::Config(_) | Pushed::Packages(_) => self.fields.extend(field),
        }
        found
    }
}

/// One field behind the other.
fn together(mut fields: Vec<Bytes>) -> Bytes {
    match fields.len() {
        0 => Bytes::new(),
        1 => fields.remove(0),
        _ => {
            let mut all = BytesMut::new();
            fields.iter().for_each(|field| all.extend_from_slice(field));
            all.freeze()
        }
    }
}

impl Engine {
    /// The bodies of an agent's offers, as far as they can be had.
    pub(crate) async fn bodies(&self, offers: &Offers, uid: &InstanceUid) -> Bodies {
        let mut bodies = Bodies::default();
        for what in offers.clone().each() {
            let body = self.body(&what, Some(uid)).await.ok().flatten();
            let found = bodies.take(&what, body);
            match what {
                Pushed::Config(_) => bodies.withheld.config = !found,
                Pushed::Settings(_) => bodies.withheld.settings = !found,
                Pushed::Packages(_) => bodies.withheld.packages = !found,
            }
        }
        bodies
    }

    /// What was found, as it crosses the bus.
    pub(crate) fn fields(&self, bodies: Bodies) -> Fields {
        let sealed = self.sealed(&together(bodies.secret));
        Fields { clear: together(bodies.fields), sealed }
    }

    /// One field, as it crosses the bus.
    pub(crate) fn field(&self, what: &Pushed, field: Bytes) -> Fields {
        let mut bodies = Bodies::default();
        bodies.take(what, Some(field));
        self.fields(bodies)
    }

    /// Without a vault nothing secret was found that could be sealed.
    fn sealed(&self, secret: &Bytes) -> Bytes {
        let vault = self.ledger.vault().filter(|_| !secret.is_empty());
        let seal = |vault: &Vault| {
            vault.seal(bus::SEALED_OFFERS, secret, |nonce| self.random.fill(nonce)).into()
        };
        vault.map_or(Bytes::new(), seal)
    }

    /// The field with an offer; `None` if not all of it can be had. Without a uid it is for
    /// anybody.
    pub(crate) async fn body(
        &self,
        what: &Pushed,
        uid: Option<&InstanceUid>,
    ) -> Result<Option<Bytes>, Error> {
        match what {
            Pushed::Config(hash) => self.ledger.config(hash).await,
            Pushed::Settings(part) => self.settings(part, uid).await,
            Pushed::Packages(offer) => self.packages(offer).await,
        }
    }

    async fn packages(&self, offer: &PackagesOffer) -> Result<Option<Bytes>, Error> {
        let mut packages = BTreeMap::new();
        for (name, hash) in &offer.packages {
            let Some(body) = self.ledger.blob(&hash.0).await? else { return Ok(None) };
            let Ok(package) = PackageAvailable::decode(body) else { return Ok(None) };
            packages.insert(name.clone(), PackageAvailable { hash: hash.0.to_vec(), ..package });
        }
        Ok(Some(reply::packages_available(packages, &offer.hash)))
    }

    async fn settings(
        &self,
        part: &SettingsPart,
        uid: Option<&InstanceUid>,
    ) -> Result<Option<Bytes>, Error> {
        let mut offers =
            ConnectionSettingsOffers { hash: part.hash.0.to_vec(), ..Default::default() };
        let opamp = part.opamp.iter().filter_map(|opamp| opamp.settings.as_ref());
        for settings in part.classes.iter().chain(opamp) {
            let Some(opened) = self.ledger.opened(settings).await? else { return Ok(None) };
            opened.offer(&settings.class, &mut offers);
        }
        let serial = part.opamp.as_ref().map_or(0, |opamp| opamp.credential);
        if let Some(uid) = uid.filter(|_| serial != 0)
            && !self.add_credential(&mut offers, uid, serial).await?
        {
            return Ok(None);
        }
        Ok(Some(reply::connection_settings(offers)))
    }
}

impl Ledger {
    /// Settings, opened; `None` if they cannot be.
    async fn opened(&self, settings: &SettingsRef) -> Result<Option<Settings>, Error> {
        let Some(sealed) = self.sealed(settings).await? else { return Ok(None) };
        let opened = self.vault().and_then(|vault| {
            let opened = vault.open(SEAL_PURPOSE, &sealed);
            let unopened = |error: &_| {
                tracing::warn!(settings = settings.settings, %error, "settings are not offered");
            };
            opened.inspect_err(unopened).ok()
        });
        Ok(opened.and_then(|plain| Settings::decode(&settings.class, plain.reveal())))
    }
}
