//! Who this process is to NATS and Redis, and which ones it believes: files beside the URLs.
//! Settings hold only their names. What is in them is read when a connection is first made, so
//! that no secret lies about in settings.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bus::NatsAccess;
use store::RedisAccess;

use crate::exit::Failure;
use crate::limits::SECRET_BYTES_MAX;

/// The files for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// What its flags start with.
    pub(crate) service: &'static str,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) password: Option<PathBuf>,
    /// Of NATS only.
    pub(crate) creds: Option<PathBuf>,
}

impl Access {
    /// Refuses what cannot work together, or with this URL.
    pub(super) fn check(mut self, url: Option<&str>) -> anyhow::Result<Self> {
        let service = self.service;
        for file in [
            &mut self.ca,
            &mut self.certificate,
            &mut self.key,
            &mut self.password,
            &mut self.creds,
        ] {
            // Empty counts as not given, as with URLs.
            *file = file.take().filter(|path| !path.as_os_str().is_empty());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Failure::usage(format!(
                "--{service}-cert-file and --{service}-key-file belong together"
            )));
        }
        if self.creds.is_some() && self.password.is_some() {
            return Err(Failure::usage(format!(
                "--{service}-creds and --{service}-password-file are two ways to log in: \
                 give one"
            )));
        }
        let tls = [("ca-file", &self.ca), ("cert-file", &self.certificate)];
        let login = [("password-file", &self.password), ("creds", &self.creds)];
        let given = |flags: [(&'static str, &Option<PathBuf>); 2]| {
            flags.into_iter().find_map(|(flag, path)| path.is_some().then_some(flag))
        };
        match (url, given(tls), given(login)) {
            (None, Some(flag), _) | (None, _, Some(flag)) => {
                Err(Failure::usage(format!("--{service}-{flag} is of use with --{service} only")))
            }
            (Some(url), Some(flag), _) if url.starts_with("redis://") => Err(Failure::usage(
                format!("--{service}-{flag} means TLS: write the URL as rediss://HOST:PORT"),
            )),
            _ => Ok(self),
        }
    }

    pub(crate) fn nats(&self) -> anyhow::Result<NatsAccess> {
        // The client reads these itself, each time it connects: here they are only looked at.
        self.ca()?;
        self.pair()?;
        Ok(NatsAccess {
            password: self.secret("password-file", self.password.as_deref())?,
            credentials: self.secret("creds", self.creds.as_deref())?,
            ca_file: self.ca.clone(),
            certificate_files: self.certificate.clone().zip(self.key.clone()),
        })
    }

    pub(crate) fn redis(&self) -> anyhow::Result<RedisAccess> {
        Ok(RedisAccess {
            password: self.secret("password-file", self.password.as_deref())?,
            ca: self.ca()?,
            certificate: self.pair()?,
        })
    }

    fn ca(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.pem("ca-file", self.ca.as_deref(), "CERTIFICATE")
    }

    fn pair(&self) -> anyhow::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let certificate = self.pem("cert-file", self.certificate.as_deref(), "CERTIFICATE")?;
        let key = self.pem("key-file", self.key.as_deref(), "PRIVATE KEY")?;
        Ok(certificate.zip(key))
    }

    fn pem(&self, flag: &str, path: Option<&Path>, kind: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = path else { return Ok(None) };
        let text = self.read(flag, path)?;
        if !text.contains(&format!("{kind}-----")) {
            return Err(self.bad(flag, path, &format!("there is no {kind} in it, as PEM")));
        }
        Ok(Some(text.into_bytes()))
    }

    /// A line end after a secret is the editor's.
    fn secret(&self, flag: &str, path: Option<&Path>) -> anyhow::Result<Option<String>> {
        let Some(path) = path else { return Ok(None) };
        let text = self.read(flag, path)?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(self.bad(flag, path, "it is empty")),
            secret => Ok(Some(secret.to_owned())),
        }
    }

    fn read(&self, flag: &str, path: &Path) -> anyhow::Result<String> {
        use std::io::Read as _;
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
        read.map_err(|error| Failure::usage(error.to_string()))
            .with_context(|| format!("--{}-{flag} {}", self.service, path.display()))?;
        if text.len() as u64 > SECRET_BYTES_MAX {
            let reason = format!("it has more than {SECRET_BYTES_MAX} bytes");
            return Err(self.bad(flag, path, &reason));
        }
        Ok(text)
    }

    fn bad(&self, flag: &str, path: &Path, reason: &str) -> anyhow::Error {
        Failure::usage(format!("--{}-{flag} {}: {reason}", self.service, path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        Some(text.into())
    }

    #[test]
    fn what_cannot_work_is_refused_by_flag() {
        let access = |service| Access { service, ..Access::default() };
        let said = |access: Access, url| match access.check(url) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        let alone = Access { certificate: path("c"), ..access("bus") };
        assert!(said(alone, Some("tls://h")).contains("--bus-key-file belong together"));
        let both = Access { creds: path("c"), password: path("p"), ..access("bus") };
        assert!(said(both, Some("tls://h")).contains("two ways to log in"));
        let open = Access { ca: path("c"), ..access("store") };
        assert!(said(open.clone(), Some("redis://h")).contains("write the URL as rediss://"));
        assert!(said(open.clone(), None).contains("--store-ca-file is of use with --store only"));
        assert_eq!(said(open, Some("rediss://h")), "");
        assert_eq!(said(Access { ca: path(""), ..access("store") }, None), "");
    }

    #[test]
    fn files_are_read_and_named_where_they_are_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let access = Access { service: "store", ..Access::default() };
        let good = Access { password: file("pw", "hunter2 \r\n"), ..access.clone() };
        assert_eq!(good.redis().unwrap().password.as_deref(), Some("hunter2 "));
        for (bad, reason) in [
            (Access { password: file("empty", "\n"), ..access.clone() }, "it is empty"),
            (Access { password: path("/nowhere"), ..access.clone() }, "No such file"),
            (Access { ca: file("ca", "text"), ..access.clone() }, "there is no CERTIFICATE in it"),
            (Access { password: file("big", &"x".repeat(2 << 20)), ..access }, "more than"),
        ] {
            let said = format!("{:#}", bad.redis().unwrap_err());
            assert!(said.contains(reason) && said.starts_with("--store-"), "{said}");
        }
    }
}
