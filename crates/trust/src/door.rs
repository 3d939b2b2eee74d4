//! A door: how a connection comes in, and whose it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::files::Keeper;
use crate::tls::TlsFiles;
use crate::{Error, Holder, Stream, Tokens};

/// The files a door is made from; none at all make an open one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Certificate chain and its key, both PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Authorities that a client's certificate must be of. Only with a certificate of our own.
    pub client_ca: Option<PathBuf>,
    /// Names and tokens.
    pub tokens: Option<PathBuf>,
}

/// A way in.
#[derive(Debug, Clone, Default)]
pub struct Door {
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    tokens: Option<watch::Receiver<Arc<Tokens>>>,
}

/// Nobody in particular, where a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It showed no token.
    #[error("a token is needed: authorization: Bearer TOKEN")]
    Missing,
    /// It showed one that nobody holds.
    #[error("the token is not known")]
    Unknown,
}

impl Files {
    /// Whether what is said is hidden from who listens in.
    pub fn is_private(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whether strangers are turned away.
    pub fn asks_who(&self) -> bool {
        self.client_ca.is_some() || self.tokens.is_some()
    }

    /// The door these files make, for one protocol inside TLS (`http/1.1`, `h2`). The keeper
    /// follows them.
    pub fn door(&self, protocol: &'static [u8], keeper: &mut Keeper) -> Result<Door, Error> {
        let tls = self.certificate.as_ref().map(|(certificate, key)| {
            let files = TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.client_ca.clone(),
            };
            keeper.follow(files.all(), move |files| TlsFiles::server(files, protocol))
        });
        let tokens = self.tokens.as_ref().map(|path| {
            let tokens = keeper.follow(vec![path.clone()], |files| {
                let path = &files[0].path;
                let text = std::str::from_utf8(&files[0].bytes);
                Tokens::parse(path, text.map_err(|_| Error::file(path, "is not text"))?)
            })?;
            // To begin with it is a mistake. Later it takes the last token out.
            match tokens.borrow().is_empty() {
                true => Err(Error::file(path, "there is no token in it, so nobody could come in")),
                false => Ok(tokens.clone()),
            }
        });
        Ok(Door { tls: tls.transpose()?, tokens: tokens.transpose()? })
    }
}

impl Door {
    /// Lets a connection in. With TLS this waits for the peer: bound it in time.
    pub async fn open<IO>(&self, stream: IO) -> io::Result<Stream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let config = tls.borrow().clone();
        // Apart: what it takes is large, and soon over.
        let stream = Box::pin(TlsAcceptor::from(config).accept(stream)).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Whose it is, by the value of an `Authorization` header; `None` where nobody asks.
    pub fn admit(&self, authorization: Option<&[u8]>) -> Result<Option<Arc<Holder>>, Refused> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let token = authorization.and_then(bearer).ok_or(Refused::Missing)?;
        let holder = tokens.borrow().holder(token);
        holder.map(Some).ok_or(Refused::Unknown)
    }

    /// Whether somebody who was admitted still would be.
    pub fn admits_still(&self, holder: Option<&Holder>) -> bool {
        match (&self.tokens, holder) {
            (Some(tokens), Some(holder)) => tokens.borrow().still_good(holder),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Waits until other tokens count; for ever where nobody asks.
    pub async fn until_tokens_change(&mut self) {
        if let Some(tokens) = &mut self.tokens
            && tokens.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Waits until somebody who was admitted no longer would be; for ever where nobody asks.
    pub async fn until_refused(&self, holder: Option<Arc<Holder>>) {
        if let Some(mut tokens) = self.tokens.clone() {
            let refused = |tokens: &Arc<Tokens>| match &holder {
                Some(holder) => !tokens.still_good(holder),
                None => true,
            };
            if tokens.wait_for(refused).await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// The token in `Bearer TOKEN`.
pub(crate) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let authorization = authorization.trim_ascii();
    let (scheme, token) = authorization.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearers_of_known_tokens_come_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "alice 0123456789abcdef\n").unwrap();
        let files = Files { tokens: Some(path), ..Files::default() };
        let mut keeper = Keeper::default();
        let door = files.door(b"h2", &mut keeper).unwrap();
        let admit = |text: &str| door.admit(Some(text.as_bytes()));
        let alice = admit("Bearer 0123456789abcdef").unwrap();
        assert_eq!(&*alice.clone().unwrap().name, "alice");
        assert!(admit("  bEARER   0123456789abcdef ").is_ok());
        assert_eq!(admit("Bearer 0123456789abcdeg"), Err(Refused::Unknown));
        for missing in ["", "Bearer", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert_eq!(admit(missing), Err(Refused::Missing), "{missing}");
        }
        assert_eq!(door.admit(None), Err(Refused::Missing));
        assert!(door.admits_still(alice.as_deref()) && !door.admits_still(None));
        let path = files.tokens.clone().unwrap();
        std::fs::write(&path, "# nobody\n").unwrap();
        (0..2).for_each(|_| keeper.look());
        assert!(!door.admits_still(alice.as_deref()), "the last token can be taken out");
        let error = files.door(b"h2", &mut Keeper::default()).unwrap_err().to_string();
        assert!(error.contains("no token"), "but nothing starts that way: {error}");
        assert_eq!(Door::default().admit(None), Ok(None), "an open door asks nobody");
        assert!(Door::default().admits_still(None));
    }
}
