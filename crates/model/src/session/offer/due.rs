//! Whether an offer goes into a reply: the same for all kinds.

use crate::Timestamp;
use crate::record::Delivered;

/// A poll's offer counts as lost after two polls at the default interval without a word on it.
const POLL_OFFER_PATIENCE_MS: u64 = 60_000;

/// What decides.
pub(super) struct Question<'a, H> {
    /// The offer.
    pub(super) hash: &'a [u8],
    /// What the message is about, if it has a word on this kind.
    pub(super) said: Option<&'a [u8]>,
    /// What the agent's last word was about.
    pub(super) known: Option<&'a [u8]>,
    /// The offer that went out last.
    pub(super) delivered: Option<&'a Delivered<H>>,
    /// The agent is one that has words on this kind.
    pub(super) reports: bool,
}

impl<H: AsRef<[u8]>> Question<'_, H> {
    /// Whether the reply to report `n` of an epoch is to carry it; a poll's epoch is 0.
    pub(super) fn is_due(&self, epoch: u64, n: u64, now: Timestamp) -> bool {
        match self.said {
            // Its word is about this offer: whatever it is, that is an answer.
            Some(said) if said == self.hash => false,
            // Its word is about another one: the reply must carry the right one.
            Some(_) => true,
            None => self.known != Some(self.hash) && !self.was_delivered(epoch, n, now),
        }
    }

    /// Whether this went out already and waits for the agent's word. The very report that it
    /// answered, coming again, gets it again.
    fn was_delivered(&self, epoch: u64, n: u64, now: Timestamp) -> bool {
        let Some(delivered) = self.delivered else { return false };
        if delivered.hash.as_ref() != self.hash || (delivered.epoch, delivered.n) == (epoch, n) {
            return false;
        }
        if epoch != 0 || delivered.epoch != 0 {
            return delivered.epoch == epoch;
        }
        // A poll has no session to count in. An agent that reports statuses is told again once its
        // silence has lasted; one that never does was told, and that is all there is to know.
        !self.reports || now.millis_since(delivered.at) < POLL_OFFER_PATIENCE_MS
    }
}
