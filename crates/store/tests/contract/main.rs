//! What every store promises, checked on every backend: one list of cases, each run on a fresh
//! store of each kind. What only one backend can show has cases of its own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test binary without the harness that would allow them"
)]

mod backups;
mod bodies;
mod counts;
mod deletes;
mod fixture;
mod generations;
mod locked;
mod outbox;
mod presence;
mod random;
mod redb;
mod redis;
mod refusals;
mod scans;
mod writes;

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use services::Server;
use store::{Memory, Redb, Redis, RedisAccess, RedisConfig, Store};

type Case = fn(Arc<dyn Store>) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        vec![$((
            concat!(stringify!($module), "::", stringify!($case)),
            (|store| Box::pin($module::$case(store))) as Case,
        )),*]
    };
}

/// The contract.
fn cases() -> Vec<(&'static str, Case)> {
    cases![
        writes::what_is_written_is_read_in_the_order_asked,
        writes::another_version_conflicts_and_changes_nothing,
        writes::later_writes_of_a_batch_see_earlier_ones,
        writes::tables_do_not_mix,
        writes::nothing_asked_is_nothing_done,
        writes::racing_increments_lose_none,
        outbox::events_ride_with_their_write_until_settled,
        outbox::another_version_settles_nothing,
        outbox::a_write_replaces_the_events_before_it,
        outbox::only_unsettled_keys_of_the_shard_are_listed,
        outbox::nobody_builds_on_a_value_without_its_events,
        scans::every_key_of_a_shard_is_seen_and_no_other,
        scans::a_scan_brings_the_events_too,
        scans::what_stays_is_seen_while_others_write,
        bodies::bodies_of_five_mebibytes_come_back,
        bodies::values_of_a_mebibyte_come_back,
        bodies::any_bytes_make_ids_and_values,
        presence::the_last_word_of_each_holder_is_kept,
        random::any_operations_do_what_memory_does,
        deletes::a_key_deleted_in_silence_is_gone_at_once,
        deletes::a_deletion_that_is_told_stays_until_it_is_settled,
        deletes::what_comes_back_before_that_goes_on_counting,
        deletes::presence_goes_holder_by_holder,
        generations::every_shard_has_an_age_that_stays,
        generations::a_key_begins_where_its_writer_says,
        backups::what_was_taken_is_put_back,
        counts::writes_and_commands_are_counted,
    ]
}

/// A Redis for all cases, which keep apart by fleet.
type Shared = Arc<OnceLock<Server>>;

fn main() {
    redb::be_the_child_if_asked();
    let arguments = Arguments::from_args();
    let shared = Shared::default();
    let mut trials = Vec::new();
    for (name, case) in cases() {
        trials.push(Trial::test(format!("memory::{name}"), move || {
            run(async move { case(Arc::new(Memory::default())).await })
        }));
        trials.push(Trial::test(format!("redb::{name}"), move || {
            let dir = tempfile::tempdir()?;
            let store = Arc::new(Redb::open(dir.path().join("muster.redb"))?);
            run(async move { case(store).await })
        }));
        let shared = shared.clone();
        trials.push(redis_trial(format!("redis::{name}"), move || {
            let server = shared.get_or_init(|| Server::redis().unwrap());
            let (url, fleet) = (server.url(), name.replace("::", "-"));
            run(async move {
                let redis =
                    Redis::connect(RedisConfig { url, fleet, access: RedisAccess::default() })
                        .await
                        .unwrap();
                case(Arc::new(redis)).await;
            })
        }));
    }
    trials.extend(locked::trials(cases()));
    trials.extend(redb::trials());
    trials.extend(redis::trials());
    trials.extend(refusals::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the server, which `exit` would leave running.
    drop(shared);
    conclusion.exit()
}

/// Runs a case to its end, or to its panic.
fn run(case: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let deadline = std::time::Duration::from_secs(60);
    runtime
        .block_on(async { tokio::time::timeout(deadline, case).await })
        .map_err(|_| Failed::from(format!("not done in {deadline:?}")))
}

/// A trial that needs a Redis: without one it fails in CI and is skipped, loudly, elsewhere.
fn redis_trial(name: String, trial: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if services::find("redis-server").is_some() || in_ci {
        return Trial::test(name, trial);
    }
    eprintln!("SKIPPED {name}: redis-server is not installed");
    Trial::test(name, || Ok(())).with_ignored_flag(true)
}
