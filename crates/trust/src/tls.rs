//! A server's side of TLS, from PEM files.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;
use crate::files::Content;

/// The files of one door: certificate chain, key, and an authority that clients must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

impl TlsFiles {
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let some = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        some.into_iter().flatten().cloned().collect()
    }

    /// A server that speaks one protocol inside TLS. The files are those of [`TlsFiles::all`].
    pub(crate) fn server(files: &[Content], protocol: &[u8]) -> Result<ServerConfig, Error> {
        let [certificate, key, client_ca @ ..] = files else { unreachable!("there are two") };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for them");
        let builder = match client_ca.first() {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| Error::file(&file.path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(&key.bytes)
            .map_err(|_| Error::file(&key.path, "there is no private key in it, as PEM"))?;
        let mut config = builder.with_single_cert(chain, secret).map_err(|error| {
            let reason = format!("does not go with {}: {error}", certificate.path.display());
            Error::file(&key.path, reason)
        })?;
        config.alpn_protocols = vec![protocol.to_vec()];
        // Agents stay for days, and nothing they were let in by is to outlive its files.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

fn certificates(file: &Content) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Error::file(&file.path, "there is no certificate in it, as PEM")),
    }
}

fn authorities(file: &Content) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| Error::file(&file.path, error.to_string()))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use services::Authority;

    use super::*;
    use crate::{Files, Keeper};

    /// What is said of a door whose certificate, key and authority are these.
    fn said(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> String {
        let files = Files {
            certificate: Some((certificate.to_owned(), key.to_owned())),
            client_ca: client_ca.map(Path::to_owned),
            tokens: None,
        };
        let made = files.door(b"h2", &mut Keeper::default());
        made.map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn a_file_that_makes_no_door_is_named_with_its_reason() {
        let authority = Authority::new().unwrap();
        let (one, two) = (authority.server("one").unwrap(), authority.server("two").unwrap());
        let (ca, empty) = (authority.file(), authority.dir().join("empty"));
        std::fs::write(&empty, "").unwrap();
        assert_eq!(said(&one.certificate, &one.key, Some(&ca)), "");
        let named = |said: String, file: &Path, reason: &str| {
            let starts = format!("{}: ", file.display());
            assert!(said.starts_with(&starts) && said.contains(reason), "{said}");
        };
        named(said(&one.key, &one.key, None), &one.key, "no certificate");
        named(said(&one.certificate, &one.certificate, None), &one.certificate, "no private key");
        named(said(&one.certificate, &two.key, None), &two.key, "does not go with");
        named(said(&one.certificate, &one.key, Some(&empty)), &empty, "no certificate");
        let missing = authority.dir().join("missing");
        named(said(&one.certificate, &missing, None), &missing, "No such file");
    }

    #[test]
    fn a_certificate_counts_once_its_key_is_there() {
        let authority = Authority::new().unwrap();
        let (pair, next) = (authority.server("a").unwrap(), authority.server("b").unwrap());
        let files = TlsFiles {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            client_ca: None,
        };
        let mut keeper = Keeper::default();
        let mut followed =
            keeper.follow(files.all(), |files| TlsFiles::server(files, b"h2")).unwrap();
        std::fs::copy(&next.certificate, &pair.certificate).unwrap();
        (0..3).for_each(|_| keeper.look());
        assert!(!followed.has_changed().unwrap(), "half a change");
        std::fs::copy(&next.key, &pair.key).unwrap();
        (0..3).for_each(|_| keeper.look());
        assert!(followed.has_changed().unwrap());
        followed.mark_unchanged();
        (0..3).for_each(|_| keeper.look());
        assert!(!followed.has_changed().unwrap(), "taken once");
    }
}
