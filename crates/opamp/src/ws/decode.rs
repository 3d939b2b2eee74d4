//! Frames as they arrive, in pieces of any size.
//!
//! A decoder between messages owns no heap memory. While a message arrives it holds what really
//! came, never what a header announced.

use super::{CONTROL_BYTES_MAX, Event, Opcode, Role, close_code, mask_bytes};

/// Most frames one message may come in: the largest message in fragments of 512 bytes. Without a
/// bound a peer could send empty fragments for ever.
pub const FRAGMENTS_MAX: u32 = 1 << 17;

/// The peer broke RFC 6455. The connection is to be closed with [`Violation::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set though no extension was negotiated.
    #[error("reserved bit set without an extension")]
    ReservedBit,
    /// The opcode is not one of RFC 6455.
    #[error("unknown opcode {0:#x}")]
    Opcode(u8),
    /// A client's frame came without a mask.
    #[error("frame of a client is not masked")]
    Unmasked,
    /// A server's frame came with a mask.
    #[error("frame of a server is masked")]
    Masked,
    /// A control frame came in fragments.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// A control frame is longer than 125 bytes.
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    /// A length is written in more bytes than it needs, or exceeds 63 bits.
    #[error("payload length is not in its shortest form")]
    Length,
    /// A continuation came with no message begun.
    #[error("continuation without a message")]
    Continuation,
    /// A new message began inside another one.
    #[error("new message inside a fragmented one")]
    Interleaved,
    /// A message came in too many fragments.
    #[error("message has more than {FRAGMENTS_MAX} fragments")]
    Fragments,
    /// A close frame's payload is one byte long.
    #[error("close frame with half a code")]
    CloseLength,
    /// A close frame's code may not be sent.
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    /// A close frame's reason is not text.
    #[error("close reason is not utf-8")]
    CloseReason,
    /// A message exceeds the limit.
    #[error("message exceeds {0} bytes")]
    TooBig(usize),
}

impl Violation {
    /// The code to close with.
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::CloseReason => close_code::INVALID_DATA,
            Self::TooBig(_) => close_code::TOO_BIG,
            Self::ReservedBit
            | Self::Opcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Length
            | Self::Continuation
            | Self::Interleaved
            | Self::Fragments
            | Self::CloseLength
            | Self::CloseCode(_) => close_code::PROTOCOL,
        }
    }
}

/// Turns the bytes of one connection into events.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    message_bytes_max: usize,
    state: State,
    message: Option<Message>,
}

#[derive(Debug)]
enum State {
    Header(Header),
    Payload(Frame),
    /// After a close or a violation nothing more is read.
    Ended,
}

/// The bytes of a header so far: 2, up to 8 of length, 4 of mask.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; 14],
    filled: u8,
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: Option<[u8; 4]>,
    bytes: usize,
    taken: usize,
    /// Payload of a control frame; data goes into the message.
    control: Vec<u8>,
}

/// A data message whose frames are arriving.
#[derive(Debug)]
struct Message {
    text: bool,
    /// Stays empty for text, which nobody reads.
    data: Vec<u8>,
    /// Payload bytes so far, of text too.
    bytes: usize,
    fragments: u32,
}

impl Decoder {
    /// A decoder at one end of a connection. `message_bytes_max` bounds a message over all its
    /// fragments.
    pub const fn new(role: Role, message_bytes_max: usize) -> Self {
        Self {
            role,
            message_bytes_max,
            state: State::Header(Header { bytes: [0; 14], filled: 0 }),
            message: None,
        }
    }

    /// Takes bytes off `input` up to the next event. `None` means that all of it is taken and
    /// more is needed. After a close or a violation everything is taken and nothing reported.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        let outcome = self.advance(input);
        if matches!(outcome, Err(_) | Ok(Some(Event::Close(_)))) {
            self.state = State::Ended;
            self.message = None;
        }
        outcome
    }

    /// Whether the next byte would begin a new message.
    pub fn is_idle(&self) -> bool {
        self.message.is_none()
            && match &self.state {
                State::Header(header) => header.filled == 0,
                State::Payload(_) => false,
                State::Ended => true,
            }
    }

    /// Payload bytes held for a message that is not complete.
    pub fn held_bytes(&self) -> usize {
        let control = match &self.state {
            State::Payload(frame) => frame.control.len(),
            State::Header(_) | State::Ended => 0,
        };
        control + self.message.as_ref().map_or(0, |message| message.data.len())
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            match &mut self.state {
                State::Ended => {
                    *input = &[];
                    return Ok(None);
                }
                State::Header(header) => {
                    if !header.fill(input, self.role)? {
                        return Ok(None);
                    }
                    let frame = header.frame();
                    self.admit(&frame)?;
                    self.state = State::Payload(frame);
                }
                State::Payload(frame) => {
                    let message = self.message.as_mut();
                    if !frame.fill(input, message) {
                        return Ok(None);
                    }
                    if let Some(event) = self.finish()? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Checks a frame's header against the message it belongs to.
    fn admit(&mut self, frame: &Frame) -> Result<(), Violation> {
        let begun = match (frame.opcode, &mut self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) => return Err(Violation::Continuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Interleaved),
            (Opcode::Continuation, Some(begun)) => begun,
            (opcode @ (Opcode::Text | Opcode::Binary), begun @ None) => begun.insert(Message {
                text: opcode == Opcode::Text,
                data: Vec::new(),
                bytes: 0,
                fragments: 0,
            }),
        };
        begun.fragments += 1;
        if begun.fragments > FRAGMENTS_MAX {
            return Err(Violation::Fragments);
        }
        if frame.bytes > self.message_bytes_max - begun.bytes {
            return Err(Violation::TooBig(self.message_bytes_max));
        }
        begun.bytes += frame.bytes;
        Ok(())
    }

    /// Ends the frame whose payload is complete.
    fn finish(&mut self) -> Result<Option<Event>, Violation> {
        let state = std::mem::replace(&mut self.state, State::Header(Header::default()));
        let State::Payload(frame) = state else {
            return Ok(None);
        };
        Ok(Some(match frame.opcode {
            Opcode::Ping => Event::Ping(frame.control),
            Opcode::Pong => Event::Pong(frame.control),
            Opcode::Close => Event::Close(close_payload(&frame.control)?),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                if !frame.fin {
                    return Ok(None);
                }
                match self.message.take() {
                    Some(Message { text: true, .. }) => Event::Text,
                    Some(message) => Event::Binary(message.data),
                    None => return Ok(None),
                }
            }
        }))
    }
}

impl Header {
    /// Takes bytes until the header is complete; says whether it is. Each rule is checked as
    /// soon as its bytes are there, so that a bad frame ends before its payload.
    fn fill(&mut self, input: &mut &[u8], role: Role) -> Result<bool, Violation> {
        while usize::from(self.filled) < self.needed() {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(false);
            };
            *input = rest;
            self.bytes[usize::from(self.filled)] = *byte;
            self.filled += 1;
            if self.filled == 2 {
                self.check_start(role)?;
            }
        }
        self.check_length()?;
        Ok(true)
    }

    fn needed(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        2 + self.length_bytes() + if self.is_masked() { 4 } else { 0 }
    }

    fn length_bytes(&self) -> usize {
        match self.bytes[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn is_masked(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    fn check_start(&self, role: Role) -> Result<(), Violation> {
        if self.bytes[0] & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let bits = self.bytes[0] & 0x0f;
        let opcode = Opcode::from_bits(bits).ok_or(Violation::Opcode(bits))?;
        match (role, self.is_masked()) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        if opcode.is_control() {
            if self.bytes[0] & 0x80 == 0 {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(self.bytes[1] & 0x7f) > CONTROL_BYTES_MAX {
                return Err(Violation::LongControl);
            }
        }
        Ok(())
    }

    fn check_length(&self) -> Result<(), Violation> {
        let length = self.length();
        let shortest = match self.length_bytes() {
            2 => length > 125,
            8 => length > u64::from(u16::MAX) && length >> 63 == 0,
            _ => true,
        };
        if shortest { Ok(()) } else { Err(Violation::Length) }
    }

    fn length(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.bytes[1] & 0x7f),
            count => self.bytes[2..2 + count]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }

    /// The frame that a complete, checked header announces.
    fn frame(&self) -> Frame {
        let mask_at = 2 + self.length_bytes();
        let mask = |index| self.bytes[mask_at + index];
        Frame {
            opcode: Opcode::from_bits(self.bytes[0] & 0x0f).expect("checked with the first byte"),
            fin: self.bytes[0] & 0x80 != 0,
            mask: self.is_masked().then(|| std::array::from_fn(mask)),
            // What memory cannot address is over every limit anyway.
            bytes: usize::try_from(self.length()).unwrap_or(usize::MAX),
            taken: 0,
            control: Vec::new(),
        }
    }
}

impl Frame {
    /// Takes payload bytes; says whether the payload is complete.
    fn fill(&mut self, input: &mut &[u8], message: Option<&mut Message>) -> bool {
        let (part, rest) = input.split_at(input.len().min(self.bytes - self.taken));
        *input = rest;
        let into = match message {
            _ if self.opcode.is_control() => Some(&mut self.control),
            Some(message) if !message.text => Some(&mut message.data),
            Some(_) | None => None,
        };
        if let Some(into) = into {
            let start = into.len();
            into.extend_from_slice(part);
            if let Some(mask) = self.mask {
                mask_bytes(&mut into[start..], mask, self.taken % 4);
            }
        }
        self.taken += part.len();
        self.taken == self.bytes
    }
}

fn close_payload(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::CloseLength),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::CloseCode(code));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::CloseReason),
    }
}
