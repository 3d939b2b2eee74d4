//! Every bound of control, with unit and reason.

use std::time::Duration;

/// What control allows itself and operators.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the store may take per request: an operator is told within 2 s that it is away.
    pub store_timeout: Duration,
    /// A gateway not heard for this long is taken for dead: ten of its signs of life.
    pub gateway_lease_ms: u64,
    /// How long a lease of one control lasts that is not renewed.
    pub lease_ms: u64,
    /// How often the lease is renewed, or looked at by others.
    pub lease_interval: Duration,
    /// How long agents may take to report again after records were lost, before those that did not
    /// are shown no more.
    pub return_window: Duration,
    /// How often silent gateways are looked for.
    pub reap_interval: Duration,
    /// How often it is looked at how gateways are filled.
    pub balance_interval: Duration,
    /// How long a silent gateway is remembered, so that old records do not revive it.
    pub gateway_memory_ms: u64,
    /// An agent that polls is taken for gone after three polls at the default interval.
    pub poll_lease_ms: u64,
    /// Agents per page, if the request does not say.
    pub page_default: usize,
    /// Agents per page at most.
    pub page_max: usize,
    /// Bytes of a page, unless one agent alone has more: common clients take answers of 4 MiB.
    pub page_bytes_max: usize,
    /// Fields that a list may be ordered by.
    pub order_terms_max: usize,
    /// Files in one config.
    pub files_max: usize,
    /// Bytes of a file's key.
    pub key_bytes_max: usize,
    /// Bytes of all files of a config: the largest OpAMP message less what surrounds them.
    pub config_bytes_max: usize,
    /// Revisions of one config: the list is one value.
    pub revisions_max: usize,
    /// Assignments: the list is one value.
    pub assignments_max: usize,
    /// Different lists of components that are looked through: some 100 KB each, for fleets of a few
    /// kinds and versions.
    pub component_lists_max: usize,
    /// Labels of one agent: they ride in its record and in every event of it.
    pub labels_max: usize,
    /// Bytes of a label's key, and of its value.
    pub label_bytes_max: usize,
    /// Enrollment tokens, revoked ones too: gateways are told all that are good.
    pub enrollment_tokens_max: usize,
    /// Tries at a compare-and-set that others win.
    pub write_tries: usize,
    /// Agents per message to the workers: one batch of theirs, twice over.
    pub reassess_max: usize,
    /// Messages to the workers under way at once.
    pub reassess_in_flight_max: usize,
    /// How long a worker may take to reassess agents and push to their gateways.
    pub reassess_timeout: Duration,
    /// How often the whole fleet is compared with the assignments even if nothing changed.
    pub reconcile_interval: Duration,
    /// How long a worker may take to forget or relabel agents: an operator waits for it.
    pub worker_timeout: Duration,
    /// How often assignments that are on their way are looked at even if no agent says a word.
    pub brake_interval: Duration,
    /// Pause between two such looks at the least.
    pub brake_pace: Duration,
    /// How often silent agents and lost labels are looked for.
    pub keep_interval: Duration,
    /// Tries per message to the workers; agents left over wait for the next look at the fleet.
    pub reassess_tries: usize,
    /// First pause after something failed; doubled each time.
    pub retry_min: Duration,
    /// Longest pause after something failed.
    pub retry_max: Duration,
    /// How long the bus may take to accept a message or to open a reader.
    pub bus_timeout: Duration,
    /// How long an operator's answer waits for a worker to know the decision.
    pub announce_timeout: Duration,
    /// How long the store may take for one page of a scan.
    pub scan_timeout: Duration,
    /// Shards read at once.
    pub scans_max: usize,
    /// Bytes a second that the store takes or gives of a config's body at the least; large bodies
    /// get that much longer.
    pub body_bytes_per_second: u64,
    /// How long one request may take, upload included.
    pub request_timeout: Duration,
    /// Connections of operators at once.
    pub connections_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Requests at once on one connection.
    pub streams_max: u32,
    /// Silence on a connection before it is probed, and again before it is closed.
    pub keepalive: Duration,
    /// Presence messages waiting: one a second from each gateway.
    pub presence_inbox_max: usize,
    /// How long a silent process or gateway is shown as such: time to see that it is gone.
    pub process_memory_ms: u64,
    /// Processes, and as many gateways, that are remembered.
    pub processes_max: usize,
    /// What processes say of themselves, waiting: one message in 3 s from each.
    pub status_inbox_max: usize,
    /// How long the bus and each store may take to show that they are there.
    pub probe_timeout: Duration,
    /// Watches at once: each keeps the version of every agent, some 5 MB for 100,000 of them.
    pub watches_max: usize,
    /// Changes waiting for one watcher, beside those that the log's reader has waiting.
    pub watch_queue_max: usize,
    /// How long a watcher may take nothing from its full queue before it is ended.
    pub watch_stall: Duration,
    /// How often a watcher is told where it is.
    pub watch_bookmark: Duration,
    /// Traces at once: each asks every gateway all the time.
    pub traces_max: usize,
    /// Entries from before that a trace may begin with.
    pub trace_last_max: u32,
    /// Entries from before that a gateway is asked for which appears during a trace, at least.
    pub trace_late_last: u32,
    /// Entries waiting for who traces, beside those that wait at the gateways.
    pub trace_queue_max: usize,
    /// How long who traces may take nothing: less than gateways wait for the next question.
    pub trace_stall: Duration,
    /// How long a gateway may take to answer: an operator is told within 2 s that none does.
    pub trace_timeout: Duration,
    /// How long a gateway is to wait for something to tell.
    pub trace_wait: Duration,
    /// How often gateways are looked for that were not there before.
    pub trace_look: Duration,
    /// How often targets of open commands are looked at even if nobody answers.
    pub command_turn: Duration,
    /// Requests for commands under way at once.
    pub command_requests_max: usize,
    /// What waits to be told to who carries out commands, and changes that a watcher has not seen.
    pub command_inbox_max: usize,
    /// How long a command may take to be stored: an operator is told within 2 s that it is not.
    pub command_give_timeout: Duration,
    /// Targets of commands that one control carries out at once, some 300 bytes each.
    pub command_targets_open_max: usize,
    /// How often commands are looked through for such as nobody carries out.
    pub command_look_interval: Duration,
    /// How long parts of a command may be there before its first part is.
    pub command_orphan_ms: u64,
    /// Settled commands that are kept.
    pub commands_kept_max: usize,
    /// How often a watcher of a command that another control carries out looks at the ledger.
    pub command_watch_interval: Duration,
    /// Characters of a request's id.
    pub request_id_chars_max: usize,
    /// How long from now a command may expire.
    pub command_expire_max: Duration,
    /// When it expires if nobody says.
    pub command_expire_default: Duration,
    /// How long an effect may be waited for.
    pub command_confirm_max: Duration,
    /// Agents a second that a command may be told, and are if nobody says.
    pub command_rate_max: u32,
    /// See above.
    pub command_rate_default: u32,
    /// Bytes of a custom message's payload: it is kept in the ledger.
    pub command_payload_bytes_max: usize,
    /// How long requests in hand may take once control is told to stop.
    pub stop_timeout: Duration,
}

impl Limits {
    /// Characters of a text that lists are ordered by: they travel in page tokens.
    pub(crate) const ORDER_CHARS: usize = 256;
    /// Custom messages that are kept for commands that wait for an answer.
    pub(crate) const REPLIES_MAX: usize = 16_384;
    /// Bytes of them.
    pub(crate) const REPLIES_BYTES_MAX: usize = 32 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_timeout: Duration::from_millis(1500),
            gateway_lease_ms: 10_000,
            lease_ms: 9_000,
            lease_interval: Duration::from_secs(2),
            return_window: Duration::from_secs(90),
            reap_interval: Duration::from_secs(2),
            balance_interval: Duration::from_secs(10),
            gateway_memory_ms: 30 * 24 * 3_600_000,
            poll_lease_ms: 90_000,
            page_default: 100,
            page_max: 1000,
            page_bytes_max: 3 << 20,
            order_terms_max: 8,
            files_max: 1000,
            key_bytes_max: 1024,
            config_bytes_max: (64 << 20) - (1 << 20),
            revisions_max: 10_000,
            assignments_max: 5_000,
            component_lists_max: 1_024,
            labels_max: 64,
            label_bytes_max: 256,
            enrollment_tokens_max: 1_000,
            write_tries: 5,
            reassess_max: 256,
            reassess_in_flight_max: 4,
            reassess_timeout: Duration::from_secs(15),
            reconcile_interval: Duration::from_secs(30),
            worker_timeout: Duration::from_millis(1800),
            brake_interval: Duration::from_secs(2),
            brake_pace: Duration::from_millis(100),
            keep_interval: Duration::from_secs(60),
            reassess_tries: 4,
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(10),
            bus_timeout: Duration::from_secs(5),
            announce_timeout: Duration::from_millis(300),
            scan_timeout: Duration::from_secs(10),
            scans_max: 8,
            body_bytes_per_second: 8 << 20,
            request_timeout: Duration::from_secs(60),
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            streams_max: 64,
            keepalive: Duration::from_secs(30),
            presence_inbox_max: 4096,
            process_memory_ms: 10 * 60_000,
            processes_max: 4096,
            status_inbox_max: 4096,
            probe_timeout: Duration::from_millis(1500),
            watches_max: 64,
            watch_queue_max: 16,
            watch_stall: Duration::from_secs(10),
            watch_bookmark: Duration::from_secs(10),
            traces_max: 16,
            trace_last_max: 1000,
            trace_late_last: 100,
            trace_queue_max: 64,
            trace_stall: Duration::from_secs(8),
            trace_timeout: Duration::from_millis(1500),
            trace_wait: Duration::from_secs(2),
            trace_look: Duration::from_millis(500),
            command_turn: Duration::from_millis(250),
            command_requests_max: 64,
            command_inbox_max: 256,
            command_give_timeout: Duration::from_millis(1900),
            command_targets_open_max: 100_000,
            command_look_interval: Duration::from_secs(5),
            command_orphan_ms: 60_000,
            commands_kept_max: 10_000,
            command_watch_interval: Duration::from_secs(1),
            request_id_chars_max: 128,
            command_expire_max: Duration::from_secs(7 * 24 * 3600),
            command_expire_default: Duration::from_secs(30),
            command_confirm_max: Duration::from_secs(3600),
            command_rate_max: 10_000,
            command_rate_default: 50,
            command_payload_bytes_max: 64 << 10,
            stop_timeout: Duration::from_secs(5),
        }
    }
}
