//! What keeps strangers out of a NATS or Redis: TLS with a certificate of a test's authority, a
//! user with a password, and for some a certificate of the client too.

use std::path::PathBuf;

use crate::{Authority, Pair};

/// The only user of a server with a lock.
pub const USER: &str = "muster";
/// The user's password. It holds what URLs must escape.
pub const PASSWORD: &str = "hunter2@home/%41";

/// How a server is locked.
#[derive(Debug, Clone)]
pub struct Lock {
    pair: Pair,
    authority: PathBuf,
    asks_certificate: bool,
}

impl Lock {
    /// With a new certificate of this authority for the server.
    pub fn new(authority: &Authority) -> anyhow::Result<Self> {
        let pair = authority.server("service")?;
        Ok(Self { pair, authority: authority.file(), asks_certificate: false })
    }

    /// The same, and clients show a certificate of the authority.
    #[must_use]
    pub fn asking_certificate(self) -> Self {
        Self { asks_certificate: true, ..self }
    }

    /// Settings of NATS.
    pub fn nats(&self) -> String {
        let (certificate, key, authority, verify) = self.parts();
        format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {authority:?}, \
             verify: {verify} }}\n\
             authorization {{ user: {USER:?}, password: {PASSWORD:?} }}\n"
        )
    }

    /// Settings of Redis. The default user is off, yet keeps its rights: Redis reads its log as
    /// that user, and drops the transactions that it may not do.
    pub(crate) fn redis(&self) -> String {
        let (certificate, key, authority, verify) = self.parts();
        let clients = if verify { "yes" } else { "no" };
        format!(
            "tls-cert-file {certificate:?}\ntls-key-file {key:?}\ntls-ca-cert-file {authority:?}\n\
             tls-auth-clients {clients}\nuser default off ~* &* +@all\n\
             user {USER} on >{PASSWORD} ~* &* +@all\n"
        )
    }

    fn parts(&self) -> (&PathBuf, &PathBuf, &PathBuf, bool) {
        (&self.pair.certificate, &self.pair.key, &self.authority, self.asks_certificate)
    }
}
