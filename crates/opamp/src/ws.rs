//! RFC 6455 frames, pure: bytes in, events out, and back. No buffer is held between messages.
//! Used by gateway and agent, which bring the sockets.

/// Which end of the connection decodes or encodes: clients mask, servers must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted.
    Server,
    /// The end that dialled.
    Client,
}

/// What a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A text message; its content does not matter, OpAMP has none.
    Text,
    /// A ping and its payload, to be echoed in a pong.
    Ping(Vec<u8>),
    /// A pong and its payload.
    Pong(Vec<u8>),
    /// The peer closes, with its code if it gave one.
    Close(Option<u16>),
}
