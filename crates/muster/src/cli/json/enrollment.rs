//! Tokens that enroll agents, without the tokens.

use control::v1::EnrollmentToken;
use control::v1::enrollment_token::{Approval, State};
use serde_json::{Value, json};

use super::{text, time};
use crate::cli::names::short;

pub(in crate::cli) fn enrollment_token(token: &EnrollmentToken) -> Value {
    let state = match token.state() {
        State::Unspecified => "unknown",
        State::Live => "live",
        State::Expired => "expired",
        State::UsedUp => "used-up",
        State::Revoked => "revoked",
    };
    let approval = match token.approval() {
        Approval::Unspecified => "unknown",
        Approval::Automatic => "automatic",
        Approval::Manual => "manual",
    };
    json!({
        "name": short(&token.name),
        "state": state,
        "approval": approval,
        "labels": token.labels,
        "uses": token.uses,
        "uses_max": (token.uses_max != 0).then_some(token.uses_max),
        "expires": time(token.expire_time.as_ref()),
        "created": time(token.create_time.as_ref()),
        "actor": text(&token.actor),
        "revoked": time(token.revoke_time.as_ref()),
        "revoked_by": text(&token.revoke_actor),
    })
}
