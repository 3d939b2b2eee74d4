//! What offers say, as encoded fields of ServerToAgent. Bodies are encoded once and shared; a field
//! may stand behind any others.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use model::packages::PackagesOffer;
use model::session::{Offers, Pushed, Withheld};
use model::settings::{Class, SettingsPart, SettingsRef};
use opamp::v1::{
    ConnectionSettingsOffers, OpAmpConnectionSettings, OtherConnectionSettings, PackageAvailable,
    TelemetryConnectionSettings,
};
use opamp::{InstanceUid, Message as _};

use crate::engine::Engine;
use crate::intent::Ledger;
use crate::{Error, reply};

/// What settings are sealed for.
const PURPOSE: &str = "connection settings";

/// The fields of one reply.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    fields: Vec<Bytes>,
    /// Offers whose bodies cannot be had.
    pub(crate) withheld: Withheld,
}

impl Bodies {
    /// One field behind the other.
    pub(crate) fn together(mut self) -> Bytes {
        match self.fields.len() {
            0 => Bytes::new(),
            1 => self.fields.remove(0),
            _ => {
                let mut all = BytesMut::new();
                self.fields.iter().for_each(|field| all.extend_from_slice(field));
                all.freeze()
            }
        }
    }

    /// Takes a field in; false if there is none.
    fn take(&mut self, field: Option<Bytes>) -> bool {
        let found = field.is_some();
        self.fields.extend(field);
        found
    }
}

impl Engine {
    /// The bodies of an agent's offers, as far as they can be had.
    pub(crate) async fn bodies(&self, offers: &Offers, uid: &InstanceUid) -> Bodies {
        let mut bodies = Bodies::default();
        for what in offers.clone().each() {
            let found = bodies.take(self.body(&what, Some(uid)).await.ok().flatten());
            match what {
                Pushed::Config(_) => bodies.withheld.config = !found,
                Pushed::Settings(_) => bodies.withheld.settings = !found,
                Pushed::Packages(_) => bodies.withheld.packages = !found,
            }
        }
        bodies
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
        _: Option<&InstanceUid>,
    ) -> Result<Option<Bytes>, Error> {
        let mut offers =
            ConnectionSettingsOffers { hash: part.hash.0.to_vec(), ..Default::default() };
        let opamp = part.opamp.iter().filter_map(|opamp| opamp.settings.as_ref());
        for settings in part.classes.iter().chain(opamp) {
            let opened = self.ledger.sealed(settings).await?;
            if opened.and_then(|plain| take(&mut offers, &settings.class, &plain)).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(reply::connection_settings(offers)))
    }
}

impl Ledger {
    /// A message of a class of settings, opened.
    async fn sealed(&self, settings: &SettingsRef) -> Result<Option<Vec<u8>>, Error> {
        let Some(sealed) = self.blob(&settings.hash.0).await? else { return Ok(None) };
        let opened = self.vault().and_then(|vault| {
            let opened = vault.open(PURPOSE, &sealed);
            let unopened = |error: &_| {
                tracing::warn!(settings = settings.settings, %error, "settings are not offered");
            };
            opened.inspect_err(unopened).ok()
        });
        Ok(opened.map(|plain| plain.reveal().to_vec()))
    }
}

/// Takes the message of a class into an offer; `None` if it is not one.
fn take(offers: &mut ConnectionSettingsOffers, class: &Class, plain: &[u8]) -> Option<()> {
    let telemetry = || TelemetryConnectionSettings::decode(plain).ok();
    match class {
        Class::OpAmp => offers.opamp = Some(OpAmpConnectionSettings::decode(plain).ok()?),
        Class::OwnMetrics => offers.own_metrics = Some(telemetry()?),
        Class::OwnTraces => offers.own_traces = Some(telemetry()?),
        Class::OwnLogs => offers.own_logs = Some(telemetry()?),
        Class::Other(name) => {
            let other = OtherConnectionSettings::decode(plain).ok()?;
            offers.other_connections.insert(name.clone(), other);
        }
    }
    Some(())
}
