//! The doors: bound before anything else starts, so that a taken port fails at once and port 0
//! has a number to print.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Settings;
use crate::exit::{Code, Failure};

/// Bound sockets.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) roles: RoleListeners,
    pub(super) ops: TcpListener,
    pub(super) listening: Listening,
}

/// Sockets of the roles that run here.
#[derive(Debug)]
pub(super) struct RoleListeners {
    pub(super) opamp: Option<TcpListener>,
    pub(super) control: Option<TcpListener>,
}

/// Real addresses, ports included. Shown as lines that scripts may parse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listening {
    opamp: Option<Place>,
    control: Option<Place>,
    ops: SocketAddr,
}

/// Where a door is.
#[derive(Debug, Clone, Copy)]
struct Place {
    address: SocketAddr,
    /// Inside TLS.
    private: bool,
}

impl Listeners {
    pub(super) async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let roles = settings.roles;
        let opamp = bind_if(roles.gateway, "opamp-listen", settings.opamp_listen).await?;
        let control = bind_if(roles.control, "control-listen", settings.control_listen).await?;
        let ops = bind("ops-listen", settings.ops_listen).await?;
        let place = |listener: &Option<TcpListener>, door: &trust::Files| {
            let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
            let private = door.is_private();
            Ok::<_, std::io::Error>(address.map(|address| Place { address, private }))
        };
        let listening = Listening {
            opamp: place(&opamp, &settings.doors.opamp)?,
            control: place(&control, &settings.doors.control)?,
            ops: ops.local_addr()?,
        };
        let roles = RoleListeners { opamp, control };
        Ok(Self { roles, ops, listening })
    }
}

async fn bind_if(
    here: bool,
    flag: &str,
    address: SocketAddr,
) -> anyhow::Result<Option<TcpListener>> {
    if here {
        return bind(flag, address).await.map(Some);
    }
    Ok(None)
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let text = format!("--{flag}: cannot listen on {address}: {error}");
        Failure::new(Code::Error, text).into()
    })
}

impl Listening {
    /// The doors of agents and operators, each as a word.
    pub(super) fn doors(&self) -> Vec<(&'static str, SocketAddr)> {
        let doors = [("opamp", self.opamp), ("control", self.control)].into_iter();
        doors.filter_map(|(word, place)| Some((word, place?.address))).collect()
    }

    /// Where agents connect.
    pub(crate) fn opamp_url(&self) -> Option<String> {
        let url = |place: Place| format!("{}://{}/v1/opamp", place.scheme("ws"), place.address);
        self.opamp.map(url)
    }

    /// Where operators connect.
    pub(crate) fn control_url(&self) -> Option<String> {
        self.control.map(|place| format!("{}://{}", place.scheme("http"), place.address))
    }
}

impl Place {
    fn scheme(self, plain: &str) -> String {
        format!("{plain}{}", if self.private { "s" } else { "" })
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(url) = self.opamp_url() {
            writeln!(f, "opamp    {url}")?;
        }
        if let Some(url) = self.control_url() {
            writeln!(f, "control  {url}")?;
        }
        writeln!(f, "ops      http://{}", self.ops)
    }
}
