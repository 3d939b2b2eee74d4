//! The parts of an agent's record about packages and connection settings.

use model::Timestamp;
use model::packages::{PackageHash, PackagesHash, PackagesOffer};
use model::record::{Delivered, OpAmpTold, Track};
use model::settings::{Class, SettingsHash, SettingsOffer, SettingsRef};

use crate::v1::agent_record as wire;

pub(super) fn packages_to_wire(track: Track<PackagesOffer>) -> Option<wire::Packages> {
    let packages = wire::Packages {
        offered: track.offered.map(|offer| wire::packages::Set {
            set: offer.set,
            revision: offer.revision,
            packages: offer
                .packages
                .into_iter()
                .map(|(name, hash)| wire::packages::Package { name, hash: hash.0.to_vec() })
                .collect(),
        }),
        decision: track.decision,
        delivered: track.delivered.as_ref().map(sent_to_wire),
        failed: track.failed.iter().map(|hash| hash.to_vec()).collect(),
    };
    (packages != wire::Packages::default()).then_some(packages)
}

pub(super) fn packages(message: Option<wire::Packages>) -> Result<Track<PackagesOffer>, String> {
    let message = message.unwrap_or_default();
    Ok(Track {
        offered: message.offered.map(set).transpose()?,
        decision: message.decision,
        delivered: message.delivered.as_ref().map(sent).transpose()?,
        failed: message.failed.iter().map(|hash| digest(hash)).collect::<Result<_, _>>()?,
    })
}

fn set(message: wire::packages::Set) -> Result<PackagesOffer, String> {
    let package =
        |package: wire::packages::Package| Ok((package.name, PackageHash(digest(&package.hash)?)));
    let packages: Vec<_> =
        message.packages.into_iter().map(package).collect::<Result<_, String>>()?;
    let hash = PackagesHash::of(&packages);
    Ok(PackagesOffer { set: message.set, revision: message.revision, hash, packages })
}

pub(super) fn settings_to_wire(track: Track<SettingsOffer>) -> Option<wire::Settings> {
    let class = |settings: SettingsRef| wire::settings::Class {
        class: settings.class.to_string(),
        settings: settings.settings,
        revision: settings.revision,
        hash: settings.hash.0.to_vec(),
    };
    let settings = wire::Settings {
        offered: track.offered.map(|offer| wire::settings::Offer {
            classes: offer.classes.into_values().map(class).collect(),
            credential: offer.credential,
        }),
        decision: track.decision,
        delivered: track.delivered.as_ref().map(sent_to_wire),
        failed: track.failed.iter().map(|hash| hash.to_vec()).collect(),
    };
    (settings != wire::Settings::default()).then_some(settings)
}

pub(super) fn settings(message: Option<wire::Settings>) -> Result<Track<SettingsOffer>, String> {
    let message = message.unwrap_or_default();
    Ok(Track {
        offered: message.offered.map(offer).transpose()?,
        decision: message.decision,
        delivered: message.delivered.as_ref().map(sent).transpose()?,
        failed: message.failed.iter().map(|hash| digest(hash)).collect::<Result<_, _>>()?,
    })
}

fn offer(message: wire::settings::Offer) -> Result<SettingsOffer, String> {
    let class = |message: wire::settings::Class| {
        let settings =
            settings_ref((message.settings, message.revision), &message.class, &message.hash)?;
        Ok((settings.class.clone(), settings))
    };
    let classes = message.classes.into_iter().map(class).collect::<Result<_, String>>()?;
    Ok(SettingsOffer { classes, credential: message.credential })
}

pub(super) fn settings_ref(
    (settings, revision): (String, u64),
    class: &str,
    hash: &[u8],
) -> Result<SettingsRef, String> {
    let class = Class::parse(class).ok_or_else(|| format!("{class:?} is no class of settings"))?;
    Ok(SettingsRef { settings, revision, class, hash: SettingsHash(digest(hash)?) })
}

pub(super) fn told_to_wire(told: &OpAmpTold) -> wire::OpAmpTold {
    wire::OpAmpTold {
        hash: told.hash.0.to_vec(),
        start_time_unix_nano: told.start_time_unix_nano,
        times: told.times,
        epoch: told.epoch,
        n: told.n,
    }
}

pub(super) fn told(message: &wire::OpAmpTold) -> Result<OpAmpTold, String> {
    Ok(OpAmpTold {
        hash: SettingsHash(digest(&message.hash)?),
        start_time_unix_nano: message.start_time_unix_nano,
        times: message.times,
        epoch: message.epoch,
        n: message.n,
    })
}

fn sent_to_wire(sent: &Delivered<[u8; 32]>) -> wire::Sent {
    let hash = sent.hash.to_vec();
    wire::Sent { hash, epoch: sent.epoch, n: sent.n, at_unix_ms: sent.at.0 }
}

fn sent(message: &wire::Sent) -> Result<Delivered<[u8; 32]>, String> {
    let hash = digest(&message.hash)?;
    Ok(Delivered { hash, epoch: message.epoch, n: message.n, at: Timestamp(message.at_unix_ms) })
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], String> {
    bytes.try_into().map_err(|_| format!("a hash is 32 bytes, got {}", bytes.len()))
}
