//! The control plane itself as JSON: processes, gateways, what they stand on.

use control::v1::{Gateway, GetStatusResponse, get_status_response};
use serde_json::{Value, json};

use super::super::gateways;
use super::{assignment, hold, text, time};

/// A gateway.
pub(in crate::cli) fn gateway(gateway: &Gateway) -> Value {
    json!({
        "id": gateway.gateway_id,
        "sessions": gateway.sessions,
        "state": gateways::liveness(gateway.liveness),
        "version": text(&gateway.version),
        "address": text(&gateway.address),
        "process": text(&gateway.process_id),
        "last_heard": time(gateway.last_heard_time.as_ref()),
    })
}

/// How the control plane is doing.
pub(in crate::cli) fn status(status: &GetStatusResponse) -> Value {
    let service = |service: &Option<get_status_response::Service>| {
        service.as_ref().map(|service| {
            json!({
                "reachable": service.reachable,
                "error": text(&service.error),
                "answer_micros": service.answer_micros,
            })
        })
    };
    json!({
        "processes": status.processes.iter().map(process).collect::<Vec<_>>(),
        "gateways": status.gateways.iter().map(gateway).collect::<Vec<_>>(),
        "services": {
            "bus": service(&status.bus),
            "records": service(&status.records),
            "ledger": service(&status.ledger),
        },
        "view": status.view.as_ref().map(|view| json!({
            "ready": view.ready,
            "behind": view.behind,
            "last_event": time(view.last_event_time.as_ref()),
        })),
        "agents": status.agents.as_ref().map(|counts| json!({
            "total": counts.total,
            "connected": counts.connected,
            "unhealthy": counts.unhealthy,
            "config_pending": counts.config_pending,
            "config_failed": counts.config_failed,
        })),
        "offers": status.offers.as_ref().map(|offers| json!({
            "hold": offers.hold.as_ref().map(hold),
            "in_flight": offers.in_flight,
            "assignments": offers.assignments.iter().map(assignment).collect::<Vec<_>>(),
        })),
    })
}

fn process(process: &get_status_response::Process) -> Value {
    let role = |role: &get_status_response::Role| {
        let reason = text(&role.reason);
        json!({ "name": role.name, "ready": role.ready, "reason": reason })
    };
    json!({
        "id": process.process_id,
        "roles": process.roles.iter().map(role).collect::<Vec<_>>(),
        "state": super::super::status::state(process),
        "version": process.version,
        "started": time(process.start_time.as_ref()),
        "last_heard": time(process.last_heard_time.as_ref()),
    })
}
