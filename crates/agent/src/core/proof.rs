//! What the server has for certain. Replies carry no number of what they answer, so they are
//! counted, and only those that can be nothing but a reply: this errs on the side of doubt.

use std::collections::VecDeque;

use opamp::v1::{AgentToServer, ServerToAgent};

use crate::limits::UNPROVEN_MAX;

/// Which of the agent's words about its health were answered.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Messages on this connection.
    sent: u64,
    /// Replies on this connection.
    replies: u64,
    /// Words that were not answered yet, with the number of their message.
    open: VecDeque<(u64, String)>,
    /// The newest that were.
    proven: Option<String>,
}

impl Proof {
    /// On a new connection, what was not answered on the last one never will be.
    pub(super) fn connected(&mut self) {
        *self = Self { proven: self.proven.take(), ..Self::default() };
    }

    pub(super) fn sent(&mut self, message: &AgentToServer) {
        self.sent += 1;
        if let Some(health) = &message.health {
            if self.open.len() == UNPROVEN_MAX {
                self.open.pop_front();
            }
            self.open.push_back((self.sent, health.status.clone()));
        }
    }

    pub(super) fn heard(&mut self, message: &ServerToAgent) {
        // Whatever brings something may have been pushed.
        let bare = ServerToAgent {
            instance_uid: message.instance_uid.clone(),
            capabilities: message.capabilities,
            ..Default::default()
        };
        if *message != bare {
            return;
        }
        self.replies += 1;
        while self.open.front().is_some_and(|(number, _)| *number <= self.replies) {
            self.proven = self.open.pop_front().map(|(_, status)| status);
        }
    }

    pub(super) fn proven(&self) -> Option<&str> {
        self.proven.as_deref()
    }
}
