//! Every bound of the campaign, with unit and reason.

use std::time::Duration;

/// How long the first agents may take to connect and be listed.
pub(crate) const START: Duration = Duration::from_secs(120);
/// How long a fault lasts, in milliseconds: most are over before agents give up.
pub(crate) const HOLD_MS: (u64, u64) = (300, 3_000);
/// How long a process that is asked to end may take: its drain, and the grace of orchestrators.
pub(crate) const END: Duration = Duration::from_secs(30);
/// How long after the heal every process may take to be ready.
pub(crate) const READY: Duration = Duration::from_secs(60);
/// How long after the heal records may take to equal what agents last reported: an agent that was
/// told to come back later stays away for 30 s and more.
pub(crate) const RECORDS: Duration = Duration::from_secs(100);
/// How long agents may take to run what was decided for them. What is lost on the way is told
/// again at the reconciler's next look, 30 s later at most; an agent that was told to come back
/// later stays away for as long.
pub(crate) const CONFIGS: Duration = Duration::from_secs(120);
/// Faults between two rests in which configs are waited for.
pub(crate) const REST_EVERY: u64 = 20;
/// How often the fleet is looked at while something is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How long an operator waits for one call.
pub(crate) const CALL: Duration = Duration::from_secs(10);
/// How long control may take to say that something behind it is away: 2 s are promised, and a
/// machine on which everything runs at once gets one more.
pub(crate) const REFUSAL: Duration = Duration::from_secs(3);
/// How long after a call without a clear answer its effect may still come: every wait that
/// control has in one, and some.
pub(crate) const SETTLE: Duration = Duration::from_secs(12);
/// Time between two actions of the operator.
pub(crate) const OPERATOR_PACE: Duration = Duration::from_millis(150);
/// Agents in a group that is configured together.
pub(crate) const GROUP_AGENTS: usize = 25;
/// Memory that one process may have in use, in bytes.
pub(crate) const RESIDENT_BYTES_MAX: u64 = 512 << 20;
/// Calls and faults that are kept to be told beside a counter-example.
pub(crate) const STORY_MAX: usize = 60;
/// Agents whose stored records are read at each heal; at rests all are.
pub(crate) const SAMPLE: usize = 40;
/// Records read at once.
pub(crate) const READS_AT_ONCE: usize = 16;
/// Time from one kill to the next in a campaign of kills, in milliseconds.
pub(crate) const KILL_EVERY_MS: (u64, u64) = (2_000, 5_000);
/// How long a killed process stays away there: what a supervisor needs to notice.
pub(crate) const KILLED: Duration = Duration::from_millis(500);
/// How long agents that move may take to be answered, to run what was decided, and the loser to
/// close what it believed to hold.
pub(crate) const MOVED: Duration = Duration::from_secs(90);
/// Looks at a fleet in which nothing is to happen any more.
pub(crate) const SETTLED_LOOKS: usize = 8;
