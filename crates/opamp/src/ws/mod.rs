//! RFC 6455 frames, pure: bytes in, events out, and back. No buffer is held between messages.
//! Used by gateway and agent, which bring the sockets.
//!
//! ```text
//!   socket bytes ──► Decoder::feed ──► Event          header + payload parts ──► socket bytes
//! ```
//!
//! Extensions are never negotiated, so a reserved bit is a violation.

mod decode;
mod encode;
mod handshake;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, FRAGMENTS_MAX, Violation};
pub use encode::{HEADER_BYTES_MAX, binary, close, frame, header, ping, pong};
pub use handshake::{accept_key, is_request_key, request_key};

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

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message begun before.
    Continuation = 0x0,
    /// A text message.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A question for a pong.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xA,
}

impl Opcode {
    /// Whether frames of this kind steer the connection; they are short and never fragmented.
    pub const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// Longest payload of a control frame.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Close codes this side gives.
pub mod close_code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The endpoint goes away, for instance a server that stops.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// The peer sent a kind of data that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// The peer sent text that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// The peer broke a rule no other code is for.
    pub const POLICY: u16 = 1008;
    /// The peer's message is too big.
    pub const TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const INTERNAL: u16 = 1011;
    /// The endpoint is short of room; later it may do.
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// Applies a mask (or takes it off), `offset` bytes into the payload.
fn mask_bytes(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let turned: [u8; 4] = std::array::from_fn(|index| mask[(index + offset) % 4]);
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= turned[index % 4];
    }
}
