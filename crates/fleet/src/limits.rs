//! Every bound of a worker, with unit and reason.

use std::time::Duration;

/// What a worker allows itself.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages taken into one batch: one read and one write of the store for all of them. The
    /// store's cost per record falls until about here.
    pub batch_max: usize,
    /// Batches worked on at once, so that one waits for the store while another decodes.
    pub batches_max: usize,
    /// Reassessments worked on at once. They wait for gateways, and must not keep reports waiting.
    pub reassessments_max: usize,
    /// Batches of contested claims worked on at once. They wait for pongs.
    pub contests_max: usize,
    /// Messages of one kind waiting to be taken. Beyond it they are dropped, and their gateways
    /// ask again.
    pub inbox_max: usize,
    /// Times a record is loaded again after losing a race for it.
    pub conflicts_max: usize,
    /// How long a gateway may take to flush an offer to its sockets.
    pub deliver_timeout: Duration,
    /// How long a gateway may take to find out whether an agent's socket is alive. Its own
    /// deadline for the pong is 2 s.
    pub probe_timeout: Duration,
    /// How long a gateway may take to say that it is there.
    pub ping_timeout: Duration,
    /// How often gateways are told how old the records are, though nothing changed: one message.
    pub generation_interval: Duration,
    /// How often the assignments are read again even if nobody said that they changed: an operator
    /// who holds all offers is obeyed within about this, whatever the bus loses.
    pub intent_refresh: Duration,
    /// How long a new agent waits for its labels: a part of what a poll waits for its answer.
    pub labels_timeout: Duration,
    /// How often one shard is looked through for events that a crash left behind.
    pub sweep_interval: Duration,
    /// How often the stores are asked whether they answer.
    pub ready_interval: Duration,
    /// Bytes of config bodies kept ready for offers.
    pub bodies_bytes_max: u64,
    /// How long work in hand may take once the worker is told to stop.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_max: 128,
            batches_max: 4,
            reassessments_max: 4,
            contests_max: 64,
            inbox_max: 8192,
            conflicts_max: 8,
            deliver_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_millis(2500),
            ping_timeout: Duration::from_millis(1500),
            generation_interval: Duration::from_secs(10),
            intent_refresh: Duration::from_millis(900),
            labels_timeout: Duration::from_millis(300),
            sweep_interval: Duration::from_secs(1),
            ready_interval: Duration::from_secs(1),
            bodies_bytes_max: 128 << 20,
            stop_timeout: Duration::from_secs(5),
        }
    }
}
