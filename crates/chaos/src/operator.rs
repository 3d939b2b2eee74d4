//! Operators who go on all the time: decide, label, list and read, whatever is broken. What they
//! are told is noted, and judged where it can be judged on the spot.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tonic::Code;

use crate::api::{Api, Called};
use crate::book::{Decision, Group, Known};
use crate::crowd::{Crowd, GROUP, Member, number};
use crate::draw::Draw;
use crate::limits::{GROUP_AGENTS, OPERATOR_PACE, REFUSAL};
use crate::story::{Story, Violation, violation};

/// The key of the label that is set on groups.
pub(crate) const LABEL: &str = "chaos";

/// What may be otherwise while a fault lasts.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    /// A control is touched itself: it need not answer in time.
    pub(crate) control: AtomicBool,
    /// Records are lost or garbled by the fault: they need not hold what was acknowledged.
    pub(crate) records: AtomicBool,
}

/// What operators know, and have done so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) groups: Vec<Group>,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// The longest that control took to refuse while it was not touched itself.
    pub(crate) slowest_refusal: Duration,
    pub(crate) violations: Vec<Violation>,
    serial: u64,
}

/// The operators.
#[derive(Debug)]
pub(crate) struct Operators {
    desk: Arc<Desk>,
    _working: JoinSet<()>,
}

#[derive(Debug)]
struct Desk {
    book: Mutex<Book>,
    apis: Vec<Api>,
    members: Arc<Vec<Member>>,
    grace: Arc<Grace>,
    story: Story,
}

impl Operators {
    /// Starts them. Their lots are their own: how many actions fit between two faults is up to
    /// the machine.
    pub(crate) fn start(
        apis: Vec<Api>,
        crowd: &Crowd,
        grace: Arc<Grace>,
        story: Story,
        seed: u64,
    ) -> Self {
        let groups = vec![Group::default(); crate::crowd::groups(crowd.members.len())];
        let book = Mutex::new(Book { groups, ..Book::default() });
        let desk = Arc::new(Desk { book, apis, members: crowd.members.clone(), grace, story });
        let mut working = JoinSet::new();
        working.spawn(desk.clone().work(Draw::of(seed, u64::MAX)));
        Self { desk, _working: working }
    }

    /// The book, with no action under way for as long as it is held.
    pub(crate) async fn book(&self) -> MutexGuard<'_, Book> {
        self.desk.book.lock().await
    }
}

impl Desk {
    async fn work(self: Arc<Self>, mut lots: Draw) {
        loop {
            {
                let mut book = self.book.lock().await;
                let api = lots.pick(&self.apis);
                let group = lots.below(book.groups.len());
                match lots.below(10) {
                    0..=2 => self.decide(&mut book, api, group).await,
                    3 => self.label(&mut book, api, group).await,
                    4 => self.settle(&mut book, api).await,
                    5 => {
                        let page = api.page(&selector(group), "").await;
                        self.judge(&mut book, "list", &page);
                    }
                    _ => self.probe(&mut book, api, lots.pick(&self.members)).await,
                }
            }
            tokio::time::sleep(OPERATOR_PACE).await;
        }
    }

    /// Another config for a group.
    async fn decide(&self, book: &mut Book, api: &Api, group: usize) {
        if book.groups[group].open().is_some() {
            return self.settle(book, api).await;
        }
        book.serial += 1;
        let name = format!("g{group}");
        let applied = api.apply(&name, &format!("decision: {}\n", book.serial)).await;
        self.judge(book, format_args!("apply {name}"), &applied);
        let Ok(revision) = applied.outcome else { return };
        let most = i32::try_from(GROUP_AGENTS * 2).unwrap_or(i32::MAX);
        let assigned = api.assign(&name, &selector(group), &revision.name, most).await;
        self.judge(book, format_args!("assign {}", revision.name), &assigned);
        let known = match assigned.outcome {
            Ok(_) => Known::Sure,
            Err(_) => Known::Open(Instant::now()),
        };
        let decision = Decision { hash: revision.hash, revision: revision.name, known };
        book.groups[group].decisions.push(decision);
    }

    async fn label(&self, book: &mut Book, api: &Api, group: usize) {
        book.serial += 1;
        let value = book.serial;
        let labelled = api.label(&selector(group), LABEL, &value.to_string()).await;
        self.judge(book, format_args!("label g{group} {value}"), &labelled);
        let known = match (labelled.outcome, book.groups[group].label) {
            // What was asked for before and is open may come after it.
            (_, Some((_, Known::Open(since)))) if since.elapsed() < crate::limits::SETTLE => {
                Known::Open(Instant::now())
            }
            (Ok(_), _) => Known::Sure,
            (Err(_), _) => Known::Open(Instant::now()),
        };
        book.groups[group].label = Some((value, known));
    }

    /// Looks at what became of decisions without a clear answer.
    async fn settle(&self, book: &mut Book, api: &Api) {
        let listed = api.assignments().await;
        self.judge(book, "list assignments", &listed);
        let Ok(listed) = listed.outcome else { return };
        for (number, group) in book.groups.iter_mut().enumerate() {
            let name = format!("assignments/g{number}");
            let found = listed.assignments.iter().find(|one| one.name == name);
            group.settle(found.map(|one| one.config_revision.as_str()));
        }
    }

    /// What was acknowledged to an agent before is in its record now.
    async fn probe(&self, book: &mut Book, api: &Api, member: &Member) {
        let proven = member.proven();
        let read = api.agent(&member.name).await;
        self.judge(book, "read", &read);
        let Ok(agent) = read.outcome else { return };
        let stored = number(&agent.health.unwrap_or_default().status);
        if stored < proven && !self.grace.records.load(Ordering::SeqCst) {
            let name = &member.name;
            let found = format!("{name} was acknowledged {proven}, its record holds {stored}");
            book.violations.push(violation("I9", found));
        }
    }

    fn judge<T>(&self, book: &mut Book, call: impl fmt::Display, called: &Called<T>) {
        book.calls += 1;
        let Err(status) = &called.outcome else { return };
        let (code, took) = (status.code(), called.took);
        self.story.note(format_args!("{call}: {code:?} after {took:.1?}: {}", status.message()));
        book.refused += 1;
        if self.grace.control.load(Ordering::SeqCst) {
            return;
        }
        book.slowest_refusal = book.slowest_refusal.max(took);
        let clear = matches!(
            code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::NotFound
        );
        if took > REFUSAL || !clear {
            let found = format!("{call} ended with {code:?} after {took:?}: {}", status.message());
            book.violations.push(violation("API", found));
        }
    }
}

fn selector(group: usize) -> String {
    format!("{GROUP}=g{group}")
}
