//! The doors of agents and operators: what each is made from, and whether it may stand open.

use std::net::SocketAddr;
use std::path::PathBuf;

use trust::{Door, Files, Keeper};

use super::Layer;
use crate::exit::Failure;

/// The files of both doors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) opamp: Files,
    pub(crate) control: Files,
    /// Agents must have credentials.
    pub(crate) credentials: bool,
}

/// The doors themselves.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) opamp: Door,
    pub(crate) control: Door,
    /// Follows their files.
    pub(crate) keeper: Keeper,
}

/// How a door's flags are called.
struct Flags {
    tls: &'static str,
    tokens: &'static str,
}

const OPAMP: Flags = Flags { tls: "opamp", tokens: "agent-token-file" };
const CONTROL: Flags = Flags { tls: "control", tokens: "operator-token-file" };

impl Doors {
    pub(super) fn check(layer: &Layer, credentials: bool) -> anyhow::Result<Self> {
        let opamp = files(
            &OPAMP,
            [&layer.opamp_tls_cert, &layer.opamp_tls_key, &layer.opamp_client_ca],
            &layer.agent_token_file,
        )?;
        let control = files(
            &CONTROL,
            [&layer.control_tls_cert, &layer.control_tls_key, &layer.control_client_ca],
            &layer.operator_token_file,
        )?;
        Ok(Self { opamp, control, credentials })
    }

    /// Reads the files of the doors that are opened here.
    pub(crate) fn open(&self, opamp: bool, control: bool) -> anyhow::Result<Opened> {
        let mut opened = Opened::default();
        let wrong = |error: trust::Error| Failure::usage(error.to_string());
        if opamp {
            opened.opamp = self.opamp.door(b"http/1.1", &mut opened.keeper).map_err(wrong)?;
        }
        if control {
            opened.control = self.control.door(b"h2", &mut opened.keeper).map_err(wrong)?;
        }
        Ok(opened)
    }

    /// What an address beyond this machine lacks; `None` if it may be listened on.
    pub(super) fn lacks(&self, flag: &str) -> Option<String> {
        let (files, flags, credentials) = match flag {
            "opamp-listen" => (&self.opamp, &OPAMP, self.credentials),
            "control-listen" => (&self.control, &CONTROL, false),
            _ => return Some("it has neither TLS nor tokens".to_owned()),
        };
        let Flags { tls, tokens } = flags;
        let tls_flags = format!("--{tls}-tls-cert and --{tls}-tls-key");
        let who_flags = format!("--{tokens} or --{tls}-client-ca");
        match (files.is_private(), files.asks_who() || credentials) {
            (true, true) => None,
            (false, true) => Some(format!("TLS is missing ({tls_flags})")),
            (true, false) => Some(format!("anybody may come in ({who_flags})")),
            (false, false) => {
                Some(format!("TLS is missing ({tls_flags}) and anybody may come in ({who_flags})"))
            }
        }
    }

    /// What to say aloud of the doors that are opened here: each as a word, and where it is.
    pub(crate) fn notices(&self, opened: &[(&'static str, SocketAddr)]) -> Vec<String> {
        opened.iter().filter_map(|(word, address)| self.notice(word, *address)).collect()
    }

    fn notice(&self, word: &str, address: SocketAddr) -> Option<String> {
        let (files, credentials, may) = match word {
            "opamp" => (&self.opamp, self.credentials, "speak for any agent and read its config"),
            _ => (&self.control, false, "read and change the whole fleet"),
        };
        let near = address.ip().is_loopback();
        match (files.asks_who() || credentials, files.is_private()) {
            (false, _) if near => {
                Some(format!("{word} door {address} is open: every user of this machine may {may}"))
            }
            (false, _) => Some(format!(
                "OPEN DOOR: {word} door {address} is reachable from other machines and asks \
                 nobody who they are (--insecure-listen): whoever reaches it may {may}"
            )),
            (true, false) if !near => Some(format!(
                "{word} door {address} has no TLS (--insecure-listen): tokens and configs cross \
                 the network in the clear"
            )),
            (true, _) => None,
        }
    }
}

fn files(
    flags: &Flags,
    [certificate, key, client_ca]: [&Option<PathBuf>; 3],
    tokens: &Option<PathBuf>,
) -> anyhow::Result<Files> {
    // Empty counts as not given, so that a variable can be unset where only its value can change.
    let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let tls = flags.tls;
    let certificate = match (given(certificate), given(key)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Failure::usage(format!("--{tls}-tls-cert needs --{tls}-tls-key")));
        }
        (None, Some(_)) => {
            return Err(Failure::usage(format!("--{tls}-tls-key needs --{tls}-tls-cert")));
        }
    };
    let client_ca = given(client_ca);
    if client_ca.is_some() && certificate.is_none() {
        return Err(Failure::usage(format!(
            "--{tls}-client-ca needs --{tls}-tls-cert and --{tls}-tls-key"
        )));
    }
    Ok(Files { certificate, client_ca, tokens: given(tokens) })
}
