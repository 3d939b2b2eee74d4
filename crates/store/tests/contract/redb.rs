//! What only a file can show: crashes, locks, reopening.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use store::{Outcome, Redb, Store, Table, Version};

use crate::fixture::{agent, commit, eventually, get, seen, stored, tell, uid, write};
use crate::run;

/// First argument of the process that writes until it is killed.
const CHILD: &str = "write-until-killed";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("redb::what_was_acknowledged_survives_kill_nine", || {
            run(what_was_acknowledged_survives_kill_nine())
        }),
        Trial::test("redb::presence_is_on_disk_within_a_second_of_silence", || {
            run(presence_is_on_disk_within_a_second_of_silence())
        }),
        Trial::test("redb::a_closed_file_holds_everything", || {
            run(a_closed_file_holds_everything())
        }),
        Trial::test("redb::old_presence_goes_when_the_file_is_opened", || {
            run(old_presence_goes_when_the_file_is_opened())
        }),
        Trial::test("redb::what_is_no_store_is_named", || run(what_is_no_store_is_named())),
        Trial::test("redb::many_callers_share_flushes", || run(many_callers_share_flushes())),
    ]
}

async fn what_was_acknowledged_survives_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.redb");
    let (mut child, acknowledged) = write_and_kill(&path);
    assert!(!child.wait().unwrap().success(), "killed");
    let store = Redb::open(&path).unwrap();
    for number in 0..acknowledged {
        let found = get(&store, &agent(number)).await.unwrap();
        assert_eq!((found.version, &found.events[..]), (Version(1), &b"news"[..]), "{number}");
    }
    let shard = agent(0).shard();
    let unsettled = store.unsettled(Table::Agents, shard).await.unwrap();
    assert!(unsettled.contains(&(agent(0), Version(1))));
    // It goes on where it was.
    let outcome = commit(&store, write(&agent(0), 1, "next")).await;
    assert_eq!(outcome, Outcome::Written(Version(2)));
}

/// Lets another process write, tries its lock, and kills it; how many writes it had acknowledged.
fn write_and_kill(path: &Path) -> (Child, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(CHILD)
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    for line in lines.take(300) {
        acknowledged = line.unwrap().parse::<u64>().unwrap() + 1;
    }
    let refused = Redb::open(path).unwrap_err().to_string();
    child.kill().unwrap();
    assert!(refused.contains("in use by another process"), "{refused}");
    assert_eq!(acknowledged, 300);
    (child, acknowledged)
}

/// In the process that is to be killed: commits one agent after the other and says so.
pub(crate) fn be_the_child_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != CHILD) {
        return;
    }
    let path = arguments.next().unwrap();
    let _ = run(async move {
        let store = Redb::open(path).unwrap();
        let mut out = std::io::stdout();
        for number in 0.. {
            commit(&store, tell(&agent(number), 0, "value", "news")).await;
            // Nobody listens any more: the parent is gone.
            if writeln!(out, "{number}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    std::process::exit(1);
}

async fn presence_is_on_disk_within_a_second_of_silence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.redb");
    let store = Redb::open(&path).unwrap();
    commit(&store, tell(&agent(1), 0, "value", "news")).await;
    store.put_presence("gw", &[seen(1, 7)]).await.unwrap();
    store.settle(&[(agent(1), Version(1))]).await.unwrap();
    let ask = [("gw".to_owned(), uid(1))];
    let found = store.get_presence(&ask).await.unwrap();
    assert_eq!(found, [Some(seen(1, 7))], "seen before it is on disk");
    // A copy of the file is what a crash would leave.
    let copy = dir.path().join("copy.redb");
    eventually("presence in the file", Duration::from_secs(3), async || {
        std::fs::copy(&path, &copy).unwrap();
        let store = Redb::open(&copy).ok()?;
        let found = store.get_presence(&ask).await.unwrap()[0]?;
        assert_eq!(found, seen(1, 7));
        assert_eq!(get(&store, &agent(1)).await, Some(stored(1, "value")));
        Some(())
    })
    .await;
}

async fn a_closed_file_holds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.redb");
    let ask = [("gw".to_owned(), uid(1))];
    for round in 0..3 {
        let store = Redb::open(&path).unwrap();
        assert_eq!(get(&store, &agent(1)).await.is_some(), round > 0);
        let last = store.get_presence(&ask).await.unwrap()[0];
        assert_eq!(last, (round > 0).then(|| seen(1, round)));
        commit(&store, write(&agent(1), round, "value")).await;
        store.put_presence("gw", &[seen(1, round + 1)]).await.unwrap();
    }
}

async fn old_presence_goes_when_the_file_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.redb");
    let day = 24 * 3600 * 1000;
    let entries = [seen(1, 0), seen(2, 1000), seen(3, day + 500)];
    Redb::open(&path).unwrap().put_presence("gw", &entries).await.unwrap();
    let ask = [1, 2, 3].map(|number| ("gw".to_owned(), uid(number)));
    let found = Redb::open(&path).unwrap().get_presence(&ask).await.unwrap();
    assert_eq!(found, [None, Some(entries[1]), Some(entries[2])]);
}

#[allow(clippy::unused_async, reason = "run as the others are")]
async fn what_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.redb");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    let error = Redb::open(&path).unwrap_err().to_string();
    assert!(error.contains("muster.redb"), "{error}");
    let missing = dir.path().join("no/such/dir");
    assert!(Redb::open(missing).is_err());
}

async fn many_callers_share_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Redb::open(dir.path().join("muster.redb")).unwrap();
    let calls = (0..2000).map(|number| {
        let store = &store;
        async move { commit(store, write(&agent(number), 0, "value")).await }
    });
    let outcomes = futures_util::future::join_all(calls).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Written(Version(1))));
}
