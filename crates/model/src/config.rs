//! Configs: named, immutable, numbered sets of files, and the hash that names their content.

use std::collections::BTreeMap;

use opamp::v1::AgentConfigFile;
use sha2::{Digest as _, Sha256};

use crate::Timestamp;
use crate::hash::{self, digest};

digest! {
    /// SHA-256 over the canonical form of a config's files: what agents are offered and report.
    ConfigHash
}

/// Names this hash's input; another kind of content or a new canonical form takes another tag.
const DOMAIN_TAG: &[u8] = b"muster config 1\0";

impl ConfigHash {
    /// The hash of these files. Sorted by key, every field length-prefixed, so that no two
    /// different sets of files share an input. The result is golden: changing it would offer
    /// every config in the world again.
    pub fn of(files: &BTreeMap<String, AgentConfigFile>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN_TAG);
        hasher.update((files.len() as u64).to_be_bytes());
        for (key, file) in files {
            for field in
                [key.as_bytes(), &file.body[..], file.content_type.as_bytes(), file.role.as_bytes()]
            {
                hash::field(&mut hasher, field);
            }
        }
        Self(hasher.finalize().into())
    }
}

/// One revision of a config, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionRef {
    /// The config's name.
    pub config: String,
    /// The revision's number, from 1.
    pub revision: u64,
    /// Its content.
    pub hash: ConfigHash,
}

/// A named config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its revisions, numbered from 1 without holes, oldest first.
    pub revisions: Vec<Revision>,
}

/// One immutable revision; its body lies in the blob table under its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// Its content.
    pub hash: ConfigHash,
    /// When it was made.
    pub created: Timestamp,
    /// Bytes of all bodies.
    pub size_bytes: u64,
    /// Names of its files.
    pub keys: Vec<String>,
    /// Who made it, by the name of their token.
    pub actor: String,
}

impl Config {
    /// The newest revision.
    pub fn latest(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The revision of this number.
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str, &str, &str)]) -> BTreeMap<String, AgentConfigFile> {
        list.iter()
            .map(|(key, body, content_type, role)| {
                let file = AgentConfigFile {
                    body: body.as_bytes().to_vec().into(),
                    content_type: (*content_type).to_owned(),
                    role: (*role).to_owned(),
                };
                ((*key).to_owned(), file)
            })
            .collect()
    }

    #[test]
    fn golden() {
        let hash = ConfigHash::of(&files(&[("", "receivers: {}\n", "text/yaml", "")]));
        assert_eq!(
            hash.to_string(),
            "1d3342b4d929fbd59e4a9146f0cde0098cb541397a0597607b7b12a908ee316e"
        );
    }

    #[test]
    fn every_byte_counts() {
        let base = ConfigHash::of(&files(&[("a", "b", "c", "d")]));
        for other in [
            files(&[("ab", "", "c", "d")]),
            files(&[("a", "bc", "", "d")]),
            files(&[("a", "b", "cd", "")]),
            files(&[("a", "b", "c", "d"), ("", "", "", "")]),
            files(&[]),
        ] {
            assert_ne!(ConfigHash::of(&other), base, "{other:?}");
        }
    }
}
