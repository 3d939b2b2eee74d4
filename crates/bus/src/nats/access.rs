//! Who this process is to NATS, and which NATS it believes.
//!
//! Credentials leave the URL here: the client does not take them from there, and its own logs
//! name the servers it tries.

use std::fmt;
use std::path::PathBuf;

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::Error;

/// What NATS asks of those who come, and they of it.
#[derive(Clone, Default)]
pub struct NatsAccess {
    /// Password of the URL's user; without a user there, a token.
    pub password: Option<String>,
    /// What a `.creds` file holds: a user's JWT and the seed of its key.
    pub credentials: Option<String>,
    /// Authorities (PEM) that the server's certificate must be of, instead of the machine's. The
    /// client reads this file and the two below again for each connection it makes.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key (PEM) to show to a server that asks for them.
    pub certificate_files: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for NatsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsAccess").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

/// Where to go and what to show there.
pub(super) struct Way<'a> {
    servers: Vec<ServerAddr>,
    login: Login<'a>,
    access: &'a NatsAccess,
}

enum Login<'a> {
    Nobody,
    Token(String),
    Password(String, String),
    Credentials(&'a str),
}

impl<'a> Way<'a> {
    pub(super) fn new(url: &str, access: &'a NatsAccess) -> Result<Self, Error> {
        let (mut servers, mut named) = (Vec::new(), None);
        for part in url.split(',') {
            // Not repeated in the error: it may hold a password.
            let server: ServerAddr = part.trim().parse().map_err(|_| bad("is not valid"))?;
            let user = server.username().map(decoded).transpose()?;
            let password = server.password().map(decoded).transpose()?;
            named = named.or(user.map(|user| (user, password)));
            servers.push(bare(server)?);
        }
        let login = match (&access.credentials, &access.password, named) {
            (Some(_), None, None) | (None, None, None) => {
                access.credentials.as_deref().map_or(Login::Nobody, Login::Credentials)
            }
            (Some(_), ..) => {
                return Err(bad("or a password comes beside the credentials file: give only one"));
            }
            (None, Some(_), Some((_, Some(_)))) => {
                return Err(bad("holds a password, and another one is given: give only one"));
            }
            (None, Some(password), Some((user, None))) => Login::Password(user, password.clone()),
            (None, Some(token), None) => Login::Token(token.clone()),
            (None, None, Some((user, Some(password)))) => Login::Password(user, password),
            (None, None, Some((token, None))) => Login::Token(token),
        };
        Ok(Self { servers, login, access })
    }

    pub(super) fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// Adds all of it to the options of a connection.
    pub(super) fn take(&self, options: ConnectOptions) -> Result<ConnectOptions, Error> {
        let mut options = match &self.login {
            Login::Nobody => options,
            Login::Token(token) => options.token(token.clone()),
            Login::Password(user, password) => {
                options.user_and_password(user.clone(), password.clone())
            }
            Login::Credentials(text) => options.credentials(text).map_err(|_| {
                let reason = "the NATS credentials hold no user JWT with the seed of its key";
                Error::Refused(reason.to_owned())
            })?,
        };
        // Who names authorities or shows a certificate means TLS, whatever the server offers.
        if let Some(file) = &self.access.ca_file {
            options = options.add_root_certificates(file.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &self.access.certificate_files {
            let (certificate, key) = (certificate.clone(), key.clone());
            options = options.add_client_certificate(certificate, key).require_tls(true);
        }
        Ok(options)
    }

    /// Why it is of no use to try again, if it is not.
    pub(super) fn refusal(&self, error: &ConnectError) -> Option<String> {
        let login = match self.login {
            Login::Nobody => "a client without credentials",
            Login::Token(_) => "the token",
            Login::Password(..) => "the user and password",
            Login::Credentials(_) => "the credentials file",
        };
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => Some(format!("NATS refuses {login}")),
            ConnectErrorKind::Authentication => Some(format!("{login} cannot sign: {error}")),
            ConnectErrorKind::Tls => Some(format!("TLS with NATS cannot be set up: {error}")),
            ConnectErrorKind::Io => tls_reason(error).map(|reason| self.untrusted(&reason)),
            _ => None,
        }
    }

    fn untrusted(&self, reason: &str) -> String {
        // Authorities of the same name differ in what they sign.
        let stranger = reason.contains("UnknownIssuer") || reason.contains("BadSignature");
        let hint = match &self.access.ca_file {
            Some(_) if stranger => ": not signed by the given CA",
            None if stranger => ": not signed by an authority this machine knows; give its CA",
            _ if reason.contains("CertificateRequired") => ": it asks for a client certificate",
            _ if reason.contains("corrupt message") => ": it seems to speak no TLS",
            _ => "",
        };
        format!("TLS with NATS failed: {reason}{hint}")
    }
}

/// What TLS says: it speaks through errors of reading and writing, as data that is not right.
fn tls_reason(error: &ConnectError) -> Option<String> {
    let source = std::error::Error::source(error)?;
    let error = source.downcast_ref::<std::io::Error>()?;
    (error.kind() == std::io::ErrorKind::InvalidData).then(|| error.to_string())
}

fn bare(server: ServerAddr) -> Result<ServerAddr, Error> {
    let mut url = server.into_inner();
    if !url.username().is_empty() || url.password().is_some() {
        url.set_username("").map_err(|()| bad("is not valid"))?;
        url.set_password(None).map_err(|()| bad("is not valid"))?;
    }
    ServerAddr::from_url(url).map_err(|_| bad("is not valid"))
}

fn decoded(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| bad("holds credentials that are not UTF-8"))
}

fn bad(what: &str) -> Error {
    Error::Refused(format!("the bus URL {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: &str, access: &NatsAccess) -> Result<String, String> {
        let way = Way::new(url, access).map_err(|error| error.to_string())?;
        let servers: Vec<_> = way.servers().iter().map(ServerAddr::as_url_str).collect();
        let said = match &way.login {
            Login::Nobody => "nobody".to_owned(),
            Login::Token(token) => format!("token {token}"),
            Login::Password(user, password) => format!("{user}/{password}"),
            Login::Credentials(text) => format!("creds {text}"),
        };
        Ok(format!("{said} at {}", servers.join(",")))
    }

    #[test]
    fn credentials_leave_the_url() {
        let none = NatsAccess::default();
        let file = NatsAccess { password: Some("pw".to_owned()), ..none.clone() };
        let is = |url, access, is: &str| assert_eq!(login(url, access).unwrap(), is);
        is("nats://h:1", &none, "nobody at nats://h:1");
        is("tls://a:p%40ss@h:1,tls://i:2", &none, "a/p@ss at tls://h:1,tls://i:2");
        is("nats://secret@h:1", &none, "token secret at nats://h:1");
        is("nats://a@h:1", &file, "a/pw at nats://h:1");
        is("nats://h:1", &file, "token pw at nats://h:1");
    }

    #[test]
    fn two_logins_are_one_too_many_and_none_is_repeated() {
        let password = Some("hunter2".to_owned());
        let both = NatsAccess { password: password.clone(), ..NatsAccess::default() };
        let creds = NatsAccess { credentials: password, ..NatsAccess::default() };
        for (url, access) in [
            ("nats://a:hunter2@h:1", &both),
            ("nats://hunter2@h:1", &creds),
            ("nats://a:hunter2@h:port", &NatsAccess::default()),
        ] {
            let refused = login(url, access).unwrap_err();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
