//! Connection settings as they are kept: named, of one class, in revisions that never change.

use crate::Timestamp;
use crate::settings::{Class, SettingsHash, SettingsRef};

/// Connection settings with their revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Their name.
    pub name: String,
    /// What they are for.
    pub class: Class,
    /// Numbered from 1.
    pub revisions: Vec<KeptRevision>,
}

/// One revision, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRevision {
    /// From 1.
    pub number: u64,
    /// Names the content.
    pub hash: SettingsHash,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it, by the name of their token.
    pub actor: String,
    /// The encoded message of the class, as [`super::Settings::shown`] leaves it.
    pub shown: Vec<u8>,
    /// Of the certificate in it.
    pub certificate: Option<Certificate>,
}

/// What may be told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of its subject.
    pub subject: String,
    /// From when it is good, in seconds since the Unix epoch.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// SHA-256 of its public key.
    pub key_sha256: [u8; 32],
}

impl Kept {
    /// The newest revision.
    pub fn latest(&self) -> Option<&KeptRevision> {
        self.revisions.last()
    }

    /// The revision of this number.
    pub fn revision(&self, number: u64) -> Option<&KeptRevision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }

    /// Pins a revision.
    pub fn pin(&self, revision: &KeptRevision) -> SettingsRef {
        SettingsRef {
            settings: self.name.clone(),
            revision: revision.number,
            class: self.class.clone(),
            hash: revision.hash,
        }
    }
}
