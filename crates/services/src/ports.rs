//! Ports to listen on that are free and stay so: below those that the kernel gives to connections,
//! so that a process that was killed finds its port free again while thousands connect.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

/// The first port to give, and how many there are. Linux gives connections those from 32,768 on.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
/// Ports that one process gives before it comes to those of the next.
const STRIDE: u16 = 97;

/// The next to try, relative to where this process begins.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address of this machine on which nobody listens.
pub fn free() -> anyhow::Result<SocketAddr> {
    // Processes that look at the same time begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    let begin = begin.wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let turn = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + turn % COUNT));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port from {FIRST} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_given_twice_or_while_somebody_listens() {
        let (one, two) = (free().unwrap(), free().unwrap());
        assert_ne!(one, two);
        let _listening = TcpListener::bind(two).unwrap();
        NEXT.fetch_sub(1, Ordering::Relaxed);
        assert_ne!(free().unwrap(), two);
    }
}
