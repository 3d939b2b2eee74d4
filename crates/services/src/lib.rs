//! The real NATS and Redis for tests and tools: found, started on free ports, in the open or
//! behind TLS and a password, stopped when dropped; the `muster` binary in the same way, alone or
//! as a whole cluster; certificates; and the files that formats are held to. None of Muster's code
//! may enter here, and no product crate depends on it.

mod authority;
mod cluster;
mod golden;
mod lock;
mod metrics;
mod muster;
mod ports;
mod redis;
mod server;
mod signal;

use std::path::{Path, PathBuf};

pub use authority::{Authority, Pair};
pub use cluster::{Cluster, Edge, Service, Size, Way};
pub use golden::Golden;
pub use lock::{Lock, PASSWORD, USER};
pub use metrics::Metrics;
pub use muster::{Muster, binary};
pub use ports::free as free_address;
pub use redis::Answer;
pub use server::Server;
pub use signal::Signal;

/// Where the project's own set-up (`cargo xtask services`) puts what the machine lacks.
pub fn install_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services")
}

/// A Python that has the OpAMP client of PyPI, where set-up made one.
pub fn python() -> Option<PathBuf> {
    Some(install_dir().join("python/bin/python")).filter(|python| python.is_file())
}

/// A folder in which Node finds the OpAMP client of npm, where set-up made one.
pub fn node_packages() -> Option<PathBuf> {
    let folder = install_dir().join("node");
    folder.join("node_modules/@elastic/opamp-client-node").is_dir().then_some(folder)
}

/// The program to start: from the project's own set-up, else from the machine.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(install_dir().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}
