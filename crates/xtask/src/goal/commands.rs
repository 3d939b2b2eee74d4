//! F3: restarts given at the moment their gateway is killed. What agents did is in their ledgers,
//! what operators are told is in the commands: both must agree, and nothing happen twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::Handle;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use services::{Cluster, Size};

use super::herd::{self, operator, seen_connected};
use super::{Figure, runtime};

/// How often agents speak when there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a command may take to be settled: the window in which its effect is waited for, and
/// what goes before it.
const LIMIT: Duration = Duration::from_secs(150);
/// Over how long the commands of a round are spread; the gateway is killed in the middle.
const SPREAD: Duration = Duration::from_millis(300);

/// What became of many restarts.
#[derive(Debug, Default)]
struct Outcomes {
    /// Commands by the state they ended in.
    states: BTreeMap<String, usize>,
    /// Not accepted, and so not done.
    not_taken: usize,
    /// Accepted, and without an end.
    lost: usize,
    /// An agent restarted more often than it was told to.
    doubled: usize,
    /// Said something that the agent's ledger does not.
    untrue: usize,
    /// UNKNOWN without the hop that was lost.
    unnamed: usize,
}

/// One restart.
struct Try {
    uid: String,
    /// The command's id, if it was accepted.
    command: Option<String>,
    restarts_before: u64,
}

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (rounds, tries) = if smoke { (1, 20) } else { (25, 20) };
    let runtime = runtime()?;
    let mut cluster = Cluster::start(Size { gateways: 3, ..Size::default() }, &[])?;
    let urls: Vec<String> = cluster.gateways.iter().map(herd::url).collect::<Result<_, _>>()?;
    let agents = runtime.block_on(herd::gather(tries * 3, &urls, HEARTBEAT))?;
    for (number, agent) in agents.iter().enumerate() {
        let mut elsewhere = urls.clone();
        elsewhere.rotate_left((number + 1) % urls.len());
        agent.fall_back_to(&elsewhere)?;
    }
    let (mut killed, mut calm) = (Outcomes::default(), Outcomes::default());
    for _ in 0..rounds {
        round(&mut cluster, &agents, tries, true, &mut killed)?;
    }
    round(&mut cluster, &agents, tries, false, &mut calm)?;
    Ok(figure(rounds * tries, &killed, &calm))
}

fn figure(tries: usize, killed: &Outcomes, calm: &Outcomes) -> Figure {
    let all = [killed, calm];
    let sum = |count: fn(&Outcomes) -> usize| all.into_iter().map(count).sum::<usize>();
    let (lost, doubled) = (sum(|found| found.lost), sum(|found| found.doubled));
    let (untrue, unnamed) = (sum(|found| found.untrue), sum(|found| found.unnamed));
    let unknown = calm.states.get("UNKNOWN").copied().unwrap_or(0);
    let given: usize = killed.states.values().sum();
    let Outcomes { not_taken, .. } = killed;
    let states = |found: &Outcomes| {
        let each = found.states.iter().map(|(state, count)| format!("{count} {state}"));
        each.collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "{tries} restarts while their gateway was killed: {}; {not_taken} not accepted; {lost} \
         lost, {doubled} doubled, {untrue} untrue, {unnamed} UNKNOWN without the lost hop; with \
         all up: {}",
        states(killed),
        states(calm),
    );
    let bad = lost + doubled + untrue + unnamed + unknown + calm.not_taken;
    Figure {
        pass: bad == 0 && given > 0,
        text,
        values: json!({
            "tries": tries,
            "states": killed.states,
            "not_accepted": not_taken,
            "lost": lost,
            "doubled": doubled,
            "untrue": untrue,
            "unnamed": unnamed,
            "states_all_up": calm.states,
        }),
    }
}

/// Restarts agents of the fullest gateway, which is killed meanwhile if `kill` says so.
fn round(
    cluster: &mut Cluster,
    agents: &[Handle],
    tries: usize,
    kill: bool,
    outcomes: &mut Outcomes,
) -> anyhow::Result<()> {
    until("all are connected", || Ok(seen_connected(cluster)? == agents.len() as u64))?;
    let server = cluster.controls[0].control.clone().context("no control")?;
    let (gateway, uids) = fullest(&server)?;
    let victim = if kill { Some(process_of(cluster, &server, &gateway)?) } else { None };
    let chosen: Vec<(String, &Handle)> = agents
        .iter()
        .map(|agent| (agent.see(agent::Agent::uid).to_string(), agent))
        .filter(|(uid, _)| uids.contains(uid))
        .take(tries)
        .collect();
    let given = give(cluster, &server, &chosen, victim)?;
    for (one, (_, agent)) in given.iter().zip(&chosen) {
        judge(&server, one, agent, outcomes)?;
    }
    if let Some(victim) = victim {
        cluster.gateways[victim].restart()?;
    }
    Ok(())
}

/// Gives the commands one shortly after the other, and kills a gateway in the middle of it.
fn give(
    cluster: &mut Cluster,
    server: &str,
    chosen: &[(String, &Handle)],
    victim: Option<usize>,
) -> anyhow::Result<Vec<Try>> {
    let step = SPREAD / u32::try_from(chosen.len().max(1))?;
    std::thread::scope(|scope| {
        let giving: Vec<_> = (0_u32..)
            .zip(chosen)
            .map(|(turn, (uid, agent))| {
                let restarts_before = agent.see(|agent| agent.ledger.restarts);
                scope.spawn(move || {
                    sleep(step * turn);
                    let said = operator(server, &["restart", uid, "-o", "json"]).ok();
                    let command = said.and_then(|said| id(&said));
                    Try { uid: uid.clone(), command, restarts_before }
                })
            })
            .collect();
        sleep(SPREAD / 2);
        if let Some(victim) = victim {
            cluster.gateways[victim].kill()?;
        }
        giving
            .into_iter()
            .map(|one| one.join().map_err(|_| anyhow::anyhow!("a thread broke")))
            .collect()
    })
}

fn id(said: &str) -> Option<String> {
    let command: Value = serde_json::from_str(said).ok()?;
    Some(command["id"].as_str()?.to_owned())
}

/// Compares what is said of a command with what its agent did.
fn judge(server: &str, one: &Try, agent: &Handle, outcomes: &mut Outcomes) -> anyhow::Result<()> {
    let end = one.command.as_ref().map(|command| decided(server, command)).transpose()?;
    let told = agent.see(|agent| agent.ledger.restarts) - one.restarts_before;
    outcomes.doubled += usize::from(told > 1);
    let Some(end) = end else {
        outcomes.not_taken += 1;
        return Ok(());
    };
    let Some((state, reason)) = end else {
        outcomes.lost += 1;
        println!("lost: {} to {}", one.command.as_deref().unwrap_or_default(), one.uid);
        return Ok(());
    };
    let (untrue, unnamed) = match state.as_str() {
        "CONFIRMED" | "DELIVERED" => (told == 0, false),
        "SENT" => (false, false),
        "REFUSED" | "EXPIRED" => (told > 0, false),
        "UNKNOWN" => (false, !reason.contains("gateway ")),
        _ => (true, false),
    };
    outcomes.untrue += usize::from(untrue);
    outcomes.unnamed += usize::from(unnamed);
    if untrue || unnamed {
        println!("{}: {state} ({reason}), restarted {told} times", one.uid);
    }
    *outcomes.states.entry(state).or_default() += 1;
    Ok(())
}

/// The state that a command ended in, and why; nothing if it comes to no end.
fn decided(server: &str, command: &str) -> anyhow::Result<Option<(String, String)>> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        let said: Value =
            serde_json::from_str(&operator(server, &["commands", "get", command, "-o", "json"])?)?;
        let target = &said["command"]["target"];
        let state = target["state"].as_str().context("a command has a state")?.to_owned();
        let open = ["QUEUED", "ROUTED", "SENT", "DELIVERED"].contains(&state.as_str());
        if !open || target["settled"] == true {
            return Ok(Some((state, target["reason"].as_str().unwrap_or_default().to_owned())));
        }
        sleep(Duration::from_millis(200));
    }
    Ok(None)
}

/// The gateway with the most agents, and who they are.
fn fullest(server: &str) -> anyhow::Result<(String, Vec<String>)> {
    let said = operator(server, &["agents", "list", "-o", "json"])?;
    let agents: Vec<Value> = serde_json::from_str(&said)?;
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for agent in &agents {
        if let (Some(gateway), Some(uid)) =
            (agent["gateway"].as_str(), agent["instance_uid"].as_str())
        {
            held.entry(gateway.to_owned()).or_default().push(uid.to_owned());
        }
    }
    held.into_iter().max_by_key(|(_, uids)| uids.len()).context("agents are at gateways")
}

/// Which process a gateway is: it says where it listens.
fn process_of(cluster: &Cluster, server: &str, gateway: &str) -> anyhow::Result<usize> {
    let said = operator(server, &["gateways", "list", "-o", "json"])?;
    let gateways: Vec<Value> = serde_json::from_str(&said)?;
    let own =
        gateways.iter().find(|found| found["id"] == gateway).context("a gateway is listed")?;
    let address = own["address"].as_str().unwrap_or_default();
    let place =
        cluster.gateways.iter().position(|process| process.opamp.as_deref() == Some(address));
    place.with_context(|| format!("no process listens where {gateway} does, at {address:?}"))
}

fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < LIMIT, "waited in vain: {what}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}
