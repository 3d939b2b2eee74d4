//! What only a server can show: restarts, outages, flushed functions, its settings.

use std::time::{Duration, Instant};

use ::redis::{Value, cmd};
use bytes::Bytes;
use libtest_mimic::Trial;
use model::ConfigHash;
use services::Server;
use store::{Durability, Error, Outcome, Redis, RedisAccess, RedisConfig, Store, Version};

use crate::fixture::{agent, commit, eventually, get, seen, stored, tell, uid, write};
use crate::{redis_trial, run};

pub(crate) fn trials() -> Vec<Trial> {
    macro_rules! trials {
        ($($case:ident),* $(,)?) => {
            vec![$(redis_trial(
                concat!("redis::", stringify!($case)).to_owned(),
                || run($case(Server::redis()?)),
            )),*]
        };
    }
    trials![
        a_restarted_server_still_has_everything,
        a_killed_server_is_unavailable_soon_and_back_after_its_restart,
        a_stalled_server_is_unavailable_soon,
        flushed_functions_come_back,
        an_emptied_server_is_noticed_by_all_and_begins_anew_once,
        a_server_that_was_set_back_takes_no_write_for_what_it_forgot,
        large_versions_keep_every_bit,
        what_has_no_version_fails_nobody_else_and_is_written_over,
        fleets_do_not_mix,
        the_server_tells_how_durable_it_is,
        no_secret_is_shown,
    ]
}

fn config(url: String, fleet: &str) -> RedisConfig {
    RedisConfig { url, fleet: fleet.to_owned(), access: RedisAccess::default() }
}

async fn connect(server: &Server) -> Redis {
    Redis::connect(config(server.url(), "test")).await.unwrap()
}

/// Says something to the server past the store.
async fn tell_server(server: &Server, words: &[&[u8]]) -> Value {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = cmd(std::str::from_utf8(words[0]).unwrap());
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(&mut connection).await.unwrap()
}

async fn a_restarted_server_still_has_everything(mut server: Server) {
    let store = connect(&server).await;
    let body = Bytes::from_static(b"body");
    commit(&store, tell(&agent(1), 0, "value", "news")).await;
    store.put_blob(&ConfigHash([1; 32]), body.clone()).await.unwrap();
    store.put_presence("gw", &[seen(1, 7)]).await.unwrap();
    server.restart().unwrap();
    let store = connect(&server).await;
    let found = get(&store, &agent(1)).await.unwrap();
    assert_eq!((found.version, &found.events[..]), (Version(1), &b"news"[..]));
    assert_eq!(store.get_blob(&ConfigHash([1; 32])).await.unwrap(), Some(body));
    let ask = [("gw".to_owned(), uid(1))];
    assert_eq!(store.get_presence(&ask).await.unwrap(), [Some(seen(1, 7))]);
}

async fn a_killed_server_is_unavailable_soon_and_back_after_its_restart(mut server: Server) {
    let store = connect(&server).await;
    commit(&store, write(&agent(1), 0, "before")).await;
    server.kill().unwrap();
    for _ in 0..3 {
        is_unavailable_soon(&store).await;
    }
    server.restart().unwrap();
    eventually("back", Duration::from_secs(5), async || store.ready().await.ok()).await;
    assert_eq!(get(&store, &agent(1)).await, Some(stored(1, "before")));
    let outcome = commit(&store, write(&agent(1), 1, "after")).await;
    assert_eq!(outcome, Outcome::Written(Version(2)));
}

async fn is_unavailable_soon(store: &Redis) {
    let soon = Duration::from_secs(3);
    let asked = Instant::now();
    let wrote = store.commit(vec![write(&agent(2), 0, "x")]).await;
    assert!(matches!(wrote, Err(Error::Unavailable(_))), "{wrote:?}");
    assert!(asked.elapsed() < soon, "{:?}", asked.elapsed());
    let asked = Instant::now();
    let read = store.get(&[agent(1)]).await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert!(asked.elapsed() < soon, "{:?}", asked.elapsed());
}

/// A process that is stopped keeps its connections and answers nothing.
async fn a_stalled_server_is_unavailable_soon(server: Server) {
    let store = connect(&server).await;
    signal(&server, "-STOP");
    is_unavailable_soon(&store).await;
    signal(&server, "-CONT");
    eventually("back", Duration::from_secs(5), async || store.ready().await.ok()).await;
    // What was given up may have happened: that is what the error says.
    let found = get(&store, &agent(2)).await;
    assert!(found.is_none_or(|found| found.version == Version(1)));
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status();
    assert!(sent.unwrap().success());
}

async fn flushed_functions_come_back(server: Server) {
    let store = connect(&server).await;
    commit(&store, tell(&agent(1), 0, "one", "news")).await;
    tell_server(&server, &[b"FUNCTION", b"FLUSH"]).await;
    tell_server(&server, &[b"SCRIPT", b"FLUSH"]).await;
    let batch = vec![
        write(&agent(2), 0, "new"),
        tell(&agent(1), 1, "two", "more"),
        write(&agent(2), 1, "newer"),
    ];
    let outcomes = store.commit(batch).await.unwrap();
    let written = |version| Outcome::Written(Version(version));
    assert_eq!(outcomes, [written(1), written(2), written(2)]);
    tell_server(&server, &[b"FUNCTION", b"FLUSH"]).await;
    store.settle(&[(agent(1), Version(2))]).await.unwrap();
    assert_eq!(get(&store, &agent(1)).await, Some(stored(2, "two")));
    tell_server(&server, &[b"FLUSHALL"]).await;
    assert_eq!(get(&store, &agent(1)).await, None);
    assert_eq!(commit(&store, write(&agent(1), 1, "x")).await, Outcome::Conflict);
}

async fn an_emptied_server_is_noticed_by_all_and_begins_anew_once(server: Server) {
    let (one, two) = (connect(&server).await, connect(&server).await);
    commit(&one, write(&agent(1), 0, "value")).await;
    let before = one.generations();
    assert_eq!(two.generations(), before);
    tell_server(&server, &[b"FLUSHALL"]).await;
    // Also a write that finds nothing, as it expects: somebody has to hear of the loss first.
    assert_eq!(commit(&one, write(&agent(2), 0, "new")).await, Outcome::Conflict);
    let shard = usize::from(agent(2).shard());
    let now = one.generations()[shard];
    assert!(now > before[shard]);
    assert_eq!(commit(&one, write(&agent(2), 0, "new")).await, Outcome::Written(Version(1)));
    // Whoever does not write finds out as well, and finds the same.
    one.ready().await.unwrap();
    two.ready().await.unwrap();
    assert_eq!(one.generations(), two.generations());
    assert_eq!(two.generations()[shard], now);
    assert!(two.generations().iter().zip(before).all(|(after, before)| *after > before));
}

async fn a_server_that_was_set_back_takes_no_write_for_what_it_forgot(server: Server) {
    let (store, idle) = (connect(&server).await, connect(&server).await);
    let (key, shard) = (agent(1), agent(1).shard());
    commit(&store, write(&key, 0, "one")).await;
    let hashes = ["agents", "generation"].map(|name| format!("{{test:{shard:02}}}:v1:{name}"));
    let mut copies = Vec::new();
    for hash in &hashes {
        copies.push(tell_server(&server, &[b"DUMP", hash.as_bytes()]).await);
    }
    commit(&store, write(&key, 1, "two")).await;
    for (hash, copy) in hashes.iter().zip(copies) {
        let Value::BulkString(copy) = copy else { panic!("{copy:?}") };
        tell_server(&server, &[b"RESTORE", hash.as_bytes(), b"0", &copy, b"REPLACE"]).await;
    }
    let before = store.generations()[usize::from(shard)];
    // By its version it would fit.
    assert_eq!(commit(&store, write(&key, 1, "other")).await, Outcome::Conflict);
    let now = store.generations()[usize::from(shard)];
    assert!(now > before);
    assert_eq!(get(&store, &key).await, Some(stored(1, "one")));
    assert_eq!(commit(&store, write(&key, 1, "other")).await, Outcome::Written(Version(2)));
    assert_eq!(commit(&idle, write(&key, 2, "idle")).await, Outcome::Conflict);
    assert_eq!(idle.generations()[usize::from(shard)], now);
}

async fn large_versions_keep_every_bit(server: Server) {
    let store = connect(&server).await;
    let key = agent(1);
    let hash = format!("{{test:{:02}}}:v1:agents", key.shard());
    // Past 2^53 the floating-point numbers of Lua skip every other integer.
    for version in [(1_u64 << 53) - 1, 1 << 53, (1 << 53) + 1, u64::MAX - 2] {
        let value = [&version.to_be_bytes()[..], b"value"].concat();
        tell_server(&server, &[b"HSET", hash.as_bytes(), &key.id, &value]).await;
        for other in [version - 1, version + 1] {
            assert_eq!(commit(&store, write(&key, other, "x")).await, Outcome::Conflict);
        }
        let outcome = commit(&store, tell(&key, version, "next", "news")).await;
        assert_eq!(outcome, Outcome::Written(Version(version + 1)));
        store.settle(&[(key.clone(), Version(version))]).await.unwrap();
        let found = get(&store, &key).await.unwrap();
        assert_eq!((found.version, &found.events[..]), (Version(version + 1), &b"news"[..]));
    }
}

async fn fleets_do_not_mix(server: Server) {
    let one = connect(&server).await;
    let other = Redis::connect(config(server.url(), "other")).await.unwrap();
    commit(&one, write(&agent(1), 0, "one")).await;
    one.put_presence("gw", &[seen(1, 1)]).await.unwrap();
    assert_eq!(get(&other, &agent(1)).await, None);
    let ask = [("gw".to_owned(), uid(1))];
    assert_eq!(other.get_presence(&ask).await.unwrap(), [None]);
    assert!(Redis::connect(config(server.url(), "a}b")).await.is_err());
}

async fn the_server_tells_how_durable_it_is(server: Server) {
    let store = connect(&server).await;
    let told = store.durability().await.unwrap();
    assert_eq!((told.evicts(), told.writes_through()), (Some(false), Some(true)));
    tell_server(&server, &[b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru"]).await;
    tell_server(&server, &[b"CONFIG", b"SET", b"appendfsync", b"everysec"]).await;
    let told = store.durability().await.unwrap();
    assert_eq!((told.evicts(), told.writes_through()), (Some(true), Some(false)));
    tell_server(&server, &[b"ACL", b"SETUSER", b"default", b"-config"]).await;
    let told = store.durability().await.unwrap();
    assert_eq!(told, Durability { default_user_may_write: Some(true), ..Durability::default() });
    assert_eq!((told.evicts(), told.writes_through(), told.reads_back()), (None, None, None));
    tell_server(&server, &[b"ACL", b"SETUSER", b"default", b"-acl"]).await;
    assert_eq!(store.durability().await.unwrap(), Durability::default());
}

async fn no_secret_is_shown(mut server: Server) {
    let set = [&b"ACL"[..], b"SETUSER", b"joe", b"on", b">hunter2", b"~*", b"+@all"];
    tell_server(&server, &set).await;
    let with = |password: &str| {
        config(server.url().replace("redis://", &format!("redis://joe:{password}@")), "test")
    };
    let (good, wrong) = (with("hunter2"), with("hunter2wrong"));
    let mut shown = vec![format!("{good:?}")];
    shown.push(Redis::connect(wrong).await.unwrap_err().to_string());
    let store = Redis::connect(good.clone()).await.unwrap();
    shown.push(format!("{store:?}"));
    server.kill().unwrap();
    shown.push(store.ready().await.unwrap_err().to_string());
    shown.push(Redis::connect(good).await.unwrap_err().to_string());
    for url in ["redis://joe:hunter2@host:port", "rediss://joe:hunter2@127.0.0.1:1", "hunter2"] {
        shown.push(Redis::connect(config(url.to_owned(), "test")).await.unwrap_err().to_string());
    }
    for text in shown {
        assert!(!text.contains("hunter2") && !text.contains("joe"), "{text}");
    }
}

async fn what_has_no_version_fails_nobody_else_and_is_written_over(server: Server) {
    let store = connect(&server).await;
    commit(&store, write(&agent(2), 0, "whole")).await;
    let hash = format!("{{test:{:02}}}:v1:agents", agent(1).shard());
    tell_server(&server, &[b"HSET", hash.as_bytes(), &agent(1).id, b"short"]).await;
    let found = store.get(&[agent(1), agent(2)]).await.unwrap();
    assert_eq!(found, [Some(stored(0, "short")), Some(stored(1, "whole"))]);
    let page = store.scan(agent(1).table, agent(1).shard(), Default::default()).await.unwrap();
    assert!(page.entries.contains(&(agent(1), stored(0, "short"))));
    assert_eq!(commit(&store, write(&agent(1), 1, "x")).await, Outcome::Conflict);
    assert_eq!(commit(&store, write(&agent(1), 0, "mended")).await, Outcome::Written(Version(1)));
    assert_eq!(get(&store, &agent(1)).await, Some(stored(1, "mended")));
}
