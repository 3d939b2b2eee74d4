//! Connections that are slow, starved, cut, swallowed or garbled: every toxic on every edge.

use super::{Act, Scenario};

/// Edges of the same kind. The fault takes those of one process, drawn by lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    AgentGateway,
    GatewayNats,
    WorkerNats,
    ControlNats,
    WorkerRecords,
    WorkerLedger,
    ControlRecords,
    ControlLedger,
    NatsNats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toxic {
    Latency,
    Jitter,
    Bandwidth,
    Blackhole,
    BlackholeUp,
    BlackholeDown,
    Reset,
    HalfCloseUp,
    HalfCloseDown,
    Slice,
    LimitBytes,
    Refuse,
    Corrupt,
}

const EDGES: &[(&str, Edges, bool)] = &[
    ("agent-gateway", Edges::AgentGateway, true),
    ("gateway-nats", Edges::GatewayNats, true),
    ("worker-nats", Edges::WorkerNats, true),
    ("control-nats", Edges::ControlNats, true),
    ("worker-records", Edges::WorkerRecords, true),
    ("worker-ledger", Edges::WorkerLedger, true),
    ("control-records", Edges::ControlRecords, true),
    ("control-ledger", Edges::ControlLedger, true),
    ("nats-nats", Edges::NatsNats, false),
];

const TOXICS: &[(&str, &str, Toxic)] = &[
    ("latency", "bytes arrive 300 ms later", Toxic::Latency),
    ("jitter", "bytes arrive up to 400 ms later", Toxic::Jitter),
    ("bandwidth", "64 kbit a second pass", Toxic::Bandwidth),
    ("blackhole", "nothing passes either way", Toxic::Blackhole),
    ("blackhole-up", "nothing passes from who connected", Toxic::BlackholeUp),
    ("blackhole-down", "nothing passes to who connected", Toxic::BlackholeDown),
    ("reset", "every connection is reset", Toxic::Reset),
    ("half-close-up", "who connected seems to have ended", Toxic::HalfCloseUp),
    ("half-close-down", "the other side seems to have ended", Toxic::HalfCloseDown),
    ("slice", "bytes arrive in sevens", Toxic::Slice),
    ("limit-bytes", "every connection is reset after some bytes", Toxic::LimitBytes),
    ("refuse", "connections are reset, and so is who comes anew", Toxic::Refuse),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (edge, edges, smoke) in EDGES {
        for (name, what, toxic) in TOXICS {
            all.push(scenario(&format!("{edge}/{name}"), what, *edges, *toxic, *smoke));
        }
    }
    // Nothing but TCP and TLS guards what crosses the other edges against flipped bits, so that
    // what arrives there would be another truth, not a fault.
    let what = "bits of what agents send are flipped";
    all.push(scenario("agent-gateway/corrupt", what, Edges::AgentGateway, Toxic::Corrupt, true));
    all
}

fn scenario(id: &str, what: &'static str, edges: Edges, toxic: Toxic, smoke: bool) -> Scenario {
    Scenario {
        id: format!("wire/{id}"),
        what,
        heals: match toxic {
            Toxic::Corrupt => "bytes pass again; agents whose words were garbled say all again",
            Toxic::Reset | Toxic::HalfCloseUp | Toxic::HalfCloseDown => "by itself",
            _ => "bytes pass again, those that were held first",
        },
        act: Act::Wire(edges, toxic),
        smoke,
        waits_for: None,
    }
}
