//! Frames to be written. A server writes a header and then the payload's parts as they are, so
//! that many connections share one body; a client's payload has to be copied, since it is masked.

use super::{CONTROL_BYTES_MAX, Opcode, mask_bytes};

/// Longest header of an unmasked frame.
pub const HEADER_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The header of an unmasked frame that is a whole message, and how many of the bytes it takes.
pub fn header(opcode: Opcode, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut bytes = [0; HEADER_BYTES_MAX];
    bytes[0] = FIN | opcode as u8;
    if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        bytes[1] = short;
        (bytes, 2)
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        bytes[1] = 126;
        bytes[2..4].copy_from_slice(&medium.to_be_bytes());
        (bytes, 4)
    } else {
        bytes[1] = 127;
        bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (bytes, 10)
    }
}

/// Appends one whole frame. A client gives a fresh random mask, a server none. A control frame's
/// payload is cut to what such a frame may hold.
pub fn frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let payload = if opcode.is_control() {
        &payload[..payload.len().min(CONTROL_BYTES_MAX)]
    } else {
        payload
    };
    let (mut head, head_bytes) = header(opcode, payload.len());
    out.reserve(head_bytes + 4 + payload.len());
    if mask.is_some() {
        head[1] |= MASKED;
    }
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        mask_bytes(&mut out[start..], mask, 0);
    }
}

/// Appends a binary message.
pub fn binary(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    frame(out, Opcode::Binary, payload, mask);
}

/// Appends a ping.
pub fn ping(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    frame(out, Opcode::Ping, payload, mask);
}

/// Appends a pong, which repeats the ping's payload.
pub fn pong(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    frame(out, Opcode::Pong, payload, mask);
}

/// Appends a close, without a payload if there is no code. The reason is cut at a character so
/// that it fits.
pub fn close(out: &mut Vec<u8>, code: Option<u16>, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let room = CONTROL_BYTES_MAX - payload.len();
        let end = (0..=reason.len().min(room))
            .rev()
            .find(|end| reason.is_char_boundary(*end))
            .unwrap_or(0);
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    frame(out, Opcode::Close, &payload, mask);
}
