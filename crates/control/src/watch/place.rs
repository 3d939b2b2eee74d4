//! Where a watch is, as a text that watchers keep and bring back.

use bus::Position;

use crate::Error;
use crate::api::page::fingerprint;

/// A place in one event log, for who wants one thing of it: a selector, mostly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which log.
    pub(crate) log: u64,
    wanted: u64,
    /// Where it goes on.
    pub(crate) next: Position,
}

impl Place {
    pub(crate) fn new(log: u64, wanted: &str, next: Position) -> Self {
        Self { log, wanted: fingerprint(wanted), next }
    }

    /// Reads what [`text`](Self::text) wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('.');
        let mut hex = || parts.next().and_then(|part| u64::from_str_radix(part, 16).ok());
        match (hex(), hex(), hex(), parts.next()) {
            (Some(log), Some(wanted), Some(next), None) => {
                Ok(Self { log, wanted, next: Position(next) })
            }
            _ => Err(Error::invalid("position", "is not one that was handed out")),
        }
    }

    /// Whether it was handed out to who wanted this.
    pub(crate) fn is_of(&self, wanted: &str) -> bool {
        self.wanted == fingerprint(wanted)
    }

    pub(crate) fn text(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.log, self.wanted, self.next.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_for_its_own_selector() {
        let place = Place::new(u64::MAX, "env=prod", Position(77));
        assert_eq!(Place::parse(&place.text()), Ok(place));
        assert!(place.is_of("env=prod") && !place.is_of("env=dev"));
        for bad in ["x", "1.2", "1.2.3.4", "1.2.z", "1..3"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
