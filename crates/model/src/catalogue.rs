//! The catalogue of packages: versions, each with a file per kind of agent, which never change; and
//! sets of them, as numbered revisions.

use opamp::Message as _;
use opamp::v1::{DownloadableFile, PackageAvailable, PackageType};

use crate::Timestamp;
use crate::check::{Fault, fault, url};
use crate::packages::{PackageChoice, PackageHash, PackageSetRef, Variant};
use crate::selector::Selector;

/// Files of one version: more kinds of agents than there are.
pub const VARIANTS_MAX: usize = 32;
/// Packages of a set.
pub const SET_PACKAGES_MAX: usize = 64;
/// Bytes of a version, as it is told.
const VERSION_BYTES_MAX: usize = 128;
/// Bytes of a URL.
const URL_BYTES_MAX: usize = 4 << 10;
/// Bytes of a detached signature: certificates and a transparency log's proof fit.
const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    /// Its name.
    pub package: String,
    /// The version.
    pub version: String,
    /// What it is to an agent.
    pub kind: PackageKind,
    /// What which agents get; the first that selects one counts.
    pub files: Vec<PackageFile>,
    /// When it was made.
    pub created: Timestamp,
    /// By whom; empty for nobody in particular.
    pub actor: String,
}

/// What a package is to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackageKind {
    /// The agent itself.
    #[default]
    TopLevel,
    /// Something that it loads.
    Addon,
}

/// What one kind of agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Agents that it is for.
    pub selector: Selector,
    /// Where it is fetched from.
    pub url: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// As the publisher made it; nobody here looks into it.
    pub signature: Vec<u8>,
}

/// A set of packages with its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSet {
    /// Its name.
    pub name: String,
    /// Oldest first.
    pub revisions: Vec<SetRevision>,
}

/// What is in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRevision {
    /// From 1.
    pub number: u64,
    /// Names and versions, sorted by name.
    pub packages: Vec<(String, String)>,
    /// When it was made.
    pub created: Timestamp,
    /// By whom; empty for nobody in particular.
    pub actor: String,
}

impl PackageVersion {
    /// Whether agents may be offered it.
    pub fn check(&self) -> Result<(), Fault> {
        let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != '@';
        if self.version.is_empty()
            || self.version.len() > VERSION_BYTES_MAX
            || !self.version.chars().all(plain)
        {
            let reason = format!("must be 1 to {VERSION_BYTES_MAX} plain characters, no / or @");
            return fault("version", reason);
        }
        if self.files.is_empty() || self.files.len() > VARIANTS_MAX {
            return fault("files", format!("must be 1 to {VARIANTS_MAX}"));
        }
        for (index, file) in self.files.iter().enumerate() {
            if file.url.len() > URL_BYTES_MAX || url(&file.url, &["https", "http"]).is_none() {
                let reason = "must be an http or https URL with a host";
                return fault("files.download_url", format!("{reason}, in file {}", index + 1));
            }
            if file.signature.len() > SIGNATURE_BYTES_MAX {
                return fault("files.signature", format!("at most {SIGNATURE_BYTES_MAX} bytes"));
            }
        }
        let selects_all = |file: &PackageFile| file.selector.as_str().is_empty();
        let hidden = self.files.iter().rev().skip(1).any(selects_all);
        if hidden {
            return fault("files.selector", "selects every agent, so that no later file counts");
        }
        Ok(())
    }

    /// Whether it says the same, whoever made it.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.version, self.kind, &self.files) == (&other.version, other.kind, &other.files)
            && self.package == other.package
    }

    /// What an agent is told of one of its files, but for the hash of that.
    pub fn available(&self, file: &PackageFile) -> PackageAvailable {
        let r#type = match self.kind {
            PackageKind::TopLevel => PackageType::TopLevel,
            PackageKind::Addon => PackageType::Addon,
        };
        PackageAvailable {
            r#type: r#type.into(),
            version: self.version.clone(),
            file: Some(DownloadableFile {
                download_url: file.url.clone(),
                content_hash: file.sha256.to_vec(),
                signature: file.signature.clone(),
                headers: None,
            }),
            hash: Vec::new(),
        }
    }

    /// What agents are told of each of its files, encoded, by the hash of that.
    pub fn told(&self) -> impl Iterator<Item = (PackageHash, Vec<u8>)> {
        self.files.iter().map(|file| {
            let available = self.available(file);
            (PackageHash::of(&self.package, &available), available.encode_to_vec())
        })
    }

    /// It as a part of a set.
    pub fn choice(&self) -> PackageChoice {
        let variant = |file: &PackageFile| Variant {
            selector: file.selector.clone(),
            hash: PackageHash::of(&self.package, &self.available(file)),
        };
        PackageChoice {
            package: self.package.clone(),
            version: self.version.clone(),
            variants: self.files.iter().map(variant).collect(),
        }
    }
}

impl PackageSet {
    /// The newest revision.
    pub fn latest(&self) -> Option<&SetRevision> {
        self.revisions.last()
    }

    /// The revision of this number.
    pub fn revision(&self, number: u64) -> Option<&SetRevision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }

    /// One revision, pinned: `versions` are those that it names.
    pub fn pin(&self, number: u64, versions: &[PackageVersion]) -> PackageSetRef {
        let packages = versions.iter().map(PackageVersion::choice).collect();
        PackageSetRef { set: self.name.clone(), revision: number, packages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(selector: &str, url: &str) -> PackageFile {
        let selector = Selector::parse(selector).unwrap();
        PackageFile { selector, url: url.to_owned(), sha256: [1; 32], signature: vec![2] }
    }

    fn version(files: Vec<PackageFile>) -> PackageVersion {
        PackageVersion {
            package: "collector".to_owned(),
            version: "0.141.0".to_owned(),
            kind: PackageKind::TopLevel,
            files,
            created: Timestamp(1),
            actor: "alice".to_owned(),
        }
    }

    #[test]
    fn what_agents_could_not_fetch_or_would_never_get_is_refused() {
        let good = "https://example.org/collector.tar.gz";
        version(vec![file("os.type=linux", good), file("", good)]).check().unwrap();
        for (bad, field) in [
            (version(vec![]), "files"),
            (version(vec![file("", "ftp://h/x")]), "files.download_url"),
            (version(vec![file("", "collector.tar.gz")]), "files.download_url"),
            (version(vec![file("", good), file("os.type=linux", good)]), "files.selector"),
            (
                PackageVersion { version: "a/b".to_owned(), ..version(vec![file("", good)]) },
                "version",
            ),
            (PackageVersion { version: String::new(), ..version(vec![file("", good)]) }, "version"),
        ] {
            assert_eq!(bad.check().unwrap_err().field, field, "{bad:?}");
        }
    }

    #[test]
    fn every_word_of_a_version_counts_in_its_hash_and_who_made_it_does_not() {
        let base = version(vec![file("", "https://h/x")]);
        let hash = |version: &PackageVersion| version.choice().variants[0].hash;
        let mut others = vec![base.clone(); 5];
        others[0].version.push('1');
        others[1].kind = PackageKind::Addon;
        others[2].files[0].url.push('y');
        others[3].files[0].sha256[0] ^= 1;
        others[4].files[0].signature.push(1);
        for other in others {
            assert!(hash(&other) != hash(&base) && !other.is_same(&base), "{other:?}");
        }
        let again = PackageVersion { actor: String::new(), created: Timestamp(9), ..base.clone() };
        assert!(hash(&again) == hash(&base) && again.is_same(&base));
    }
}
