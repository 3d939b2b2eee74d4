//! One cluster's long life: a fault, a heal, a check, and the next.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use services::Size;

use crate::api::Api;
use crate::check::{Memory, Touched};
use crate::crowd::Crowd;
use crate::draw::Draw;
use crate::limits::{HOLD_MS, KILL_EVERY_MS, KILLED, START};
use crate::operator::{Grace, Operators};
use crate::rig::Rig;
use crate::scenario::{Role, Scenario, draw, table};
use crate::story::{Story, Violation};

/// What a campaign is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Draws everything.
    pub seed: u64,
    /// How many faults.
    pub faults: u64,
    /// The number of the first one.
    pub from: u64,
    /// Only scenarios whose id begins so.
    pub only: Option<String>,
    /// Which faults, how close together.
    pub form: Form,
    /// On a small cluster, with scenarios that need nothing but signals and proxies.
    pub smoke: bool,
    /// How many agents; a number that fits the form by default.
    pub agents: Option<usize>,
    /// Where logs go when an invariant does not hold.
    pub logs: PathBuf,
}

/// The forms of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any fault; each is healed, and all is right, before the next one.
    Faults,
    /// One process after the other is killed, every 2 to 5 s, whether or not all is right again.
    /// That is waited for at every rest and at the end.
    Kills,
}

/// What a campaign came to.
#[derive(Debug)]
pub struct Outcome {
    /// Faults injected, healed and checked.
    pub faults: u64,
    /// Different scenarios among them.
    pub scenarios: usize,
    /// The first invariant that did not hold, with where to look.
    pub violation: Option<Violation>,
    /// Agents in the crowd.
    pub agents: usize,
    /// Calls of operators, and how many of them were refused.
    pub calls: (u64, u64),
    /// The longest that control took to say no, while it was not touched itself.
    pub slowest_refusal: Duration,
    /// The longest from a heal until every record was right.
    pub slowest_heal: Duration,
    /// What agents were asked for everything again, in all.
    pub full_state_requests: u64,
    /// Connections that agents made beyond their first ones.
    pub reconnects: u64,
    /// In all.
    pub took: Duration,
}

/// A campaign under way.
#[derive(Debug)]
pub(crate) struct Campaign {
    // In the order in which they are to end.
    pub(crate) operators: Operators,
    pub(crate) crowd: Crowd,
    pub(crate) rig: Rig,
    pub(crate) apis: Vec<Api>,
    pub(crate) grace: Arc<Grace>,
    pub(crate) story: Story,
    pub(crate) memory: Memory,
    pub(crate) drawn_from: Vec<Scenario>,
    /// Processes started again since the last fault.
    pub(crate) started: BTreeSet<(Role, usize)>,
    /// The fault garbled or lost what is stored.
    pub(crate) lenient: bool,
    /// Whose turn it is to be asked.
    pub(crate) turn: usize,
}

/// Runs a campaign to its end, or to the first invariant that does not hold. `say` gets a line
/// for each fault.
pub async fn run(options: &Options, mut say: impl FnMut(String)) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut campaign = Campaign::start(options).await?;
    let mut outcome = Outcome {
        faults: 0,
        scenarios: 0,
        violation: None,
        agents: campaign.crowd.members.len(),
        calls: (0, 0),
        slowest_refusal: Duration::ZERO,
        slowest_heal: Duration::ZERO,
        full_state_requests: 0,
        reconnects: 0,
        took: Duration::ZERO,
    };
    say(format!("{} agents connected after {:.1?}", outcome.agents, start.elapsed()));
    let mut seen = BTreeSet::new();
    for number in options.from..options.from + options.faults {
        let mut lots = Draw::of(options.seed, number);
        let scenario = draw(&campaign.drawn_from, &mut lots).clone();
        let (line, checked) = match options.form {
            Form::Faults => campaign.fault(number, &scenario, &mut lots).await?,
            Form::Kills => campaign.kill(number, &scenario, &mut lots).await?,
        };
        say(line);
        match checked {
            Ok(took) => outcome.slowest_heal = outcome.slowest_heal.max(took),
            Err(found) => {
                say(campaign.counter_example(options, number, &scenario, &found)?);
                outcome.violation = Some(found);
                break;
            }
        }
        seen.insert(scenario.id.clone());
        outcome.faults += 1;
    }
    if outcome.violation.is_none()
        && let Err(found) = campaign.rest().await
    {
        say(format!("at the end: {found}\n{}", campaign.story.tell()));
        outcome.violation = Some(found);
    }
    let book = campaign.operators.book().await;
    outcome.calls = (book.calls, book.refused);
    outcome.slowest_refusal = book.slowest_refusal;
    outcome.scenarios = seen.len();
    outcome.took = start.elapsed();
    drop(book);
    for member in campaign.crowd.members.iter() {
        member.handle.see(|agent| {
            outcome.full_state_requests += agent.ledger.full_state_requests;
            outcome.reconnects += agent.ledger.connections.saturating_sub(1);
        });
    }
    Ok(outcome)
}

impl Campaign {
    async fn start(options: &Options) -> anyhow::Result<Self> {
        let only = options.only.as_deref();
        let fits = |one: &Scenario| match (only, options.form) {
            (Some(only), _) => one.id.starts_with(only),
            (None, Form::Faults) => one.waits_for.is_none() && (one.smoke || !options.smoke),
            (None, Form::Kills) => one.kills_one(),
        };
        let drawn_from: Vec<Scenario> = table().into_iter().filter(fits).collect();
        ensure!(!drawn_from.is_empty(), "no scenario begins with {only:?}");
        let size = match options.smoke {
            true => Size { gateways: 2, workers: 2, controls: 1, nats: 1 },
            false => Size { gateways: 3, workers: 3, controls: 2, nats: 3 },
        };
        let rig = Rig::start(size).await.context("starting the cluster")?;
        let (agents, changes, heartbeat) = match (options.smoke, options.form) {
            (true, _) => (options.agents.unwrap_or(150), 40, Duration::from_secs(2)),
            (false, Form::Faults) => (options.agents.unwrap_or(1_500), 100, Duration::from_secs(5)),
            // As much as two cores do beside the crowd itself.
            (false, Form::Kills) => (options.agents.unwrap_or(1_500), 500, Duration::from_secs(10)),
        };
        let wired = matches!(options.form, Form::Faults);
        let crowd = Crowd::start(&rig, agents, changes, heartbeat, wired).await?;
        let (apis, grace, story) = (Api::all(&rig)?, Arc::<Grace>::default(), Story::new());
        let desk = apis.clone();
        let operators = Operators::start(desk, &crowd, grace.clone(), story.clone(), options.seed);
        let mut campaign = Self {
            operators,
            crowd,
            rig,
            apis,
            grace,
            story,
            memory: Memory::new(agents, size.controls),
            drawn_from,
            started: BTreeSet::new(),
            lenient: false,
            turn: 0,
        };
        if let Err(found) = campaign.begin(START).await {
            bail!("the cluster is not right before the first fault: {found}");
        }
        Ok(campaign)
    }

    /// One fault from its injection to its check.
    async fn fault(
        &mut self,
        number: u64,
        scenario: &Scenario,
        lots: &mut Draw,
    ) -> anyhow::Result<(String, Result<Duration, Violation>)> {
        let hold = lots.millis(HOLD_MS.0, HOLD_MS.1);
        self.remember_connections().await;
        self.started.clear();
        // Whatever it is to be, operators need not be answered in time while it begins.
        self.grace.control.store(true, Ordering::SeqCst);
        self.story.note(format_args!("fault {number}: {}", scenario.id));
        let injected = self.inject(scenario, lots, hold).await?;
        let told = injected.told.join(", ");
        self.story.note(format_args!("injected: {told}"));
        self.lenient = injected.touched.records;
        self.grace.records.store(self.lenient, Ordering::SeqCst);
        self.grace.control.store(injected.touched.control, Ordering::SeqCst);
        tokio::time::sleep(hold).await;
        let touched = self.heal(injected).await?;
        self.story.note("healed");
        let checked = self.check(number, &touched).await;
        self.forgive(&touched);
        let took = match &checked {
            Ok(took) => format!("right after {took:.1?}"),
            Err(found) => found.to_string(),
        };
        Ok((format!("{number:5} {:32} {hold:.1?} {told}: {took}", scenario.id), checked))
    }

    /// One process killed and started again, and what can be judged without waiting.
    async fn kill(
        &mut self,
        number: u64,
        scenario: &Scenario,
        lots: &mut Draw,
    ) -> anyhow::Result<(String, Result<Duration, Violation>)> {
        let begun = Instant::now();
        let interval = lots.millis(KILL_EVERY_MS.0, KILL_EVERY_MS.1);
        self.grace.control.store(true, Ordering::SeqCst);
        self.story.note(format_args!("kill {number}: {}", scenario.id));
        let injected = self.inject(scenario, lots, Duration::ZERO).await?;
        let told = injected.told.join(", ");
        tokio::time::sleep(KILLED).await;
        self.heal(injected).await?;
        let checked = self.look(number).await;
        let took = match &checked {
            Ok(took) => format!("fine after {took:.1?}"),
            Err(found) => found.to_string(),
        };
        tokio::time::sleep(interval.saturating_sub(begun.elapsed())).await;
        Ok((format!("{number:5} {:24} {told}: {took}", scenario.id), checked))
    }

    /// The next fault is judged by itself.
    fn forgive(&mut self, touched: &Touched) {
        if touched.records {
            self.lenient = false;
        }
        self.grace.records.store(false, Ordering::SeqCst);
        self.grace.control.store(false, Ordering::SeqCst);
    }

    /// What to look at: how to run it again, what happened last, and where the logs are.
    fn counter_example(
        &self,
        options: &Options,
        number: u64,
        scenario: &Scenario,
        found: &Violation,
    ) -> anyhow::Result<String> {
        let logs = options.logs.join(format!("{}-{number}", options.seed));
        std::fs::create_dir_all(&logs)?;
        for (name, muster) in self.rig.named() {
            std::fs::write(logs.join(format!("{name}.log")), muster.log())?;
        }
        let mut again =
            format!("cargo xtask chaos --seed {} --from {number} --faults 1", options.seed);
        if options.smoke {
            again.push_str(" --smoke");
        }
        if let Some(only) = &options.only {
            again.push_str(&format!(" --only {only}"));
        }
        Ok(format!(
            "VIOLATION of {found}\n  seed {}, fault {number}, scenario {}\n  again: {again} \
             --agents {}\n  logs: {}\n{}",
            options.seed,
            scenario.id,
            self.crowd.members.len(),
            logs.display(),
            self.story.tell()
        ))
    }
}
