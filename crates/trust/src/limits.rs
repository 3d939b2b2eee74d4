//! Every bound of the doors, with unit and reason.

use std::time::Duration;

/// How often files are looked at. A change counts once it was seen twice, so what a token opened
/// that is taken out is closed well within two seconds.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// Bytes of a file: 10,000 tokens, or more authorities than there are. It is read at every look.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Characters of a token at the least: shorter ones can be guessed.
pub(crate) const TOKEN_CHARS_MIN: usize = 16;

/// Bytes of a token at the most: it travels in a header.
pub(crate) const TOKEN_BYTES_MAX: usize = 4096;

/// Bytes of a name: it is stored with what its holder did.
pub(crate) const NAME_BYTES_MAX: usize = 128;
