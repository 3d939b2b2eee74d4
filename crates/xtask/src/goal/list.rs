//! Every goal there is.

use super::{
    Goal, blast, busless, clocks, commands, faults, moves, overload, readers, rehome, revoked,
    rolling, secrets, silence, simulation, strangers, vanished, wiped, wire,
};

/// In the order of their ids.
pub(super) const GOALS: &[Goal] = &[
    goal(
        "P1",
        "resident memory per idle agent, plain WebSocket",
        "at most 1/4 of the reference server in the same run",
    ),
    goal(
        "P1t",
        "resident memory per idle agent, TLS with client certificate",
        "at most 1/2 of the reference server",
    ),
    goal("P2", "CPU per full connect at the gateway", "at most 0.6 of the reference server"),
    goal(
        "P2s",
        "first-time connects through the whole pipeline",
        "at least 2,500 a second on two cores",
    ),
    goal(
        "P3",
        "CPU per unchanged heartbeat at the gateway",
        "at most 0.5 of the reference server at an equal rate",
    ),
    goal(
        "P4",
        "agents on one machine, load included, ten minutes",
        "100,000 with 0 unexpected disconnects",
    ),
    goal(
        "P5",
        "targeted command, call to bytes at the agent",
        "p99 at most 15 ms with 100,000 connected",
    ),
    goal("P5r", "bus messages per targeted command", "at most 4 at any number of gateways"),
    goal("P6", "one 4 KiB config to many agents", "10,000 on the wire within 1 s"),
    goal("P7", "all connections cut at once", "100,000 back and converged within 60 s"),
    goal(
        "P8",
        "cost of silence",
        "0 record writes, at most 1 store command and 2 bus messages a second per gateway",
    )
    .measured(silence::measure),
    goal("P9", "queries at 100,000 agents", "a page of 100 by selector within 20 ms p99"),
    goal(
        "P10",
        "horizontal cost",
        "messages and commands per operation equal at 1, 4 and 16 gateways",
    ),
    goal("P11", "start to ready", "gateway within 100 ms, others within 1 s"),
    goal("P12", "an hour's soak", "memory slope at most 1 MB an hour, no leaked files"),
    goal(
        "R1",
        "deterministic simulation",
        "20,000 seeds with 0 violations, broken variants caught",
    )
    .measured(simulation::everything),
    goal(
        "R2",
        "fault campaign on real processes",
        "1,000 faults of 40 scenarios with 0 violations",
    )
    .measured(faults::campaign),
    goal("R3", "kill -9 of random components", "500 kills, 0 lost updates, 0 double effects")
        .measured(faults::kills),
    goal("R4", "gateway kill -9 with 15,000 agents", "99 % back within 10 s, all within 45 s")
        .measured(rehome::measure),
    goal("R5", "rolling restart of all gateways", "each agent reconnects at most once")
        .measured(rolling::measure),
    goal("R6", "overload at ten times the capacity", "goodput at least 90 % of peak")
        .measured(overload::measure),
    goal("R7", "1,000 agents that stop reading", "at most 64 KiB queued for each")
        .measured(readers::many),
    goal("R8", "5,000 half-open connections", "offline within 2.5 heartbeats, every file back")
        .measured(vanished::measure),
    goal(
        "R9",
        "records wiped at 100,000 agents",
        "inventory rebuilt within 120 s, no decision lost",
    )
    .measured(wiped::measure),
    goal("R10", "bus away for 60 s", "agents stay, the API says so within 2 s")
        .measured(busless::measure),
    goal("R11", "partition while an owner moves", "0 stale writes, 0 double deliveries")
        .measured(moves::measure),
    goal("R12", "clock steps of an hour", "0 false offline, 0 early leases")
        .measured(clocks::measure),
    goal("R13", "the suite itself", "20 runs in a row without a flake").measured(faults::again),
    goal("S1", "coverage-guided fuzzing", "100 million executions without a panic"),
    goal("S2", "hostile peers while 5,000 honest ones run", "60 attacks, 0 honest disconnects"),
    goal("S3", "memory bound under announced giants", "at most 256 MB"),
    goal("S4", "WebSocket conformance", "100 % of the case list"),
    goal("S5", "authorization matrix", "0 unexpected allows"),
    goal("S6", "impersonation", "10,000 tries, 0 succeed").measured(strangers::measure),
    goal("S7", "revocation", "live connection closed within 2 s on any gateway")
        .measured(revoked::measure),
    goal("S8", "compromised gateway", "50 probes, 0 pass"),
    goal("S9", "bad config", "reaches at most 50 agents or 1 %").measured(blast::measure),
    goal("S10", "secrets", "20 planted, 0 found anywhere").measured(secrets::measure),
    goal("S11", "audit", "every mutation, every tampering detected"),
    goal("S12", "tenancy", "a noisy tenant costs others at most 1.2 times their p99"),
    goal("S13", "supply chain", "0 known advisories, reproducible builds"),
    goal("S14", "cardinality", "series independent of hostile attributes"),
    goal("F1", "rollouts gated on health with rollback", "a bad config is contained and undone"),
    goal("F2", "poison memory", "a hash that failed is not offered again"),
    goal("F3", "commands with a known outcome", "0 lost, 0 doubled while gateways die")
        .measured(commands::measure),
    goal("F4", "fenced ownership", "an older owner never writes").measured(simulation::fencing),
    goal("F5", "reconnect without full state on any gateway", "0 requests after a clean close")
        .measured(rolling::measure),
    goal("F6", "storm control", "all back after one gateway of three dies").measured(rehome::storm),
    goal("F7", "plan before release", "exact agents, with diffs"),
    goal("F8", "guardrails as policy", "refused changes in the audit"),
    goal("F9", "rollouts that end", "counts add up to the fleet"),
    goal("F10", "credentials as rollouts", "revoke to disconnect within 2 s"),
    goal("F11", "meaningful drift", "compared as documents"),
    goal("F12", "tamper-evident audit", "an edited entry is found"),
    goal("F13", "resumable watch", "none missed over a restart"),
    goal("F14", "offered, applied, healthy as histograms", "in the metrics"),
    goal("F15", "runnable conformance", "a test per rule"),
    goal("F16", "reproducible scale result", "one command"),
    goal("F17", "wire inspector", "all messages of one agent, live and after the fact, 0 secrets")
        .measured(wire::measure),
    goal("F18", "slow-agent isolation", "nobody else notices").measured(readers::one),
];

/// A goal that nobody can measure yet.
const fn goal(id: &'static str, what: &'static str, bar: &'static str) -> Goal {
    Goal { id, what, bar, measure: None }
}
