//! Every bound of the gateway, with its unit and its reason.

use std::time::Duration;

use crate::bucket::Rate;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bounds on what peers may do and on how long anything may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one message from an agent, all fragments and the inflated form counted. The
    /// specification recommends 64 MiB.
    pub receive_bytes_max: usize,
    /// Bytes of one message to an agent, before compression. Recommended are 64 MiB as well.
    pub send_bytes_max: usize,
    /// Bytes of agents' messages held in the whole process, so that many large ones at once do
    /// not exhaust its memory. Beyond it peers are told to come back later.
    pub inbound_bytes_max: usize,
    /// WebSockets held at once. One file each.
    pub connections_max: usize,
    /// Connections at once that speak HTTP: handshakes and polls. One file each.
    pub http_connections_max: usize,
    /// Agents on one WebSocket, for proxies that share one.
    pub agents_per_connection_max: usize,
    /// Bytes of messages of one connection that wait for a report in flight. Beyond it the
    /// socket is not read, which makes the peer wait.
    pub waiting_bytes_max: usize,
    /// Bytes waiting to be written to one connection, beside one message that may be larger. Beyond
    /// it deliveries are refused and the socket is not read; from half of it on, and whenever the
    /// socket takes nothing, newer messages take the place of older ones of their kind.
    pub outbox_bytes_max: usize,
    /// Bytes of replies waiting to be written to one connection, which many agents may share.
    /// Beyond it the connection is cut: these cannot be refused.
    pub replies_bytes_max: usize,
    /// Bytes that the system holds of one connection and has not sent. More would only hide from
    /// us that the peer does not read.
    pub unsent_bytes_max: u32,
    /// Connections from one address at once; 0 is no bound. Behind a load balancer all come from
    /// its own.
    pub connections_per_address_max: usize,
    /// WebSocket handshakes. Beyond it they are refused: a fleet that comes back at once comes in
    /// portions.
    pub handshakes: Rate,
    /// Sessions that one agent begins: a second apart, as others have it, but for a few in a row.
    pub claims: Rate,
    /// How long an agent that begins sessions too often waits for the next before it is sent away.
    pub claim_wait_max: Duration,
    /// Messages of one agent. The most talkative say a few in a second; what is more is a bug.
    pub messages: Rate,
    /// Messages in a row that are too many after which a connection is closed.
    pub floods_in_a_row_max: u32,
    /// Agents that are remembered because they came lately. It takes as many in a few seconds to
    /// get by this.
    pub guarded_max: usize,
    /// Sessions' reports asked of the workers at once, and polls; more wait here, where they have
    /// a deadline.
    pub reports_in_flight_max: usize,
    /// Openings (the first reports of sessions) asked of the workers at once: fewer, since they
    /// come in storms and reports must not wait behind them.
    pub openings_in_flight_max: usize,
    /// How long the workers may take for an opening. As many are asked at once as they answer in
    /// that time, far below `report_timeout`: what is answered after it is asked again.
    pub opening_latency: Duration,
    /// Requests from the bus that wait or are worked on at once.
    pub inbox_max: usize,
    /// Ended sessions waiting to be told to the workers: all of a large gateway's at once.
    pub closes_max: usize,
    /// Malformed messages in a row after which a socket is closed. One may be a bug in a field;
    /// this many are another protocol.
    pub malformed_in_a_row_max: u32,

    /// Attributes in one list.
    pub attributes_max: usize,
    /// Bytes of a key or a name.
    pub key_bytes_max: usize,
    /// Bytes of an attribute's value or an error text.
    pub text_bytes_max: usize,
    /// Bytes of a hash. The longest in use have 64.
    pub hash_bytes_max: usize,
    /// Entries of a map: components, packages, files. A tree has no more in all of its maps.
    pub entries_max: usize,
    /// Bytes of an agent's description, encoded: it is in the memory of every control, and in every
    /// event about the agent, which has to fit into one message of the bus (1 MiB).
    pub description_bytes_max: usize,
    /// Bytes of anything else that an agent lists of itself, encoded: its health tree, packages,
    /// components, capabilities. All of it is read and written with each change of its record.
    pub inventory_bytes_max: usize,
    /// Levels of attributes in attributes and components in components. Collectors use 3.
    pub depth_max: usize,

    /// For a TLS handshake, and then for the first request's headers. Many agents that reconnect at
    /// once take turns on the processor.
    pub handshake_deadline: Duration,
    /// From a reply's end to a request's complete headers. Longer than
    /// the usual polling interval of 30 s, so that polls may reuse their connection.
    pub header_deadline: Duration,
    /// For an HTTP request's body.
    pub body_deadline: Duration,
    /// From a WebSocket's start to the end of its first message. Agents speak at once.
    pub opening_deadline: Duration,
    /// For one message on a WebSocket, from its first byte to its last.
    pub message_deadline: Duration,
    /// Without progress in writing: the peer does not read.
    pub write_deadline: Duration,
    /// Quiet time after which a socket is pinged: below the 60 s at which common proxies give up.
    pub ping_interval: Duration,
    /// For the answer to such a ping.
    pub pong_deadline: Duration,
    /// For the answer to a ping that a worker waits for (rule C3).
    pub probe_deadline: Duration,
    /// Replies in flight may delay the answer to a close by this much.
    pub close_grace: Duration,
    /// From our close frame to the end of the connection; the known client waits 5 s for its own.
    pub close_deadline: Duration,
    /// How often deadlines of connections are looked at.
    pub sweep_interval: Duration,

    /// For one attempt to have a report answered.
    pub report_timeout: Duration,
    /// For all attempts on a WebSocket; after it the agent is told to come back (rule G6).
    pub report_patience: Duration,
    /// For a report's turn among those in flight. With the patience, it stays within the 30 s that
    /// known clients wait.
    pub report_turn_deadline: Duration,
    /// For a poll's answer: the least patient known client waits 1 s.
    pub poll_patience: Duration,
    /// For a command to be flushed, however long its sender would wait.
    pub command_send_max: Duration,
    /// For the agent's proof that it has a command, the same.
    pub command_proof_max: Duration,
    /// Commands remembered by what became of them, one per agent: some 150 bytes each. Who asks
    /// again does so within seconds.
    pub commands_remembered_max: usize,
    /// For a delivery to be flushed. Workers wait 5 s for the outcomes of a whole batch.
    pub deliver_deadline: Duration,
    /// Without progress for so long, a delivery is not waited for: those to others would wait too.
    pub flush_grace: Duration,
    /// For one attempt to tell a worker that a session ended, and the attempts made.
    pub close_timeout: Duration,
    /// See `close_timeout`.
    pub close_attempts: u32,
    /// How often control is asked who may come in.
    pub roll_interval: Duration,
    /// For its answer: a revoked agent is gone within two seconds.
    pub roll_timeout: Duration,
    /// How long to wait before it is asked again that did not answer.
    pub roll_retry: Duration,
    /// Age at which what is known of it counts no more.
    pub roll_stale: Duration,
    /// How often presence is published.
    pub presence_interval: Duration,
    /// Silence of the bus after which the gateway is not ready: several presence intervals.
    pub bus_silence_max: Duration,
    /// Silence towards the bus after which sessions may have been given up by others: half of what
    /// control waits for before it has them reaped.
    pub silence_max: Duration,
    /// How often sessions that are not sure are looked after.
    pub doubt_interval: Duration,
    /// Agents asked for their full state and not done at once: that many reports are in flight at
    /// most after records were lost.
    pub asked_max: usize,
    /// How long an agent may take to report its full state before it is asked again, or another
    /// one in its place.
    pub ask_patience: Duration,
    /// How often an agent is asked before its numbers are left to tell what is missing.
    pub asks_max: u32,
    /// Shortest time an agent is told to stay away; up to twice as long is drawn. The
    /// specification recommends at least 30 s.
    pub retry_after: Duration,
    /// Longest time over which connections are given away on one order.
    pub shed_over_max: Duration,
    /// Bytes in which the last messages of all agents are remembered; 0 for none.
    pub trace_ring_bytes: usize,
    /// Agents that are looked at at once, each by somebody.
    pub taps_max: usize,
    /// Bytes that wait for who looks at one agent. Beyond it the oldest are dropped.
    pub tap_bytes_max: usize,
    /// Bytes of one answer to who looks, so that it crosses the bus in one piece.
    pub tap_answer_bytes_max: usize,
    /// How long an answer waits for something to tell.
    pub tap_wait_max: Duration,
    /// Without a question for so long nobody looks any more: several waits.
    pub tap_idle: Duration,
    /// From the order to stop to the end, below the 30 s that orchestrators grant.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            receive_bytes_max: 64 * MIB,
            send_bytes_max: 64 * MIB,
            inbound_bytes_max: 512 * MIB,
            connections_max: 100_000,
            http_connections_max: 100_000,
            agents_per_connection_max: 1_000,
            waiting_bytes_max: 256 * KIB,
            outbox_bytes_max: 64 * KIB,
            replies_bytes_max: 2 * MIB,
            unsent_bytes_max: 16 << 10,
            connections_per_address_max: 0,
            handshakes: Rate { per_second: 5_000, burst: 5_000 },
            claims: Rate { per_second: 1, burst: 5 },
            claim_wait_max: Duration::from_secs(5),
            messages: Rate { per_second: 20, burst: 1_200 },
            floods_in_a_row_max: 8,
            guarded_max: 65_536,
            reports_in_flight_max: 512,
            openings_in_flight_max: 256,
            opening_latency: Duration::from_millis(500),
            inbox_max: 1_024,
            closes_max: 131_072,
            malformed_in_a_row_max: 8,
            attributes_max: 4_096,
            key_bytes_max: 4 * KIB,
            text_bytes_max: MIB,
            hash_bytes_max: KIB,
            entries_max: 10_000,
            description_bytes_max: 256 * KIB,
            inventory_bytes_max: 4 * MIB,
            depth_max: 16,
            handshake_deadline: Duration::from_secs(15),
            header_deadline: Duration::from_secs(45),
            body_deadline: Duration::from_secs(30),
            opening_deadline: Duration::from_secs(30),
            message_deadline: Duration::from_secs(120),
            write_deadline: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            pong_deadline: Duration::from_secs(20),
            probe_deadline: Duration::from_secs(2),
            close_grace: Duration::from_secs(1),
            close_deadline: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(1),
            report_timeout: Duration::from_secs(5),
            report_patience: Duration::from_secs(15),
            report_turn_deadline: Duration::from_secs(15),
            poll_patience: Duration::from_millis(900),
            command_send_max: Duration::from_secs(10),
            command_proof_max: Duration::from_secs(10),
            commands_remembered_max: 16_384,
            deliver_deadline: Duration::from_secs(4),
            flush_grace: Duration::from_millis(250),
            close_timeout: Duration::from_secs(2),
            close_attempts: 3,
            roll_interval: Duration::from_secs(10),
            roll_timeout: Duration::from_millis(1_500),
            roll_retry: Duration::from_millis(250),
            roll_stale: Duration::from_secs(50),
            presence_interval: Duration::from_secs(1),
            bus_silence_max: Duration::from_secs(10),
            silence_max: Duration::from_secs(5),
            doubt_interval: Duration::from_millis(250),
            asked_max: 256,
            ask_patience: Duration::from_secs(10),
            asks_max: 3,
            retry_after: Duration::from_secs(30),
            shed_over_max: Duration::from_secs(60),
            trace_ring_bytes: 4 * MIB,
            taps_max: 32,
            tap_bytes_max: 256 * KIB,
            tap_answer_bytes_max: 256 * KIB,
            tap_wait_max: Duration::from_secs(2),
            tap_idle: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(25),
        }
    }
}
