//! Who this process is to Redis, and which Redis it believes.

use std::fmt;
use std::sync::Arc;

use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, RedisResult, TlsCertificates,
};

use crate::Error;
use crate::limits::UNACKNOWLEDGED_TIMEOUT;

/// What Redis asks of those who come, and they of it.
#[derive(Clone, Default)]
pub struct RedisAccess {
    /// Password of the URL's user, or of the default one.
    pub password: Option<String>,
    /// Authorities (PEM) that the server's certificate must be of, instead of the machine's.
    pub ca: Option<Vec<u8>>,
    /// Certificate and key (PEM) to show to a server that asks for them.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAccess").finish_non_exhaustive()
    }
}

impl RedisAccess {
    /// Where and how to connect.
    pub(super) fn info(&self, url: &str) -> Result<ConnectionInfo, Error> {
        let unusable =
            |error: RedisError| Error::Refused(format!("the Redis URL cannot be used: {error}"));
        let info = connection_info(url).map_err(unusable)?;
        let redis = info.redis_settings();
        if self.password.is_some() && redis.password().is_some() {
            let reason = "the Redis URL holds a password, and another one is given: give only one";
            return Err(Error::Refused(reason.to_owned()));
        }
        let info = match &self.password {
            Some(password) => {
                let redis = redis.clone().set_password(password);
                info.set_redis_settings(redis)
            }
            None => info,
        };
        match self.certificates() {
            None => Ok(info),
            Some(certificates) => trusting(info, certificates),
        }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let client_tls = self
            .certificate
            .clone()
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let given = client_tls.is_some() || self.ca.is_some();
        given.then(|| TlsCertificates { client_tls, root_cert: self.ca.clone() })
    }

    /// Why it is of no use to try again, if it is not.
    pub(super) fn refusal(&self, error: &RedisError) -> Option<String> {
        if let Some((_, false, reason)) = state(error) {
            return Some(reason.to_owned());
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Some("the server refuses the user and password".to_owned());
        }
        if error.kind() == ErrorKind::InvalidClientConfig {
            return Some(format!("TLS cannot be set up: {error}"));
        }
        let reason = tls_reason(error)?;
        // Authorities of the same name differ in what they sign.
        let stranger = reason.contains("UnknownIssuer") || reason.contains("BadSignature");
        let hint = match &self.ca {
            Some(_) if stranger => ": not signed by the given CA",
            None if stranger => ": not signed by an authority this machine knows; give its CA",
            _ if reason.contains("CertificateRequired") => ": it asks for a client certificate",
            _ if reason.contains("corrupt message") => ": it seems to speak no TLS",
            _ => "",
        };
        Some(format!("TLS failed: {reason}{hint}"))
    }
}

/// What an error means that a server gives as long as it is in some state, by its first word:
/// whether another try can help, and what is the matter.
pub(super) fn state(error: &RedisError) -> Option<(&'static str, bool, &'static str)> {
    let code = error.code()?;
    STATES.iter().find(|(known, ..)| *known == code).copied()
}

/// Whether an error may have come while connecting, so that a new connection might do.
pub(super) fn may_be_of_the_connection(error: &RedisError) -> bool {
    let connecting = ["BUSY", "LOADING", "MASTERDOWN", "NOAUTH", "NOPERM", "WRONGPASS"];
    error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| connecting.contains(&code))
}

const STATES: &[(&str, bool, &str)] = &[
    ("BUSY", true, "a script or function keeps it busy"),
    ("CLUSTERDOWN", true, "its cluster is down"),
    ("LOADING", true, "it is still reading its data"),
    ("MASTERDOWN", true, "it is a replica that lost its master"),
    ("MISCONF", true, "it cannot save to disk and takes no writes"),
    ("NOREPLICAS", true, "it has too few replicas to take writes"),
    ("OOM", true, "its memory is full and it takes no writes (maxmemory)"),
    ("READONLY", true, "it is a replica and takes no writes"),
    ("TRYAGAIN", true, "its slots are on the move"),
    ("NOAUTH", false, "the server asks for a password"),
    ("NOPERM", false, "the user may not do this"),
    ("WRONGPASS", false, "the server refuses the user and password"),
];

/// What may be wrong when a server does not talk; without an error it said nothing at all.
pub(super) fn hint(tls: bool, error: Option<&RedisError>) -> &'static str {
    match (tls, error) {
        (true, None) => " (does it speak TLS on this port?)",
        (true, Some(error)) if error.is_timeout() => " (does it speak TLS on this port?)",
        // One that is not there is no sign of anything.
        (false, Some(error)) if error.is_connection_dropped() && !error.is_connection_refusal() => {
            " (does it want TLS, as rediss://?)"
        }
        _ => "",
    }
}

fn connection_info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    // RESP3 tells of a lost connection when it is lost, not with the next command.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp =
        info.tcp_settings().clone().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_TIMEOUT);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

fn trusting(info: ConnectionInfo, certificates: TlsCertificates) -> Result<ConnectionInfo, Error> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        let reason = "a CA or certificate is of use with rediss:// only";
        return Err(Error::Refused(reason.to_owned()));
    }
    let client = Client::build_with_tls(info, certificates);
    let unusable =
        |error| Error::Refused(format!("the CA or certificate for Redis cannot be used: {error}"));
    Ok(client.map_err(unusable)?.get_connection_info().clone())
}

/// What TLS says: it speaks through errors of reading and writing, as data that is not right.
fn tls_reason(error: &RedisError) -> Option<String> {
    let source = std::error::Error::source(error)?;
    let shared = source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let io = shared.downcast_ref::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::InvalidData).then(|| io.to_string())
}
