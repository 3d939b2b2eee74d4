//! One file per table: what its values mean in bytes, and back.
//!
//! Every value carries a format number. A reader keeps the top-level fields it does not know and
//! writes them back, so that an older binary does not undo what a newer one stored.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::{Error, Key};

pub mod agents;
pub mod commands;
pub mod components;
pub mod configs;
pub mod credentials;
pub mod enrollment;
#[cfg(test)]
mod golden;
pub mod intent;
pub mod labels;
pub mod leases;
pub mod packages;
pub mod quarantine;
pub mod settings;
mod tracks;

/// A value as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// What is understood of it.
    pub value: T,
    /// Top-level fields of a newer binary, to be written back as they are.
    pub unknown: Bytes,
}

/// Decodes a value whose top-level fields are numbered from 1 to `known`.
fn read<M: Message + Default>(
    key: &Key,
    bytes: &Bytes,
    known: u32,
    format: impl FnOnce(&M) -> u32,
    newest: u32,
) -> Result<(M, Bytes), Error> {
    let message = M::decode(bytes.clone()).map_err(|error| corrupt(key, &error))?;
    match format(&message) {
        format if format == 0 || format > newest => {
            Err(corrupt(key, &format!("format {format} is unknown, the newest known is {newest}")))
        }
        _ => Ok((message, unknown_fields(bytes, known).map_err(|error| corrupt(key, &error))?)),
    }
}

/// Encodes a value in front of the fields kept for a newer binary.
fn write(message: &impl Message, unknown: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(message.encoded_len() + unknown.len());
    message.encode(&mut out).expect("a buffer grows to what the message needs");
    out.extend_from_slice(unknown);
    out.freeze()
}

/// The fields numbered above `known`, as they stand.
fn unknown_fields(bytes: &Bytes, known: u32) -> Result<Bytes, prost::DecodeError> {
    let mut unknown = BytesMut::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let field = rest.clone();
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if number > known {
            unknown.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(unknown.freeze())
}

fn corrupt(key: &Key, reason: &impl ToString) -> Error {
    Error::Corrupt { key: key.to_string(), reason: reason.to_string() }
}
