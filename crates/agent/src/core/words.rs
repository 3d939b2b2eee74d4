//! Custom messages: those that wait, one to a message and one at a time, and what a ping is
//! answered with. Nobody else repeats them, so what was not answered is said again.

use std::collections::VecDeque;

use opamp::v1::{AgentToServer, CustomCapabilities, CustomMessage};

use super::Agent;
use crate::limits::WORDS_MAX;

/// A capability whose [`PING`] is answered with [`PONG`] and the same data. An agent answers so for
/// each capability that it declares; this one says nothing else.
pub const ECHO: &str = "org.example.echo";
/// Type of a message that wants an answer.
pub const PING: &str = "ping";
/// Type of the answer.
pub const PONG: &str = "pong";

/// What an agent has to say in words of its own.
#[derive(Debug, Default)]
pub(super) struct Words {
    capabilities: Vec<String>,
    /// The server is yet to be told of them.
    changed: bool,
    waiting: VecDeque<CustomMessage>,
    /// The one that was sent and is not answered yet.
    open: Option<CustomMessage>,
    server: Option<Vec<String>>,
}

impl Words {
    pub(super) fn new(capabilities: Vec<String>) -> Self {
        Self { capabilities, ..Self::default() }
    }

    pub(super) fn declares(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }

    /// Something waits that does not wait for the next heartbeat.
    pub(super) fn wait(&self) -> bool {
        self.changed || self.open.is_none() && !self.waiting.is_empty()
    }

    /// What goes into the next message: in a full one whatever there is.
    pub(super) fn declared(&mut self, full: bool) -> Option<CustomCapabilities> {
        let changed = std::mem::take(&mut self.changed);
        let capabilities = self.capabilities.clone();
        (changed || full && !capabilities.is_empty()).then_some(CustomCapabilities { capabilities })
    }

    /// The next of those that wait, unless one is under way.
    pub(super) fn next(&mut self) -> Option<CustomMessage> {
        if self.open.is_none() {
            self.open = self.waiting.pop_front();
            return self.open.clone();
        }
        None
    }

    /// On a new connection, what was said on the last one is not answered any more.
    pub(super) fn connected(&mut self) {
        let open = self.open.take();
        self.again(open);
    }

    /// Adds one, unless too many wait.
    fn push(&mut self, message: CustomMessage) {
        if self.waiting.len() < WORDS_MAX {
            self.waiting.push_back(message);
        }
    }

    /// A message did not go out.
    pub(super) fn lost(&mut self, message: &AgentToServer) {
        self.changed |= message.custom_capabilities.is_some();
        if message.custom_message.is_some() {
            self.connected();
        }
    }

    /// Something came from the server: nothing else is stored, if it was an error.
    pub(super) fn answered(&mut self, with_error: bool) {
        let open = self.open.take();
        if with_error {
            self.again(open);
        }
    }

    fn again(&mut self, message: Option<CustomMessage>) {
        message.into_iter().for_each(|message| self.waiting.push_front(message));
    }

    pub(super) fn answer(&mut self, said: &CustomMessage) {
        if said.r#type == PING {
            self.push(CustomMessage { r#type: PONG.to_owned(), ..said.clone() });
        }
    }

    pub(super) fn server_declares(&mut self, custom: &CustomCapabilities) {
        self.server = Some(custom.capabilities.clone());
    }
}

impl Agent {
    /// Its custom capabilities from now on.
    pub fn set_custom_capabilities(&mut self, capabilities: Vec<String>) {
        self.words.capabilities = capabilities;
        self.words.changed = true;
    }

    /// Says something in words of its own.
    pub fn say(&mut self, capability: &str, kind: &str, data: Vec<u8>) {
        let (capability, kind) = (capability.to_owned(), kind.to_owned());
        self.words.push(CustomMessage { capability, r#type: kind, data });
    }

    /// The server's custom capabilities, if it named any.
    pub fn server_custom_capabilities(&self) -> Option<&[String]> {
        self.words.server.as_deref()
    }
}
