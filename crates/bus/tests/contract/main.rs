//! What every bus promises, run on each backend.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod creds;
mod locked;
mod log;
mod messages;
mod nats_only;
mod parcels;
mod typed;

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, InProcess, Nats, NatsAccess, NatsConfig};
use services::{Authority, Lock, Server};

/// How long anything may take that should take no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One bus, seen by two processes.
pub(crate) struct Pair {
    pub(crate) a: Arc<dyn Bus>,
    pub(crate) b: Arc<dyn Bus>,
    _server: Option<Server>,
}

pub(crate) async fn in_process() -> Option<Pair> {
    let bus = Arc::new(InProcess::default());
    Some(Pair { a: bus.clone(), b: bus, _server: None })
}

pub(crate) async fn nats() -> Option<Pair> {
    let server = nats_server()?;
    let (a, b) = (connect(&server, "a").await, connect(&server, "b").await);
    Some(Pair { a: Arc::new(a), b: Arc::new(b), _server: Some(server) })
}

/// Inside TLS, by user and password.
pub(crate) async fn locked_nats() -> Option<Pair> {
    program()?;
    let authority = Authority::new().unwrap();
    let server = Server::locked_nats(&Lock::new(&authority).unwrap()).unwrap();
    let connect = async |name| {
        connect_as(locked::url(&server), name, locked::access(&authority)).await.unwrap()
    };
    let (a, b) = (connect("a").await, connect("b").await);
    Some(Pair { a: Arc::new(a), b: Arc::new(b), _server: Some(server) })
}

pub(crate) async fn connect(server: &Server, name: &str) -> Nats {
    connect_to(server.url(), name).await.unwrap()
}

pub(crate) async fn connect_to(url: String, name: &str) -> Result<Nats, bus::Error> {
    connect_as(url, name, NatsAccess::default()).await
}

pub(crate) async fn connect_as(
    url: String,
    name: &str,
    access: NatsAccess,
) -> Result<Nats, bus::Error> {
    let (fleet, name) = ("test".to_owned(), name.to_owned());
    Nats::connect(NatsConfig { url, access, fleet, name, replicas: 1 }).await
}

/// A NATS of its own, or nothing where there is none.
pub(crate) fn nats_server() -> Option<Server> {
    program()?;
    Some(Server::nats().unwrap())
}

/// The NATS of this machine, or nothing where there is none, which CI does not let pass.
pub(crate) fn program() -> Option<std::path::PathBuf> {
    let found = services::find("nats-server");
    if found.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "nats-server is not installed: run `cargo xtask services`");
        eprintln!("SKIPPED: nats-server is not installed: run `cargo xtask services`");
    }
    found
}

/// Runs every case on every backend, each as a test of its own.
macro_rules! contract {
    ($($module:ident :: $case:ident),* $(,)?) => {
        contract!(@backend in_process: $($module::$case),*);
        contract!(@backend nats: $($module::$case),*);
        contract!(@backend locked_nats: $($module::$case),*);
    };
    (@backend $backend:ident: $($module:ident :: $case:ident),*) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(pair) = super::$backend().await {
                    super::$module::$case(pair).await;
                }
            })*
        }
    };
}

contract! {
    messages::everybody_who_listens_hears,
    messages::a_group_shares_and_takes_turns,
    messages::an_answer_reaches_its_asker,
    messages::nobody_there_is_told_from_silence,
    messages::a_dropped_subscription_hears_nothing_more,
    messages::a_full_queue_drops_counts_and_goes_on,
    messages::a_payload_over_the_limit_is_refused,
    messages::an_answer_after_the_deadline_reaches_nobody,
    messages::silence_lasts_until_the_deadline,
    messages::all_who_hear_a_question_may_answer,
    messages::what_is_sent_is_counted,
    log::entries_are_read_in_order_from_any_position,
    log::the_same_entry_twice_is_one,
    log::a_reader_waits_for_what_comes,
    log::a_position_that_is_not_there_is_out_of_range,
    log::a_key_that_is_no_word_is_refused,
    typed::large_messages_cross_both_ways,
    parcels::nothing_stays_behind_once_an_answer_was_fetched,
    parcels::a_question_nobody_waits_for_takes_its_parcel_along,
    parcels::everybody_who_listens_gets_a_large_message,
    parcels::a_large_message_does_not_hold_up_small_ones,
    parcels::an_answer_lost_on_its_way_is_silence,
    typed::an_envelope_is_what_the_protocol_says,
    typed::a_message_over_the_limit_is_refused,
    typed::nonsense_is_skipped,
    typed::a_deadline_travels_with_the_message,
    typed::fleets_do_not_hear_each_other,
    typed::a_trace_goes_on_at_the_other_end,
}
