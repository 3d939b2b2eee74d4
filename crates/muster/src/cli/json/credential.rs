//! What agents were issued, without the credentials.

use control::v1::Credential;
use control::v1::credential::State;
use serde_json::{Value, json};

use super::{text, time};
use crate::cli::names::short;

pub(in crate::cli) fn credential(credential: &Credential) -> Value {
    let state = match credential.state() {
        State::Unspecified => "unknown",
        State::Pending => "pending",
        State::Active => "active",
        State::Expired => "expired",
        State::Revoked => "revoked",
        State::Reset => "reset",
    };
    json!({
        "agent": short(&credential.name),
        "state": state,
        "serial": credential.serial,
        "proven_serial": credential.proven_serial,
        "oldest_good_serial": credential.oldest_good_serial,
        "expires": time(credential.expire_time.as_ref()),
        "issued": time(credential.issue_time.as_ref()),
        "issued_by": text(&credential.issue_actor),
        "enrollment": text(&credential.enrollment),
        "asked": time(credential.ask_time.as_ref()),
        "revoked": time(credential.revoke_time.as_ref()),
        "revoked_by": text(&credential.revoke_actor),
    })
}
