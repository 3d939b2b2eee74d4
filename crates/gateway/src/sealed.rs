//! Offers that hold secrets cross the bus sealed. They are opened here, before anything else is
//! done with the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use trust::Vault;

/// Opens what workers sealed.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    vault: Option<Arc<Vault>>,
    /// Somebody was told that it cannot.
    complained: AtomicBool,
}

impl Opener {
    pub(crate) fn new(vault: Option<Arc<Vault>>) -> Self {
        Self { vault, complained: AtomicBool::new(false) }
    }

    /// The message with the fields that came sealed; `None` if they do not open.
    pub(crate) fn open(&self, message: &Bytes, sealed: &Bytes) -> Option<Bytes> {
        if sealed.is_empty() {
            return Some(message.clone());
        }
        let opened = match &self.vault {
            Some(vault) => {
                vault.open(bus::SEALED_OFFERS, sealed).map_err(|error| error.to_string())
            }
            None => Err("this gateway has no --secrets-key".to_owned()),
        };
        match opened {
            Ok(fields) => {
                let mut whole = BytesMut::from(&message[..]);
                whole.extend_from_slice(fields.reveal());
                Some(whole.freeze())
            }
            Err(reason) => {
                self.complain(&reason);
                None
            }
        }
    }

    /// Said once: it is so for every offer, until this process is started otherwise.
    fn complain(&self, reason: &str) {
        metrics::counter!("muster_gateway_sealed_offers_dropped_total").increment(1);
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::error!(reason, "connection settings cannot be told to agents here");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_added_and_what_does_not_open_is_none() {
        let vault = Vault::from_key(&[1; 32]);
        let sealed = Bytes::from(vault.seal(bus::SEALED_OFFERS, b"secret", |_| {}));
        let message = Bytes::from_static(b"message ");
        let open = |key: Option<u8>, sealed: &Bytes| {
            let vault = key.map(|byte| Arc::new(Vault::from_key(&[byte; 32])));
            Opener::new(vault).open(&message, sealed)
        };
        assert_eq!(open(Some(1), &sealed).unwrap(), "message secret");
        assert_eq!(open(None, &Bytes::new()).unwrap(), "message ");
        assert_eq!((open(Some(2), &sealed), open(None, &sealed)), (None, None));
    }
}
