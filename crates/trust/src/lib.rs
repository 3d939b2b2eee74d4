//! Who may come in: TLS and tokens for the doors of a process, read from files and read again
//! when they change.
//!
//! ```text
//!   certificate, key, client CA ─► Followed ─► Door::open: a stream, in the clear or inside TLS
//!   token file ──────────────────► Followed ─► Door::admit: a holder, by name
//! ```
//!
//! What may not enter: HTTP, gRPC, agents, and what anybody may do once inside.

mod door;
mod error;
mod files;
mod limits;
mod stream;
mod subject;
mod tls;
mod tokens;

pub use door::{Door, Files, Refused};
pub use error::Error;
pub use files::Keeper;
pub use stream::Stream;
pub use tokens::{Holder, Tokens};
