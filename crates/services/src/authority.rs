//! Certificates for tests: an authority of its own, and what it signs, as PEM files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// A certificate authority. Its files go with it.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, like no other.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = named("authority", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let dir = tempfile::tempdir()?;
        let authority = Self { issuer, dir };
        std::fs::write(authority.file(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// The authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Its folder, for other files of a test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A certificate for a server at `localhost` and 127.0.0.1. The same file name again replaces
    /// the files.
    pub fn server(&self, name: &str) -> anyhow::Result<Pair> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.sign(name, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client of this name.
    pub fn client(&self, name: &str) -> anyhow::Result<Pair> {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        name: &str,
        alternatives: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<Pair> {
        let mut params = named(name, alternatives)?;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let at = |kind: &str| self.dir.path().join(format!("{name}.{kind}.pem"));
        let pair = Pair { certificate: at("cert"), key: at("key") };
        std::fs::write(&pair.certificate, certificate.pem()).context("writing a certificate")?;
        std::fs::write(&pair.key, key.serialize_pem()).context("writing a key")?;
        Ok(pair)
    }
}

fn named(name: &str, alternatives: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
