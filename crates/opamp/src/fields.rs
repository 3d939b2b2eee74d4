//! The fields of an encoded message one by one, known or not, also where its end is missing.

use prost::bytes::Buf as _;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// One field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
    /// The whole of it, key included.
    pub bytes: &'a [u8],
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number or a group, of so many bytes.
    Plain(u64),
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// The same, whose end is missing.
    Cut {
        /// Bytes that there should be.
        announced: u64,
        /// Bytes that there are.
        left: &'a [u8],
    },
}

impl Value<'_> {
    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Plain(size) => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Cut { announced, .. } => *announced,
        }
    }
}

/// The fields of a message, as far as they can be read.
pub fn pieces(mut rest: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let piece = next(&mut rest);
        if piece.is_none() {
            rest = &[];
        }
        piece
    })
}

/// Adds a string, bytes or a message to one.
pub fn write_bytes(message: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(bytes.len() as u64, message);
    message.extend_from_slice(bytes);
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Piece<'a>> {
    let whole = *rest;
    let (number, wire) = decode_key(rest).ok()?;
    let value = if wire == WireType::LengthDelimited {
        let announced = decode_varint(rest).ok()?;
        match usize::try_from(announced).ok().and_then(|length| rest.split_at_checked(length)) {
            Some((bytes, after)) => {
                *rest = after;
                Value::Bytes(bytes)
            }
            None => Value::Cut { announced, left: std::mem::take(rest) },
        }
    } else {
        let before = rest.remaining();
        skip_field(wire, number, rest, DecodeContext::default()).ok()?;
        Value::Plain((before - rest.remaining()) as u64)
    };
    let bytes = &whole[..whole.len() - rest.len()];
    Some(Piece { number, value, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_and_the_last_may_be_cut() {
        let mut message = vec![0x10, 0x96, 0x01];
        write_bytes(&mut message, 3, b"abc");
        let all: Vec<Piece<'_>> = pieces(&message).collect();
        assert_eq!(all[0], Piece { number: 2, value: Value::Plain(2), bytes: &message[..3] });
        assert_eq!(all[1], Piece { number: 3, value: Value::Bytes(b"abc"), bytes: &message[3..] });
        assert_eq!(all.len(), 2);
        let cut = pieces(&message[..6]).nth(1).unwrap().value;
        assert_eq!(cut, Value::Cut { announced: 3, left: b"a" });
        assert_eq!((cut.size(), pieces(&message[..2]).count()), (3, 0));
        assert_eq!(pieces(&[0xff; 20]).count(), 0);
    }
}
