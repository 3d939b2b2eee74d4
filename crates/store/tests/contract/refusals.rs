//! Every state in which a Redis takes no writes, one by one: which of them pass, what is said of
//! them, what still works meanwhile, and that it works again afterwards.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use services::{Answer, Server};
use store::{Error, Outcome, Redis, RedisAccess, RedisConfig, Store, Version};

use crate::fixture::{agent, commit, eventually, get, stored, write};
use crate::{redis_trial, run};

pub(crate) fn trials() -> Vec<Trial> {
    macro_rules! trials {
        ($($case:ident),* $(,)?) => {
            vec![$(redis_trial(
                concat!("refusals::", stringify!($case)).to_owned(),
                || run($case(Server::redis()?)),
            )),*]
        };
    }
    trials![
        a_replica_is_read_only,
        a_full_memory_takes_no_writes,
        a_server_that_cannot_save_takes_no_writes,
        too_few_replicas_take_no_writes,
        a_busy_server_passes,
        a_server_that_loads_its_data_passes,
        a_password_that_is_missing_does_not_pass,
        a_right_that_is_missing_does_not_pass,
        a_paused_server_passes,
        a_sleeping_server_passes,
        what_was_acknowledged_is_there_after_a_crash,
        what_was_acknowledged_is_there_after_the_disk_was_full,
    ]
}

/// How soon a refusal is told.
const SOON: Duration = Duration::from_millis(2500);

async fn connect(server: &Server) -> Redis {
    let (url, fleet) = (server.url(), "test".to_owned());
    let access = RedisAccess::default();
    let store = Redis::connect(RedisConfig { url, fleet, access }).await.unwrap();
    commit(&store, write(&agent(1), 0, "before")).await;
    store
}

fn say(server: &Server, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    server.command(&words).unwrap_or_else(|error| panic!("{line}: {error:#}"))
}

/// Writes until it is refused, and says how.
async fn refused(store: &Redis) -> Error {
    eventually("refused", Duration::from_secs(10), async || {
        let asked = Instant::now();
        let answer = store.commit(vec![write(&agent(2), 0, "x")]).await;
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        // What was written before the server was as it is to be.
        if let Ok([Outcome::Written(version)]) = answer.as_deref() {
            let gone = store.commit(vec![write(&agent(2), version.0, "")]).await;
            return gone.err();
        }
        answer.err()
    })
    .await
}

fn passes(error: &Error, reason: &str) {
    assert!(matches!(error, Error::Unavailable(said) if said.contains(reason)), "{error:?}");
}

fn stays(error: &Error, reason: &str) {
    assert!(matches!(error, Error::Refused(said) if said.contains(reason)), "{error:?}");
}

async fn reads(store: &Redis) {
    assert_eq!(get(store, &agent(1)).await, Some(stored(1, "before")), "reads go on");
    store.ready().await.unwrap_err();
}

/// The server takes writes again, and has what it acknowledged.
async fn recovers(store: &Redis) {
    eventually("ready", Duration::from_secs(10), async || store.ready().await.ok()).await;
    assert_eq!(get(store, &agent(1)).await, Some(stored(1, "before")));
    let outcome = commit(store, write(&agent(1), 1, "after")).await;
    assert_eq!(outcome, Outcome::Written(Version(2)));
}

async fn a_replica_is_read_only(server: Server) {
    let store = connect(&server).await;
    // Nobody listens there: it keeps what it has.
    say(&server, "REPLICAOF 127.0.0.1 1");
    passes(&refused(&store).await, "it is a replica and takes no writes (READONLY)");
    reads(&store).await;
    say(&server, "REPLICAOF NO ONE");
    recovers(&store).await;
}

async fn a_full_memory_takes_no_writes(server: Server) {
    let store = connect(&server).await;
    say(&server, "CONFIG SET maxmemory 1mb");
    passes(&refused(&store).await, "its memory is full and it takes no writes (maxmemory) (OOM)");
    reads(&store).await;
    say(&server, "CONFIG SET maxmemory 0");
    recovers(&store).await;
}

/// A save that was killed is as good as a disk that is full.
async fn a_server_that_cannot_save_takes_no_writes(server: Server) {
    let store = connect(&server).await;
    say(&server, "CONFIG SET rdb-key-save-delay 10000000");
    server.command(&["CONFIG", "SET", "save", "3600 1"]).unwrap();
    say(&server, "BGSAVE");
    let child = eventually("saving", SOON, async || child_of(server.pid())).await;
    let killed = std::process::Command::new("kill").args(["-KILL", &child]).status();
    assert!(killed.unwrap().success());
    passes(&refused(&store).await, "it cannot save to disk and takes no writes (MISCONF)");
    reads(&store).await;
    say(&server, "CONFIG SET stop-writes-on-bgsave-error no");
    recovers(&store).await;
}

/// The process that a server forked.
fn child_of(pid: u32) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

async fn too_few_replicas_take_no_writes(server: Server) {
    let store = connect(&server).await;
    say(&server, "CONFIG SET min-replicas-to-write 1");
    passes(&refused(&store).await, "it has too few replicas to take writes (NOREPLICAS)");
    reads(&store).await;
    say(&server, "CONFIG SET min-replicas-to-write 0");
    recovers(&store).await;
}

async fn a_busy_server_passes(server: Server) {
    let store = connect(&server).await;
    say(&server, "CONFIG SET busy-reply-threshold 50");
    server.tell(&["EVAL", "while true do end", "0"]).unwrap();
    let busy = eventually("busy", Duration::from_secs(10), async || {
        Some(refused(&store).await).filter(|error| error.to_string().contains("BUSY"))
    })
    .await;
    passes(&busy, "a script or function keeps it busy (BUSY)");
    say(&server, "SCRIPT KILL");
    recovers(&store).await;
}

async fn a_server_that_loads_its_data_passes(server: Server) {
    let store = connect(&server).await;
    say(&server, "DEBUG POPULATE 20000");
    say(&server, "CONFIG SET loading-process-events-interval-bytes 1024");
    say(&server, "CONFIG SET rdbcompression no");
    say(&server, "CONFIG SET key-load-delay 100");
    server.tell(&["DEBUG", "RELOAD"]).unwrap();
    let loading = eventually("loading", Duration::from_secs(10), async || {
        Some(refused(&store).await).filter(|error| error.to_string().contains("LOADING"))
    })
    .await;
    passes(&loading, "it is still reading its data (LOADING)");
    recovers(&store).await;
}

async fn a_password_that_is_missing_does_not_pass(server: Server) {
    let store = connect(&server).await;
    // Who is in stays in, until it comes anew.
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut inside = client.get_multiplexed_async_connection().await.unwrap();
    let mut say = async |line: &str| {
        let (name, words) = line.split_once(' ').unwrap();
        let mut command = ::redis::cmd(name);
        command.arg(words.split(' ').collect::<Vec<_>>());
        command.query_async::<::redis::Value>(&mut inside).await.unwrap();
    };
    say("CONFIG SET requirepass secret").await;
    say("CLIENT KILL TYPE normal SKIPME yes").await;
    let error = eventually("asked for a password", Duration::from_secs(10), async || {
        Some(refused(&store).await).filter(|error| matches!(error, Error::Refused(_)))
    })
    .await;
    stays(&error, "the server asks for a password (NOAUTH)");
    inside_again(&server).await;
    recovers(&store).await;
}

/// The password is taken away by somebody who has it.
async fn inside_again(server: &Server) {
    let url = server.url().replace("redis://", "redis://:secret@");
    let client = ::redis::Client::open(url).unwrap();
    let mut inside = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = ::redis::cmd("CONFIG");
    command.arg("SET").arg("requirepass").arg("");
    command.query_async::<::redis::Value>(&mut inside).await.unwrap();
}

async fn a_right_that_is_missing_does_not_pass(server: Server) {
    let store = connect(&server).await;
    say(&server, "ACL SETUSER default -fcall");
    stays(&refused(&store).await, "the user may not do this (NOPERM)");
    assert_eq!(get(&store, &agent(1)).await, Some(stored(1, "before")));
    say(&server, "ACL SETUSER default +fcall");
    recovers(&store).await;
}

async fn a_paused_server_passes(server: Server) {
    let store = connect(&server).await;
    say(&server, "CLIENT PAUSE 4000 ALL");
    passes(&refused(&store).await, "");
    recovers(&store).await;
}

async fn a_sleeping_server_passes(server: Server) {
    let store = connect(&server).await;
    server.tell(&["DEBUG", "SLEEP", "4"]).unwrap();
    passes(&refused(&store).await, "");
    recovers(&store).await;
}

async fn what_was_acknowledged_is_there_after_a_crash(mut server: Server) {
    let store = connect(&server).await;
    for round in 0..3 {
        let mut last = 0;
        let writing = Instant::now();
        while writing.elapsed() < Duration::from_millis(200) {
            let key = agent(100 + round);
            assert_eq!(
                commit(&store, write(&key, last, format!("{last}"))).await,
                Outcome::Written(Version(last + 1))
            );
            last += 1;
        }
        server.kill().unwrap();
        server.restart().unwrap();
        eventually("ready", Duration::from_secs(10), async || store.ready().await.ok()).await;
        let found = get(&store, &agent(100 + round)).await.unwrap();
        assert_eq!(found.version, Version(last), "an acknowledged write is gone");
    }
}

/// A small disk of its own, where this user may make one.
struct Disk<'a>(&'a std::path::Path);

impl<'a> Disk<'a> {
    fn on(folder: &'a std::path::Path) -> Option<Self> {
        mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], folder).then_some(Self(folder))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Even if the server still has files open there.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn mount(words: &[&str], folder: &std::path::Path) -> bool {
    let mut mount = std::process::Command::new("mount");
    mount.args(words).arg(folder).stderr(std::process::Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}

/// With `appendfsync always`, Redis ends rather than forget: nothing is acknowledged, and all that
/// was comes back once there is room.
async fn what_was_acknowledged_is_there_after_the_disk_was_full(mut server: Server) {
    server.kill().unwrap();
    let folder = server.data_dir().to_owned();
    let Some(_disk) = Disk::on(&folder) else {
        eprintln!("SKIPPED the full disk: this user may not mount one");
        return;
    };
    server.restart().unwrap();
    let store = connect(&server).await;
    let (value, mut acknowledged) = (vec![7_u8; 100 << 10], 0);
    let error = loop {
        match store.commit(vec![write(&agent(100 + acknowledged), 0, value.clone())]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Written(Version(1))]),
            Err(error) => break error,
        }
        acknowledged += 1;
        assert!(acknowledged < 100, "the disk never fills");
    };
    passes(&error, "redis at");
    assert!(acknowledged > 10, "{acknowledged}");
    assert!(mount(&["-o", "remount,size=64m"], &folder));
    server.restart().unwrap();
    recovers(&store).await;
    for number in 0..acknowledged {
        let found = get(&store, &agent(100 + number)).await;
        assert_eq!(found, Some(stored(1, value.clone())), "{number} of {acknowledged}");
    }
}
