//! Who may come in, and what keeps secrets: TLS and tokens for the doors of a process, read from
//! files and read again when they change; and a vault that seals what is stored.
//!
//! ```text
//!   certificate, key, client CA ─► Followed ─► Door::open: a stream, in the clear or inside TLS
//!   token file ──────────────────► Followed ─► Door::admit: a holder, by name
//!   secrets key ─────────────────► Vault::seal, open, mac: what may lie in a store
//! ```
//!
//! What may not enter: HTTP, gRPC, agents, and what anybody may do once inside.

mod certificate;
mod credential;
mod door;
mod enrollment;
mod error;
mod files;
mod keys;
mod limits;
mod roll;
mod secret;
mod stream;
mod subject;
mod tls;
mod tokens;
mod vault;

pub use certificate::{CertificateFacts, facts, goes_with};
pub use credential::{Credential, PUBLIC_KEY_BYTES, PublicKey, Signer};
pub use door::{Door, Files, Refused};
pub use enrollment::{enrollment_token, token_digest};
pub use error::Error;
pub use files::Keeper;
pub use roll::{Enrolls, Pass, Revoked, Roll};
pub use secret::Secret;
pub use stream::Stream;
pub use tokens::{Holder, Tokens};
pub use vault::{VAULT_KEY_BYTES, Vault, VaultError};
