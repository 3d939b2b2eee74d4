//! Whom an agent trusts, and what it shows to be trusted.

use std::sync::Arc;

use opamp::v1::{TlsCertificate, TlsConnectionSettings};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// Bytes to and from a server, in the clear or inside TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Authorities, a certificate and a token; each may be missing. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trust {
    tls: Option<TlsConnector>,
    /// What the connector was made from, for another one.
    made: Option<Arc<Made>>,
    bearer: Option<Arc<str>>,
}

/// Authorities, and whether there was a certificate; PEM.
#[derive(PartialEq, Eq)]
struct Made {
    authorities: Vec<u8>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Trust {
    /// The same as connection settings want it: other authorities if they name some, and their
    /// certificate or none.
    pub(super) fn told(
        &self,
        tls: Option<&TlsConnectionSettings>,
        certificate: Option<&TlsCertificate>,
    ) -> Result<Self, Error> {
        if tls.is_some_and(|tls| tls.insecure_skip_verify) {
            return Err(Error::Trust("this agent looks at every certificate".to_owned()));
        }
        let known = self.made.as_ref().map(|made| &made.authorities[..]);
        let told = tls.map(|tls| tls.ca_pem_contents.as_bytes()).filter(|pem| !pem.is_empty());
        let own = certificate.map(|it| (&it.cert[..], &it.private_key[..]));
        match told.or(known) {
            Some(authorities) => self.clone().authorities(authorities, own),
            None if own.is_some() => {
                Err(Error::Trust("a certificate is of no use without authorities".to_owned()))
            }
            None => Ok(self.clone()),
        }
    }

    /// Whether the same are trusted, and the same is shown.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.made == other.made && self.bearer == other.bearer
    }

    /// Trusts servers with a certificate of these authorities (PEM), and shows them a certificate
    /// of its own (chain and key, both PEM) if it has one.
    pub fn authorities(
        mut self,
        authorities: &[u8],
        own: Option<(&[u8], &[u8])>,
    ) -> Result<Self, Error> {
        let wrong =
            |what: &str, error: &dyn std::fmt::Display| Error::Trust(format!("{what}: {error}"));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            roots.add(certificate).map_err(|error| wrong("authorities", &error))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("TLS", &error))?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| wrong("key", &e))?;
                let own = builder.with_client_auth_cert(certificates(chain)?, key);
                own.map_err(|error| wrong("certificate", &error))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.tls = Some(Arc::new(config).into());
        let own = own.map(|(chain, key)| (chain.to_vec(), key.to_vec()));
        self.made = Some(Arc::new(Made { authorities: authorities.to_vec(), own }));
        Ok(self)
    }

    /// Shows this token with every request.
    pub fn token(mut self, token: &str) -> Self {
        self.bearer = Some(format!("Bearer {token}").into());
        self
    }

    /// Value of the `Authorization` header.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// Speaks TLS to a server of this name.
    pub(super) async fn secure(&self, stream: TcpStream, host: &str) -> Result<Box<dyn Io>, Error> {
        let none = || Error::Trust("TLS to a server needs authorities to trust".to_owned());
        let tls = self.tls.as_ref().ok_or_else(none)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| Error::Trust(error.to_string()))?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tls, token) = (self.tls.is_some(), self.bearer.is_some());
        f.debug_struct("Trust").field("tls", &tls).field("token", &token).finish()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| Error::Trust(format!("certificate: {error}")))?;
    match found.is_empty() {
        true => Err(Error::Trust("no certificate in the PEM".to_owned())),
        false => Ok(found),
    }
}
