//! The cluster backend: Redis 7 or newer, one hash per table and shard, writes through functions
//! the server runs atomically.
//!
//! Every key of a call carries one hash tag, `{fleet:shard}`, so that shards may lie on different
//! nodes. What is durable is the server's own setting: see [`Durability`].

mod access;
mod hot;
mod keys;
mod link;
mod shards;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ::redis::{Cmd, FromRedisValue, Pipeline, cmd};
use async_trait::async_trait;
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;

pub use self::access::RedisAccess;
use self::keys::Keys;
use self::link::{Apart, Link};
use self::shards::{Shard, Shards};
use crate::Error;
use crate::layout;
use crate::limits::{HSCAN_COUNT, PRESENCE_TTL};
use crate::port::{
    Cursor, Generations, Key, Outcome, Page, Presence, SHARDS, Store, Stored, Table, Version, Write,
};

/// Which server, and whose keys on it.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: String,
    /// Who this process is to the server and which server it believes, beside what the URL says.
    pub access: RedisAccess,
    /// Name of the fleet: prefix of every key. Letters, digits, `-`, `_` and `.`.
    pub fleet: String,
}

/// A store in Redis.
pub struct Redis {
    link: Link,
    keys: Keys,
    shards: Shards,
}

/// What the server says of its durability; `None` is what it does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durability {
    /// `maxmemory-policy`.
    pub maxmemory_policy: Option<String>,
    /// `appendonly`.
    pub appendonly: Option<bool>,
    /// `appendfsync`.
    pub appendfsync: Option<String>,
    /// Whether the default user may do what is done here, on or off. Redis reads its own log as
    /// that user, and drops in silence what it may not do.
    pub default_user_may_write: Option<bool>,
}

impl Durability {
    /// Whether the server may throw values away when memory runs short.
    pub fn evicts(&self) -> Option<bool> {
        let policy = self.maxmemory_policy.as_deref()?;
        Some(policy != "noeviction")
    }

    /// Whether a write is on disk before it is answered.
    pub fn writes_through(&self) -> Option<bool> {
        Some(self.appendonly? && self.appendfsync.as_deref()? == "always")
    }

    /// Whether a restart brings back what is in the log.
    pub fn reads_back(&self) -> Option<bool> {
        Some(!self.appendonly? || self.default_user_may_write?)
    }
}

impl Redis {
    /// Connects, and loads the functions into the server.
    pub async fn connect(config: RedisConfig) -> Result<Self, Error> {
        let keys = Keys::new(&config.fleet)?;
        let redis = Self { keys, link: Link::connect(&config).await?, shards: Shards::unknown() };
        redis.look(0..SHARDS).await?;
        Ok(redis)
    }

    /// How durable the server says its data is.
    pub async fn durability(&self) -> Result<Durability, Error> {
        let mut ask = cmd("CONFIG");
        ask.arg("GET").arg("maxmemory-policy").arg("appendonly").arg("appendfsync");
        let mut found: BTreeMap<String, String> = self.told(&ask).await?.unwrap_or_default();
        Ok(Durability {
            maxmemory_policy: found.remove("maxmemory-policy"),
            appendonly: found.remove("appendonly").map(|value| value == "yes"),
            appendfsync: found.remove("appendfsync"),
            default_user_may_write: self.default_user_may_write().await?,
        })
    }

    /// Whether the default user may do all that is done here, on or off.
    async fn default_user_may_write(&self) -> Result<Option<bool>, Error> {
        let key = self.keys.values(Table::Agents, 0);
        for command in [
            &["MULTI"][..],
            &["EXEC"],
            &["HSET", &key, "field", "value"],
            &["HDEL", &key, "field"],
            &["HINCRBY", &key, "field", "1"],
            &["SET", &key, "value"],
            &["PEXPIREAT", &key, "1"],
        ] {
            let mut ask = cmd("ACL");
            ask.arg("DRYRUN").arg("default").arg(command);
            match self.told::<String>(&ask).await?.as_deref() {
                Some("OK") => {}
                Some(_) => return Ok(Some(false)),
                None => return Ok(None),
            }
        }
        Ok(Some(true))
    }

    /// The answer to a question that hosted servers forbid; `None` if this one does.
    async fn told<T: FromRedisValue>(&self, question: &Cmd) -> Result<Option<T>, Error> {
        match self.link.apart::<T>(question).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Apart::Away(error)) => Err(error),
            Err(Apart::Refused(error)) if error.is_io_error() => Err(self.link.failed(&error)),
            Err(Apart::Refused(_)) => Ok(None),
        }
    }

    fn write(&self, write: &Write) -> Cmd {
        let version = write.version;
        let events =
            if write.events.is_empty() { Vec::new() } else { layout::join(version, &write.events) };
        let (table, shard) = (write.key.table, write.key.shard());
        let known = self.shards.of(shard);
        let mut call = cmd("FCALL");
        call.arg("muster_v3_write").arg(3);
        call.arg(self.keys.values(table, shard)).arg(self.keys.outbox(table, shard));
        call.arg(self.keys.generation(shard));
        call.arg(&write.key.id[..])
            .arg(&layout::version(write.expected)[..])
            .arg(layout::join(version, &write.value))
            .arg(events);
        call.arg(known.generation.0).arg(known.writes);
        call
    }

    /// Values of ids of one shard, then their outboxes: see [`layout::stored`] for the order.
    fn read(&self, pipeline: &mut Pipeline, table: Table, shard: u8, ids: &[&Bytes]) {
        for hash in [self.keys.values(table, shard), self.keys.outbox(table, shard)] {
            pipeline.cmd("HMGET").arg(hash);
            for id in ids {
                pipeline.arg(&id[..]);
            }
        }
    }

    /// One page of a hash: fields and values, and where to go on.
    async fn hscan(&self, hash: String, cursor: &Cursor) -> Result<(Vec<Pair>, Cursor), Error> {
        let start = Bytes::from_static(b"0");
        let at = if cursor.0.is_empty() { &start } else { &cursor.0 };
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSCAN").arg(hash).arg(&at[..]);
        pipeline.arg("COUNT").arg(HSCAN_COUNT);
        let ((next, flat),): ((Bytes, Vec<Bytes>),) = self.link.ask(&pipeline).await?;
        let (pairs, _) = flat.as_chunks::<2>();
        Ok((pairs.to_vec(), Cursor(next)))
    }
}

/// A field and its value.
type Pair = [Bytes; 2];

/// What HSCAN answers when there is no more.
fn is_end(cursor: &Cursor) -> bool {
    cursor.0 == b"0"[..]
}

#[async_trait]
impl Store for Redis {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut shards: BTreeMap<(Table, u8), Vec<usize>> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            shards.entry((key.table, key.shard())).or_default().push(index);
        }
        let mut pipeline = Pipeline::new();
        for ((table, shard), indexes) in &shards {
            let ids: Vec<&Bytes> = indexes.iter().map(|index| &keys[*index].id).collect();
            self.read(&mut pipeline, *table, *shard, &ids);
        }
        let answers: Vec<Vec<Option<Bytes>>> = self.link.ask(&pipeline).await?;
        let (answers, _) = answers.as_chunks::<2>();
        let mut found = vec![None; keys.len()];
        for (indexes, [values, outboxes]) in shards.values().zip(answers) {
            for ((index, value), outbox) in indexes.iter().zip(values).zip(outboxes) {
                if let Some(value) = value {
                    found[*index] = Some(layout::stored(value, outbox.as_deref()));
                }
            }
        }
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let calls: Vec<Cmd> = writes.iter().map(|write| self.write(write)).collect();
        let generations = self.shards.generations();
        let answers: Vec<i64> = self.link.call(&calls).await?;
        let (mut outcomes, mut lost) = (Vec::with_capacity(writes.len()), BTreeSet::new());
        for (write, answer) in writes.iter().zip(answers) {
            let shard = write.key.shard();
            outcomes.push(match u64::try_from(answer) {
                Ok(0) => Outcome::Conflict,
                Ok(writes) => {
                    let generation = generations[usize::from(shard)];
                    self.shards.heard(shard, Shard { generation, writes });
                    Outcome::Written(write.version)
                }
                Err(_) => {
                    lost.insert(shard);
                    Outcome::Conflict
                }
            });
        }
        if !lost.is_empty() {
            self.look(lost.into_iter()).await?;
        }
        Ok(outcomes)
    }

    async fn settle(&self, settled: &[(Key, Version)]) -> Result<(), Error> {
        if settled.is_empty() {
            return Ok(());
        }
        let call = |(key, version): &(Key, Version)| {
            let mut call = cmd("FCALL");
            let (table, shard) = (key.table, key.shard());
            call.arg("muster_v3_settle").arg(2);
            call.arg(self.keys.values(table, shard)).arg(self.keys.outbox(table, shard));
            call.arg(&key.id[..]).arg(&layout::version(*version)[..]);
            call
        };
        let calls: Vec<Cmd> = settled.iter().map(call).collect();
        self.link.call::<i64>(&calls).await.map(drop)
    }

    async fn unsettled(&self, table: Table, shard: u8) -> Result<Vec<(Key, Version)>, Error> {
        // A map: HSCAN may show a field twice.
        let (mut found, mut cursor) = (BTreeMap::new(), Cursor::default());
        loop {
            let hash = self.keys.outbox(table, shard);
            let (pairs, next) = self.hscan(hash, &cursor).await?;
            for [id, events] in pairs {
                if let Some((version, _)) = layout::split(&events) {
                    found.insert(Key { table, id }, version);
                }
            }
            if is_end(&next) {
                return Ok(found.into_iter().collect());
            }
            cursor = next;
        }
    }

    async fn scan(&self, table: Table, shard: u8, cursor: Cursor) -> Result<Page, Error> {
        let hash = self.keys.values(table, shard);
        let (mut pairs, next) = self.hscan(hash, &cursor).await?;
        pairs.retain(|[_, value]| !layout::is_deleted(value));
        let next = Some(next).filter(|next| !is_end(next));
        if pairs.is_empty() {
            let entries = Vec::new();
            return Ok(Page { entries, next });
        }
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HMGET").arg(self.keys.outbox(table, shard));
        for [id, _] in &pairs {
            pipeline.arg(&id[..]);
        }
        let (outboxes,): (Vec<Option<Bytes>>,) = self.link.ask(&pipeline).await?;
        let entry = |([id, value], outbox): (Pair, Option<Bytes>)| {
            (Key { table, id }, layout::stored(&value, outbox.as_deref()))
        };
        let entries = pairs.into_iter().zip(outboxes).map(entry).collect();
        Ok(Page { entries, next })
    }

    async fn put_blob(&self, hash: &ConfigHash, body: Bytes) -> Result<(), Error> {
        let mut pipeline = Pipeline::new();
        // What is there is the same: writing it again would only grow the log.
        pipeline.cmd("SET").arg(self.keys.blob(hash)).arg(&body[..]);
        pipeline.arg("NX").ignore();
        self.link.ask(&pipeline).await
    }

    async fn get_blob(&self, hash: &ConfigHash) -> Result<Option<Bytes>, Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.keys.blob(hash));
        let (body,) = self.link.ask(&pipeline).await?;
        Ok(body)
    }

    async fn put_presence(&self, holder: &str, seen: &[Presence]) -> Result<(), Error> {
        if seen.is_empty() {
            return Ok(());
        }
        let hash = self.keys.presence(holder);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSET").arg(&hash);
        for entry in seen {
            pipeline.arg(entry.instance_uid.as_bytes());
            pipeline.arg(&layout::presence(entry)[..]);
        }
        pipeline.ignore();
        pipeline.cmd("EXPIRE").arg(&hash).arg(PRESENCE_TTL.as_secs());
        pipeline.ignore();
        self.link.ask(&pipeline).await
    }

    async fn get_presence(
        &self,
        asked: &[(String, InstanceUid)],
    ) -> Result<Vec<Option<Presence>>, Error> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut holders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, (holder, _)) in asked.iter().enumerate() {
            holders.entry(holder).or_default().push(index);
        }
        let mut pipeline = Pipeline::new();
        for (holder, indexes) in &holders {
            pipeline.cmd("HMGET").arg(self.keys.presence(holder));
            for index in indexes {
                pipeline.arg(asked[*index].1.as_bytes());
            }
        }
        let answers: Vec<Vec<Option<Bytes>>> = self.link.ask(&pipeline).await?;
        let mut found = vec![None; asked.len()];
        for (indexes, entries) in holders.values().zip(answers) {
            for (index, bytes) in indexes.iter().zip(entries) {
                let uid = asked[*index].1;
                found[*index] = bytes.and_then(|bytes| layout::presence_of(uid, &bytes));
            }
        }
        Ok(found)
    }

    async fn drop_presence(&self, told: &[(String, InstanceUid)]) -> Result<(), Error> {
        if told.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        for (holder, uid) in told {
            pipeline.cmd("HDEL").arg(self.keys.presence(holder)).arg(uid.as_bytes()).ignore();
        }
        self.link.ask(&pipeline).await
    }

    /// A write, since a full or read-only server still answers a ping.
    async fn ready(&self) -> Result<(), Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SET").arg(self.keys.probe()).arg(1);
        pipeline.arg("EX").arg(60).ignore();
        self.link.ask::<()>(&pipeline).await?;
        self.look(0..SHARDS).await
    }

    fn generations(&self) -> Generations {
        self.shards.generations()
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisConfig").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.link.address())
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
