//! Certificates that are handed on to others: what can be told of them, and whether a key goes
//! with one. No error repeats any of their bytes.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::subject::Parts;

/// What anybody may know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The common name of its subject; empty without one that can be shown.
    pub subject: String,
    /// From when it is good, in seconds since the Unix epoch.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// SHA-256 of its public key with its algorithm: the same for a renewed certificate.
    pub key_sha256: [u8; 32],
    /// Whether it names itself as who signed it.
    pub self_issued: bool,
}

/// What the first certificate of a PEM file says.
pub fn facts(pem: &[u8]) -> Result<CertificateFacts, &'static str> {
    let first = chain(pem)?.swap_remove(0);
    let parts = Parts::of(&first).ok_or("the certificate in it cannot be read")?;
    let validity = parts.validity().ok_or("the certificate says no time that it is good for")?;
    Ok(CertificateFacts {
        subject: parts.common_name().unwrap_or_default().to_owned(),
        not_before: validity.0,
        not_after: validity.1,
        sha256: Sha256::digest(&first).into(),
        key_sha256: Sha256::digest(parts.key).into(),
        self_issued: parts.is_self_issued(),
    })
}

/// Whether a key (PEM) is the one of the first certificate of a file (PEM).
pub fn goes_with(certificate: &[u8], key: &[u8]) -> Result<(), &'static str> {
    let chain = chain(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no private key in it")?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map(drop)
        .map_err(|_| "is not the key of the certificate")
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or("there is no certificate in it, as PEM")
}

#[cfg(test)]
mod tests {
    use services::Authority;

    use super::*;

    #[test]
    fn a_certificate_is_told_by_its_facts_and_its_key() {
        let authority = Authority::new().unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let pair = authority.client(name).unwrap();
            [pair.certificate, pair.key].map(|path| std::fs::read(path).unwrap())
        });
        let known = facts(&one[0]).unwrap();
        assert_eq!((known.subject.as_str(), known.self_issued), ("one", false));
        assert!(known.not_before < known.not_after && known.not_after > 1_700_000_000);
        let other = facts(&two[0]).unwrap();
        assert!(known.sha256 != other.sha256 && known.key_sha256 != other.key_sha256);
        let root = facts(&std::fs::read(authority.file()).unwrap()).unwrap();
        assert!(root.self_issued);
        assert_eq!(goes_with(&one[0], &one[1]), Ok(()));
        assert_eq!(goes_with(&one[0], &two[1]), Err("is not the key of the certificate"));
        assert!(goes_with(&one[0], &one[0]).is_err() && facts(&one[1]).is_err());
        assert!(facts(b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----").is_err());
    }
}
