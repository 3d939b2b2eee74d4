//! The gateway as its process sees it.

use std::sync::Arc;

use bus::{Client, Subject};
use model::{Clock, Random};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::accept::Listener;
use crate::shared::Shared;
use crate::{Config, Error, accept, closes, doubts, drain, expel, inbox, presence, roll, sweep};

/// Words about the records' age waiting. Each says the same: how old they are.
const GENERATIONS_MAX: usize = 64;

/// Holds agents' connections and carries what they say to the workers and back.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    /// A gateway that does nothing yet.
    pub fn new(
        config: Config,
        bus: Client,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let shared = Arc::new(Shared::new(config, bus, clock, random));
        Self { shared }
    }

    /// Serves agents until `shutdown` is cancelled. Then no more connections are accepted, those
    /// there are get a close frame in small batches, the workers are told of each session's end,
    /// and all of that ends by the drain deadline. To be called once.
    pub async fn serve(
        &self,
        listener: impl Listener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let subject = Subject::Gateway(shared.id.clone());
        let requests = shared.bus.subscribe(&subject, shared.limits.inbox_max).await?;
        let generations = shared.bus.subscribe(&Subject::Generation, GENERATIONS_MAX).await?;
        let changes = shared.bus.subscribe(&Subject::RollChanged, roll::CHANGES_MAX).await?;
        presence::publish(shared).await?;
        let (stop, stop_closes) = (shutdown.child_token(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let accepting = accept::run(shared.clone(), listener, stop.clone());
        let requests = inbox::run(shared.clone(), requests);
        tasks.spawn(named("accept", accepting));
        tasks.spawn(named("presence", presence::run(shared.clone())));
        tasks.spawn(named("sweep", sweep::run(shared.clone())));
        tasks.spawn(named("doubts", doubts::run(shared.clone())));
        tasks.spawn(named("generations", doubts::listen(shared.clone(), generations)));
        tasks.spawn(named("expel", expel::run(shared.clone())));
        tasks.spawn(named("roll", roll::run(shared.clone(), changes)));
        tasks.spawn(named("inbox", requests));
        let mut telling = JoinSet::new();
        telling.spawn(closes::run(shared.clone(), stop_closes.clone()));
        tracing::info!(gateway = %shared.id, path = shared.path, "gateway serves");
        let outcome = watch(&mut tasks, &shutdown).await;
        // Also when it was not ordered but a task broke.
        stop.cancel();
        let deadline = drain::begin(shared);
        drain::close_connections(shared, deadline).await;
        stop_closes.cancel();
        if timeout_at(deadline, telling.join_next()).await.is_err() {
            tracing::warn!("not every session's end could be told");
        }
        let last = timeout_at(deadline + shared.limits.close_timeout, presence::publish(shared));
        if !matches!(last.await, Ok(Ok(()))) {
            tracing::warn!("last presence not published");
        }
        tracing::info!(gateway = %shared.id, "gateway stopped");
        outcome
    }

    /// Whether agents may be sent here: the bus was heard lately and no stop was ordered.
    pub fn ready(&self) -> bool {
        self.shared.ready()
    }

    /// How many agents' sessions are held.
    pub fn sessions(&self) -> usize {
        self.shared.index.len()
    }
}

/// Waits for the order to stop, or for a task to end that never should.
async fn watch(
    tasks: &mut JoinSet<&'static str>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        ended = tasks.join_next() => ended,
    };
    match ended {
        // Both may happen at once.
        _ if shutdown.is_cancelled() => Ok(()),
        Some(Ok("inbox" | "generations")) => Err(Error::BusEnded),
        Some(Ok(name)) => Err(Error::TaskEnded(name.to_owned())),
        Some(Err(error)) => Err(Error::TaskEnded(error.to_string())),
        None => Err(Error::TaskEnded("all".to_owned())),
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}
