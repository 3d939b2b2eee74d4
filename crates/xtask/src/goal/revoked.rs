//! S7: from `revoke` to the close of the agent's connection and the next refusal, on each of
//! several gateways, from the moment that the command is typed; and the close of everything that
//! came by the roll once the bus is gone and nobody says who was revoked.

use std::path::Path;
use std::time::{Duration, Instant};

use agent::link::{Endpoint, WebSocket};
use anyhow::{Context as _, ensure};
use opamp::v1::{AgentDescription, AgentToServer};
use serde_json::json;
use services::{Cluster, Size};

use super::{Figure, herd, peer, runtime};

/// How long anything else may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// From the word to the close, and to the refusal.
const BAR: Duration = Duration::from_secs(2);
/// The same without a bus.
const BUSLESS_BAR: Duration = Duration::from_secs(60);

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (gateways, agents) = if smoke { (2, 4) } else { (4, 40) };
    runtime()?.block_on(revoked(gateways, agents, !smoke))
}

/// A cluster whose agents need credentials, and a token that enrolls them.
pub(super) fn guarded(size: Size) -> anyhow::Result<(Cluster, String)> {
    let key = tempfile::NamedTempFile::new()?;
    std::fs::write(key.path(), "5a".repeat(32))?;
    let key = key.path().to_str().context("no text")?;
    let url = "wss://fleet.example/v1/opamp";
    let flags = ["--agent-credentials", "required", "--agent-url", url, "--secrets-key", key];
    let cluster = Cluster::start(size, &flags)?;
    let server = cluster.controls[0].control.as_deref().context("no control")?;
    let token = herd::operator(server, &["enrollment-tokens", "create", "goal"])?;
    Ok((cluster, token.trim().to_owned()))
}

/// A connection that comes with this; nothing where it is refused for good.
pub(super) async fn admit(endpoint: &Endpoint, token: &str) -> anyhow::Result<Option<WebSocket>> {
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let deadline = Instant::now() + PATIENCE;
    loop {
        match WebSocket::connect(endpoint, &headers).await {
            Ok(socket) => return Ok(Some(socket)),
            Err(agent::Error::Refused { status: 401, .. }) => return Ok(None),
            Err(error) => ensure!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn revoked(gateways: usize, agents: usize, busless: bool) -> anyhow::Result<Figure> {
    let (mut cluster, _) = guarded(Size { gateways, ..Size::default() })?;
    let server = cluster.controls[0].control.clone().context("no control")?;
    let endpoints: Vec<Endpoint> =
        cluster.gateways.iter().map(peer::endpoint).collect::<Result<_, _>>()?;
    let mut here = Vec::new();
    // One more for each gateway, which nobody revokes.
    for number in 0..agents + gateways {
        let mut uid = [0x53; 16];
        uid[8..].copy_from_slice(&(number as u64).to_be_bytes());
        let uid = opamp::InstanceUid::from_bytes(uid);
        let own = herd::operator(&server, &["credentials", "issue", &uid.to_string()])?;
        let endpoint = &endpoints[number % gateways];
        let mut socket = admit(endpoint, own.trim()).await?.context("refused at once")?;
        socket.send(&hello(uid)).await?;
        ensure!(socket.receive(PATIENCE).await?.error_response.is_none(), "not heard");
        here.push((uid, own.trim().to_owned(), endpoint.clone(), socket));
    }
    let others = here.split_off(agents);
    let (mut closes, mut refusals) = (Vec::new(), Vec::new());
    for (uid, own, endpoint, mut socket) in here {
        let start = Instant::now();
        herd::operator(&server, &["credentials", "revoke", &uid.to_string()])?;
        socket.closed(PATIENCE).await?;
        closes.push(start.elapsed());
        while admit(&endpoint, &own).await?.is_some() {}
        refusals.push(start.elapsed());
    }
    let mut kept = 0;
    let mut left = Vec::new();
    for (uid, _, _, mut socket) in others {
        socket.send(&AgentToServer { sequence_num: 1, ..hello(uid) }).await?;
        let heard = socket.receive(PATIENCE).await;
        kept += usize::from(heard.is_ok_and(|answer| answer.error_response.is_none()));
        left.push(socket);
    }
    let silent = if busless { Some(without_bus(&mut cluster, left).await?) } else { None };
    Ok(figure(gateways, kept, &closes, &refusals, silent))
}

/// How long it takes until the last connection is closed after the bus has died.
async fn without_bus(cluster: &mut Cluster, left: Vec<WebSocket>) -> anyhow::Result<Duration> {
    for server in &mut cluster.nats {
        server.kill()?;
    }
    let start = Instant::now();
    // All at once: who waits for its turn answers no ping, and is cut off for that.
    let mut waiting = tokio::task::JoinSet::new();
    for mut socket in left {
        waiting.spawn(async move { socket.closed(2 * BUSLESS_BAR).await });
    }
    while let Some(closed) = waiting.join_next().await {
        closed??;
    }
    Ok(start.elapsed())
}

fn figure(
    gateways: usize,
    kept: usize,
    closes: &[Duration],
    refusals: &[Duration],
    silent: Option<Duration>,
) -> Figure {
    let worst = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let (close, refusal) = (worst(closes), worst(refusals));
    let pass = close <= BAR
        && refusal <= BAR
        && kept == gateways
        && silent.is_none_or(|silent| silent <= BUSLESS_BAR);
    let without = silent.map_or(String::new(), |silent| {
        format!("; without a bus all were closed after {:.1} s", silent.as_secs_f64())
    });
    let text = format!(
        "{} agents over {gateways} gateways: closed within {} ms, refused within {} ms; {kept} of \
         {gateways} neighbours stayed{without}",
        closes.len(),
        close.as_millis(),
        refusal.as_millis()
    );
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let values = json!({
        "agents": closes.len(), "gateways": gateways, "kept": kept,
        "close_ms": millis(close), "refusal_ms": millis(refusal),
        "busless_ms": silent.map(millis),
    });
    Figure { pass, text, values }
}

fn hello(uid: opamp::InstanceUid) -> AgentToServer {
    AgentToServer {
        instance_uid: uid.as_bytes().to_vec(),
        capabilities: 1,
        agent_description: Some(AgentDescription::default()),
        ..Default::default()
    }
}
