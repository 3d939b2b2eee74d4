//! What is to happen to agents: inputs of the core that own what they need, since they wait in
//! batches.

use std::collections::BTreeMap;

use model::command::CommandId;
use model::credential::{Shown, Standing};
use model::record::Owner;
use model::session::{self, Handover, Input, Pushed, Rival};
use model::{GatewayId, Timestamp};
use opamp::InstanceUid;
use opamp::v1::AgentToServer;

/// What is to happen to one agent.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) uid: InstanceUid,
    pub(crate) what: What,
    /// When whoever asked gives up, and maybe asks again: from then on it must not happen.
    pub(crate) deadline: Option<Timestamp>,
}

/// Where a session or poll comes from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) remote_address: String,
    /// Name of the token that was shown.
    pub(crate) token_name: String,
    /// Name of the enrollment token that was shown.
    pub(crate) enrollment_token: String,
    /// Serial of the credential that was shown.
    pub(crate) credential_serial: u64,
    /// Whose credential that was, if it was another's.
    pub(crate) credential_uid: Option<InstanceUid>,
}

impl Origin {
    fn shown(&self) -> Shown<'_> {
        match (self.credential_serial, self.credential_uid) {
            (0, Some(uid)) => Shown::Another(uid),
            (0, None) if self.enrollment_token.is_empty() => Shown::Nothing,
            (0, None) => Shown::Token(&self.enrollment_token),
            (serial, _) => Shown::Own(serial),
        }
    }

    fn borrowed(&self) -> session::Origin<'_> {
        session::Origin {
            remote_address: &self.remote_address,
            token_name: &self.token_name,
            shown: self.shown(),
        }
    }
}

/// A session input that owns what it needs.
#[derive(Debug)]
pub(crate) enum What {
    Claim {
        owner: Owner,
        rival: Rival,
        floor: u64,
        from: Origin,
        message: Box<AgentToServer>,
    },
    Report {
        owner: Owner,
        epoch: u64,
        n: u64,
        answered: Option<u64>,
        message: Box<AgentToServer>,
    },
    Poll {
        from: Origin,
        message: Box<AgentToServer>,
    },
    Close {
        owner: Owner,
        epoch: u64,
        answered: Option<u64>,
    },
    Resume {
        owner: Owner,
        epoch: u64,
        answered: Option<u64>,
    },
    Reap {
        gateway: GatewayId,
        epoch: u64,
    },
    Command {
        id: CommandId,
        message: Vec<u8>,
        not_after: Timestamp,
        withdraw: bool,
        since: Timestamp,
    },
    Assess,
    Admitted(Standing),
    Labelled {
        labels: BTreeMap<String, String>,
        version: u64,
    },
    Pushed {
        epoch: u64,
        what: Pushed,
        decision: u64,
    },
}

impl What {
    /// What the agent said.
    pub(crate) fn message(&self) -> Option<&AgentToServer> {
        match self {
            Self::Claim { message, .. }
            | Self::Report { message, .. }
            | Self::Poll { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Somebody looks at the agent, which has not spoken.
    pub(crate) fn is_a_look(&self) -> bool {
        matches!(
            self,
            Self::Assess | Self::Admitted(_) | Self::Command { .. } | Self::Labelled { .. }
        )
    }

    /// Whether it came with a token that enrolls, or a credential.
    pub(crate) fn shows_something(&self) -> bool {
        match self {
            Self::Claim { from, .. } | Self::Poll { from, .. } => from.shown() != Shown::Nothing,
            _ => false,
        }
    }

    /// Whether a custom message came with it.
    pub(crate) fn says_something(&self) -> bool {
        self.message().is_some_and(|message| message.custom_message.is_some())
    }

    pub(crate) fn input(&self, answered_by_presence: Option<u64>) -> Input<'_> {
        match self {
            Self::Claim { owner, rival, floor, from, message } => Input::Claim {
                owner: owner.clone(),
                rival: *rival,
                floor: *floor,
                answered: answered_by_presence,
                from: from.borrowed(),
                message,
            },
            Self::Report { owner, epoch, n, answered, message } => Input::Report {
                owner: owner.clone(),
                epoch: *epoch,
                n: *n,
                answered: *answered,
                message,
            },
            Self::Poll { from, message } => {
                Input::Poll { answered: answered_by_presence, from: from.borrowed(), message }
            }
            Self::Close { owner, epoch, answered } => {
                Input::Close { owner: owner.clone(), epoch: *epoch, answered: *answered }
            }
            Self::Resume { owner, epoch, answered } => {
                Input::Resume { owner: owner.clone(), epoch: *epoch, answered: *answered }
            }
            Self::Reap { gateway, epoch } => {
                Input::Reap { gateway: gateway.clone(), epoch: *epoch }
            }
            Self::Command { id, message, not_after, withdraw, since } => Input::Command(Handover {
                id: *id,
                message,
                not_after: *not_after,
                withdraw: *withdraw,
                since: *since,
            }),
            Self::Assess => Input::Assess,
            Self::Admitted(standing) => Input::Admitted(*standing),
            Self::Labelled { labels, version } => Input::Labelled { labels, version: *version },
            Self::Pushed { epoch, what, decision } => {
                Input::Pushed { epoch: *epoch, what, decision: *decision }
            }
        }
    }
}
