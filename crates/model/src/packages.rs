//! Packages: versions with one variant per kind of agent, sets of them, and the hashes that name
//! what an agent is offered.

use opamp::v1::PackageAvailable;
use sha2::{Digest as _, Sha256};

use crate::hash::{self, digest};
use crate::selector::{Labels, Selector};

digest! {
    /// SHA-256 over all that is said of one variant of a package, its file's content hash included.
    PackageHash
}

digest! {
    /// SHA-256 over the names and hashes of all packages of an offer: `all_packages_hash`.
    PackagesHash
}

/// Names a hash's input; another canonical form takes another tag.
const PACKAGE_TAG: &[u8] = b"muster package 1\0";
const PACKAGES_TAG: &[u8] = b"muster packages 1\0";

/// What one kind of agent gets of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Agents that it is for.
    pub selector: Selector,
    /// What they get: names an encoded PackageAvailable among the blobs.
    pub hash: PackageHash,
}

/// One package of a set, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChoice {
    /// Its name; empty for a sole top-level package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The first that selects an agent is what that gets.
    pub variants: Vec<Variant>,
}

/// One revision of a package set, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSetRef {
    /// The set's name.
    pub set: String,
    /// The revision's number, from 1.
    pub revision: u64,
    /// Its packages, sorted by name.
    pub packages: Vec<PackageChoice>,
}

/// What a set comes to for one agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagesOffer {
    /// The set's name.
    pub set: String,
    /// The set's revision.
    pub revision: u64,
    /// Of all of it.
    pub hash: PackagesHash,
    /// Its packages and what the agent gets of each, sorted by name.
    pub packages: Vec<(String, PackageHash)>,
}

impl PackageHash {
    /// The hash of a package for one kind of agent. Where we serve the file, the address it is
    /// fetched from and the headers for that are not part of it: another address is no other
    /// package. The result is golden.
    pub fn of(name: &str, package: &PackageAvailable) -> Self {
        let file = package.file.clone().unwrap_or_default();
        let mut hasher = Sha256::new();
        hasher.update(PACKAGE_TAG);
        hasher.update(package.r#type.to_be_bytes());
        let (version, url) = (package.version.as_bytes(), file.download_url.as_bytes());
        for field in [name.as_bytes(), version, url, &file.content_hash, &file.signature] {
            hash::field(&mut hasher, field);
        }
        // Only a file that somebody else serves has headers in the catalogue.
        for header in file.headers.iter().flat_map(|headers| &headers.headers) {
            hash::field(&mut hasher, header.key.as_bytes());
            hash::field(&mut hasher, header.value.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

impl PackagesHash {
    /// The hash of packages that are sorted by name. The result is golden.
    pub fn of(packages: &[(String, PackageHash)]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(PACKAGES_TAG);
        hasher.update((packages.len() as u64).to_be_bytes());
        for (name, hash) in packages {
            hash::field(&mut hasher, name.as_bytes());
            hasher.update(hash.0);
        }
        Self(hasher.finalize().into())
    }
}

impl PackagesOffer {
    /// Names this revision for this agent: a set that failed may be tried again as another one.
    pub fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hash::field(&mut hasher, self.set.as_bytes());
        hasher.update(self.revision.to_be_bytes());
        hasher.update(self.hash.0);
        hasher.finalize().into()
    }
}

impl PackageSetRef {
    /// Names its content, as one decision.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hash::field(&mut hasher, self.set.as_bytes());
        hasher.update(self.revision.to_be_bytes());
        for variant in self.packages.iter().flat_map(|choice| &choice.variants) {
            hasher.update(variant.hash.0);
        }
        hasher.finalize().into()
    }

    /// What an agent is to have. Nothing, if any package has no variant for it: it would delete
    /// what is not in the offer.
    pub fn offer(&self, agent: &impl Labels) -> Option<PackagesOffer> {
        let chosen = |choice: &PackageChoice| {
            let variant = choice.variants.iter().find(|it| it.selector.matches(agent))?;
            Some((choice.package.clone(), variant.hash))
        };
        let packages: Vec<_> = self.packages.iter().map(chosen).collect::<Option<_>>()?;
        let hash = PackagesHash::of(&packages);
        Some(PackagesOffer { set: self.set.clone(), revision: self.revision, hash, packages })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use opamp::v1::{DownloadableFile, PackageType};

    use super::*;

    fn package(version: &str, content: u8) -> PackageAvailable {
        PackageAvailable {
            r#type: PackageType::TopLevel.into(),
            version: version.to_owned(),
            file: Some(DownloadableFile { content_hash: vec![content; 32], ..Default::default() }),
            hash: Vec::new(),
        }
    }

    #[test]
    fn golden() {
        let hash = PackageHash::of("collector", &package("0.99.0", 7));
        assert_eq!(
            hash.to_string(),
            "9c773b4806d8b79426a50ee3f88f5511695628a0132087d6d1c1f029c00dfc30"
        );
        assert_eq!(
            PackagesHash::of(&[("collector".to_owned(), hash)]).to_string(),
            "5a63d3b09d1fb758678e09619cd31e6f0d939f00e1f76ccd07b22fc0a610d890"
        );
    }

    #[test]
    fn all_that_is_said_of_a_package_counts() {
        let base = PackageHash::of("collector", &package("1", 7));
        let mut signed = package("1", 7);
        signed.file.as_mut().unwrap().signature = vec![1];
        let addon = PackageAvailable { r#type: PackageType::Addon.into(), ..package("1", 7) };
        let others = [
            PackageHash::of("collectors", &package("1", 7)),
            PackageHash::of("collector", &package("2", 7)),
            PackageHash::of("collector", &package("1", 8)),
            PackageHash::of("collector", &signed),
            PackageHash::of("collector", &addon),
        ];
        assert!(others.iter().all(|other| *other != base), "{others:?}");
    }

    struct Os(&'static str);

    impl Labels for Os {
        fn value(&self, key: &str) -> Option<Cow<'_, str>> {
            (key == "os.type").then_some(Cow::Borrowed(self.0))
        }
    }

    #[test]
    fn a_set_is_whole_for_an_agent_or_not_offered() {
        let variant = |selector: &str, hash| Variant {
            selector: Selector::parse(selector).unwrap(),
            hash: PackageHash([hash; 32]),
        };
        let choice = |package: &str, variants| PackageChoice {
            package: package.to_owned(),
            version: "1".to_owned(),
            variants,
        };
        let everywhere = choice("addon", vec![variant("", 1)]);
        let some = vec![variant("os.type=linux", 2), variant("os.type in (linux,darwin)", 3)];
        let packages = vec![everywhere, choice("collector", some)];
        let set = PackageSetRef { set: "edge".to_owned(), revision: 4, packages };
        let of = |os| set.offer(&Os(os)).map(|offer| offer.packages[1].1.0[0]);
        assert_eq!((of("linux"), of("darwin"), of("windows")), (Some(2), Some(3), None));
    }
}
