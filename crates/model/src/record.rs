//! What the fleet knows of one agent: one value, one key, one compare-and-set.

use std::collections::BTreeMap;

use opamp::InstanceUid;
use opamp::v1;

use crate::assign::Content;
use crate::command::{CommandId, Progress};
use crate::components::ListHash;
use crate::config::{ConfigHash, RevisionRef};
use crate::credential::Admission;
use crate::packages::PackagesOffer;
use crate::settings::{SettingsHash, SettingsOffer};
use crate::{GatewayId, SessionId, Timestamp};

/// Everything the fleet knows about one agent. One key in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRecord {
    /// Who it is.
    pub instance_uid: InstanceUid,
    /// Rises with every claim by a session; 0 until the first.
    pub epoch: u64,
    /// The session that holds its connection now.
    pub owner: Option<Owner>,
    /// The session that the agent was taken from because its gateway was silent. It may only have
    /// slept: then it is the owner again.
    pub reaped: Option<SessionId>,
    /// Gateway of the last owner: its presence may hold a newer sequence number.
    pub last_gateway: Option<GatewayId>,
    /// The last report of this epoch that was taken, by the gateway's count.
    pub n: u64,
    /// Number of the last message stored; `None` before the first (0 is a number).
    pub sequence_num: Option<u64>,
    /// Whether a full report is wanted.
    pub full_state: FullState,
    /// AgentCapabilities as last declared.
    pub capabilities: u64,
    /// What the agent last said.
    pub reported: Reported,
    /// What it should run.
    pub offered: Offered,
    /// The offer that last went out.
    pub delivered: Option<Delivered>,
    /// Configs it reported FAILED, newest last, at most [`FAILED_HASHES_MAX`].
    pub failed: Vec<ConfigHash>,
    /// Packages it should have.
    pub packages: Track<PackagesOffer>,
    /// Connection settings it should use.
    pub settings: Track<SettingsOffer>,
    /// What it was last told of its connection to us.
    pub opamp_told: Option<OpAmpTold>,
    /// Superseded sessions, newest last, at most [`RECENT_SESSIONS_MAX`].
    pub recent_sessions: Vec<SessionId>,
    /// Its last message was a poll over plain HTTP.
    pub polls: bool,
    /// Address its last session or poll came from.
    pub remote_address: String,
    /// Name of the token they came with; empty where none was asked for.
    pub token_name: String,
    /// Other live agents that used its uid.
    pub duplicate: Duplicate,
    /// How it comes in; `None` where agents have no credentials.
    pub admission: Option<Box<Admission>>,
    /// The operator's own labels: a copy of the ledger's.
    pub labels: BTreeMap<String, String>,
    /// Version of them in the ledger; 0 if there are none.
    pub labels_version: u64,
    /// Generation of the store that the record was last written in by its agent's word; 0 if that
    /// was not noted yet. What is older may have been set back.
    pub generation: u64,
    /// The list of components that belongs to the hash it reported, where that is known.
    pub components: Option<ListHash>,
    /// Commands that wait for its polls, or waited, newest last.
    pub commands: Vec<PolledCommand>,
    /// What shows that commands have an effect.
    pub signs: Signs,
    /// What was taken of its custom messages.
    pub custom: CustomMessages,
    /// When it first spoke; the epoch's start if that was lost.
    pub first_seen: Timestamp,
    /// When it last spoke, as far as stored: presence knows better.
    pub last_seen: Timestamp,
}

/// Failed hashes remembered per agent and kind: a fleet that tries more bad configs than this on
/// one agent may offer it the oldest again.
pub const FAILED_HASHES_MAX: usize = 16;

/// Superseded sessions remembered per agent, so that a claim of theirs that was delayed on the
/// bus cannot steal the agent back.
pub const RECENT_SESSIONS_MAX: usize = 8;

/// The gateway and session that hold an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its session with the agent.
    pub session: SessionId,
}

/// Where the server stands with asking for a full report (rules SEQ-01, SEQ-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FullState {
    /// Every reply asks until a full report arrives.
    pub wanted: bool,
    /// Requests since the numbers last advanced as they should.
    pub asked: u32,
    /// The agent's numbers never advance: gaps mean nothing for it.
    pub ignores_sequence: bool,
    /// Requests for the list of components whose hash was reported last (rule COMP-07).
    pub components_asked: u32,
}

/// What was seen of other live agents with the same uid: cloned machines, mostly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Duplicate {
    /// New uids given to newcomers lately.
    pub told: u32,
    /// When the last one was given; the epoch's start if never.
    pub last: Timestamp,
}

/// Counts of what shows that commands have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// Signs of a restart: a later start time, or numbers that begin anew.
    pub restarts: u64,
    /// When the last of them was seen; the epoch's start if none was.
    pub restarted: Timestamp,
    /// Full reports that were asked for and stored.
    pub full_reports: u64,
}

/// A command that waits for a poll, or waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledCommand {
    /// Which command.
    pub id: CommandId,
    /// ServerToAgent without a uid; empty once it was told.
    pub message: Vec<u8>,
    /// From then on no poll is told it.
    pub not_after: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// Number of the poll whose reply had it.
    pub number: u64,
    /// The agent's signs when it was told.
    pub told: Signs,
    /// That poll came again, so that its reply may not have arrived: the next one proves nothing.
    pub doubtful: bool,
    /// It is a restart: of those that were told, the last one explains the agent's next restart.
    pub restarts: bool,
}

/// What is remembered of an agent's custom messages: they are events, and no part of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CustomMessages {
    /// How many were taken.
    pub taken: u64,
    /// Sequence number that the last one came with.
    pub number: u64,
    /// Beginning of the SHA-256 of its content.
    pub digest: u64,
    /// When as much of their data may be kept again as after a rest.
    pub spent_until: Timestamp,
}

/// The compressible parts of AgentToServer as last reported. The messages are the agent's own
/// words and are kept as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reported {
    /// Who and where it is.
    pub agent_description: Option<v1::AgentDescription>,
    /// Its health, with its components'.
    pub health: Option<v1::ComponentHealth>,
    /// The config it runs.
    pub effective_config: Option<v1::EffectiveConfig>,
    /// What became of the last remote config.
    pub remote_config_status: Option<v1::RemoteConfigStatus>,
    /// Its packages.
    pub package_statuses: Option<v1::PackageStatuses>,
    /// Its custom capabilities.
    pub custom_capabilities: Option<v1::CustomCapabilities>,
    /// Its components, or their hash.
    pub available_components: Option<v1::AvailableComponents>,
    /// What became of the last connection settings.
    pub connection_settings_status: Option<v1::ConnectionSettingsStatus>,
}

/// What an agent should run, and which decision said so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offered {
    /// The config on offer; `None` means nothing is assigned and nothing is taken away.
    pub config: Option<RevisionRef>,
    /// Version of the assignments that decided it. Older decisions do not undo newer ones.
    pub decision: u64,
}

/// What an agent should have of one kind, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track<T> {
    /// The offer; `None` means nothing is assigned and nothing is taken away.
    pub offered: Option<T>,
    /// Version of the assignments that decided it.
    pub decision: u64,
    /// The offer that last went out.
    pub delivered: Option<Delivered<[u8; 32]>>,
    /// Hashes of offers that it reported FAILED, newest last, at most [`FAILED_HASHES_MAX`].
    pub failed: Vec<[u8; 32]>,
}

/// The agent's connection to us, as it was last offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpAmpTold {
    /// Of the settings of that class and the credential.
    pub hash: SettingsHash,
    /// When the agent had started, by its health. A later start has forgotten them, maybe.
    pub start_time_unix_nano: u64,
    /// How often it was told since.
    pub times: u32,
    /// Epoch it was told in.
    pub epoch: u64,
    /// The report whose reply carried it; 0 for a push.
    pub n: u64,
}

/// An offer that went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered<H = ConfigHash> {
    /// What.
    pub hash: H,
    /// Epoch it went out in.
    pub epoch: u64,
    /// The report whose reply carried it; 0 for a push.
    pub n: u64,
    /// When.
    pub at: Timestamp,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self { offered: None, decision: 0, delivered: None, failed: Vec::new() }
    }
}

impl<T> Track<T> {
    /// Whether the offer of this hash is the one that went out last.
    pub fn was_delivered(&self, hash: &[u8; 32]) -> bool {
        self.delivered.as_ref().is_some_and(|delivered| delivered.hash == *hash)
    }

    /// Remembers an offer that the agent failed on.
    pub fn note_failed(&mut self, hash: [u8; 32]) {
        if !self.failed.contains(&hash) {
            self.failed.push(hash);
            let excess = self.failed.len().saturating_sub(FAILED_HASHES_MAX);
            self.failed.drain(..excess);
        }
    }
}

impl AgentRecord {
    /// An agent that has not spoken yet.
    pub fn new(instance_uid: InstanceUid, now: Timestamp) -> Self {
        Self {
            instance_uid,
            epoch: 0,
            owner: None,
            reaped: None,
            last_gateway: None,
            n: 0,
            sequence_num: None,
            full_state: FullState::default(),
            capabilities: 0,
            reported: Reported::default(),
            offered: Offered::default(),
            delivered: None,
            failed: Vec::new(),
            packages: Track::default(),
            settings: Track::default(),
            opamp_told: None,
            recent_sessions: Vec::new(),
            polls: false,
            remote_address: String::new(),
            token_name: String::new(),
            admission: None,
            duplicate: Duplicate::default(),
            labels: BTreeMap::new(),
            labels_version: 0,
            generation: 0,
            components: None,
            commands: Vec::new(),
            signs: Signs::default(),
            custom: CustomMessages::default(),
            first_seen: now,
            last_seen: now,
        }
    }

    /// Whether this is what it is offered.
    pub fn offers(&self, content: &Content) -> bool {
        match content {
            Content::Config(config) => self.offered.config.as_ref() == Some(config),
            Content::Packages(set) => {
                let offered = self.packages.offered.as_ref();
                offered.is_some_and(|it| (&it.set, it.revision) == (&set.set, set.revision))
            }
            Content::Settings(settings) => {
                let offered = self.settings.offered.as_ref();
                offered.and_then(|it| it.classes.get(&settings.class)) == Some(settings)
            }
        }
    }

    /// Whether it waits to be let in: until then it is told nothing.
    pub fn is_pending(&self) -> bool {
        self.admission.as_ref().is_some_and(|admission| admission.is_pending())
    }

    /// Whether the agent's mask has a capability.
    pub fn can(&self, capability: v1::AgentCapabilities) -> bool {
        opamp::capability::has(self.capabilities, capability)
    }
}
