//! Which server, and as whom: flags over environment over the context in use over the default.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::contexts::{Context, Contexts};
use crate::exit::Failure;

/// The server where nobody says which.
const DEFAULT_SERVER: &str = "http://127.0.0.1:4321";

/// Where the server is and who asks.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Target {
    /// Control API of the server [default: http://127.0.0.1:4321]
    #[arg(long, global = true, value_name = "URL", env = "MUSTER_SERVER")]
    server: Option<String>,
    /// Authorities that the server's certificate may be of, as PEM [default: the system's]
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// File with the token to show; MUSTER_TOKEN may hold the token itself
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The token itself: only from the environment, since others can read command lines
    #[arg(long = "token-from-environment", global = true, hide = true, env = "MUSTER_TOKEN")]
    #[arg(hide_env_values = true)]
    token: Option<String>,
    /// Certificate to show to the server, as PEM
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CERT_FILE")]
    cert_file: Option<PathBuf>,
    /// Key of that certificate, as PEM
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Context to use for what is not said here: see `muster context`
    #[arg(long, global = true, value_name = "NAME", env = "MUSTER_CONTEXT")]
    context: Option<String>,
    /// File that contexts are kept in [default: ~/.config/muster/contexts.toml]
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CONTEXTS")]
    contexts: Option<PathBuf>,
}

/// A target with nothing left open.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) server: String,
    pub(super) endpoint: Endpoint,
    /// The token to show.
    pub(super) token: Option<String>,
}

impl Target {
    /// The contexts there are.
    pub(super) fn contexts(&self) -> anyhow::Result<Contexts> {
        Contexts::open(self.contexts.clone())
    }

    /// What the flags say, as a context to be kept.
    pub(super) fn said(&self) -> Context {
        Context {
            server: self.server.clone(),
            ca_file: self.ca_file.clone(),
            token_file: self.token_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
        }
    }

    /// Where to connect to, and what to show there.
    pub(super) fn resolve(&self) -> anyhow::Result<Resolved> {
        let context = self.contexts()?.find(self.context.as_deref())?;
        let said = self.said().over(context);
        let server = match said.server.as_deref() {
            None | Some("") => DEFAULT_SERVER.to_owned(),
            Some(url) if url.contains("://") => url.to_owned(),
            Some(host) => format!("http://{host}"),
        };
        let wrong = |reason: String| Failure::usage(format!("--server {server:?}: {reason}"));
        let endpoint = Endpoint::from_shared(server.clone()).map_err(|e| wrong(e.to_string()))?;
        let token = match &self.token {
            Some(token) if !token.is_empty() => Some(token.trim().to_owned()),
            _ => said.token_file.as_deref().map(token).transpose()?,
        };
        if server.starts_with("https://") {
            let endpoint = endpoint.tls_config(tls(&said)?).map_err(|e| wrong(e.to_string()))?;
            return Ok(Resolved { server, endpoint, token });
        }
        if said.ca_file.is_some() || said.cert_file.is_some() {
            return Err(wrong("certificates are for https://".to_owned()));
        }
        if token.is_some() && !is_local(&endpoint) {
            return Err(wrong("a token would be read on the way: use https://".to_owned()));
        }
        Ok(Resolved { server, endpoint, token })
    }
}

fn tls(said: &Context) -> anyhow::Result<ClientTlsConfig> {
    let mut tls = ClientTlsConfig::new();
    tls = match &said.ca_file {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read("--ca-file", path)?)),
        None => tls.with_native_roots(),
    };
    match (&said.cert_file, &said.key_file) {
        (None, None) => Ok(tls),
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (read("--cert-file", certificate)?, read("--key-file", key)?);
            Ok(tls.identity(Identity::from_pem(certificate, key)))
        }
        _ => Err(Failure::usage("--cert-file and --key-file belong together")),
    }
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read("--token-file", path)?).ok();
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.filter(|text| text.chars().all(|c| c.is_ascii_graphic())).ok_or_else(|| {
        Failure::usage(format!("--token-file {}: must hold a token alone", path.display()))
    })
}

fn read(flag: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(error.to_string()))
        .with_context(|| format!("{flag} {}", path.display()))
}

fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests;
