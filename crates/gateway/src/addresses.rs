//! How many connections come from where, as far as there is a bound on it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bits of an IPv6 address that say where: what is behind them, one peer has for itself.
const V6_PREFIX: u128 = !0 << 64;

/// Connections by address.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// 0 is no bound, and then nothing is counted.
    max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts for its address until this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    addresses: Arc<Addresses>,
    from: IpAddr,
}

/// As many connections of this address as may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Addresses {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    /// Counts one more connection; `None` where nothing is counted.
    pub(crate) fn visit(self: &Arc<Self>, from: IpAddr) -> Result<Option<Arc<Visit>>, TooMany> {
        if self.max == 0 {
            return Ok(None);
        }
        let from = match from.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & V6_PREFIX).into(),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut counts = self.counts();
        let count = counts.entry(from).or_default();
        if *count >= self.max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(Arc::new(Visit { addresses: self.clone(), from })))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(addresses: &Arc<Addresses>, from: &str) -> Result<Option<Arc<Visit>>, TooMany> {
        addresses.visit(from.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_own_bound() {
        let addresses = Addresses::new(2);
        let held = [visit(&addresses, "192.0.2.1"), visit(&addresses, "::ffff:192.0.2.1")];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(visit(&addresses, "192.0.2.1").unwrap_err(), TooMany);
        assert!(visit(&addresses, "192.0.2.2").is_ok());
        drop(held);
        assert!(visit(&addresses, "192.0.2.1").is_ok());
        assert!(addresses.counts().is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn a_network_of_one_peer_is_one_address() {
        let addresses = Addresses::new(1);
        let _held = visit(&addresses, "2001:db8:0:1::1");
        assert!(visit(&addresses, "2001:db8:0:1:ffff::2").is_err());
        assert!(visit(&addresses, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let addresses = Addresses::new(0);
        assert!(visit(&addresses, "192.0.2.1").unwrap().is_none());
    }
}
