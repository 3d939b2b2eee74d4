//! Signals to processes that were started here.

use std::process::{Child, Command, Stdio};

use anyhow::ensure;

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stands still from now on: its sockets stay open and say nothing.
    Stop,
    /// Goes on.
    Continue,
    /// Is asked to end.
    Terminate,
    /// NATS: asks its clients to go elsewhere, then ends.
    LameDuck,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
            Self::Terminate => "-TERM",
            Self::LameDuck => "-USR2",
        }
    }
}

/// Sends a signal to a child that has not been waited for: its id is nobody else's.
pub(crate) fn send(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = child.id().to_string();
    let mut kill = Command::new("kill");
    let status = kill.args([signal.name(), &pid]).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "kill {} {pid} failed: {status}", signal.name());
    Ok(())
}

/// Bytes of memory that a process has in use, by the kernel's count.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| anyhow::anyhow!("{pid} has ended"))
}
