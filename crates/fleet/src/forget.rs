//! Agents that go: their records are deleted, and the log is told.

use std::collections::BTreeSet;

use bus::v1::forget::Target;
use bus::v1::forget_reply::Outcome;
use bus::v1::{Forget, ForgetReply};
use bytes::Bytes;
use model::{Event, Timestamp};
use opamp::InstanceUid;
use store::{Key, Outcome as Written, POLLS, Stored, Version, Write, tables};

use crate::Error;
use crate::engine::Engine;
use crate::outbox::{self, Announcement};
use crate::presence::{self, ASSIGNED};

/// An agent about to be forgotten.
struct Leaving {
    uid: InstanceUid,
    write: Write,
    /// Where presence may speak of it.
    traces: Vec<(String, InstanceUid)>,
}

impl Engine {
    /// Deletes the records that are still as the asker judged them, of agents that presence has
    /// not heard either. Who changed or spoke since lives.
    pub(crate) async fn forget(&self, ask: &Forget) -> Result<(ForgetReply, Announcement), Error> {
        let uids: Vec<Option<InstanceUid>> =
            ask.targets.iter().map(|target| (&target.instance_uid[..]).try_into().ok()).collect();
        let leaving = self.as_judged(&ask.targets).await?;
        let leaving = self.unseen_since(leaving, Timestamp(ask.unseen_since_unix_ms)).await?;
        let writes = leaving.iter().map(|leaving| leaving.write.clone()).collect();
        let outcomes = self.records.commit(writes).await?;
        let (mut announcement, mut traces) = (Announcement::default(), Vec::new());
        let mut gone = BTreeSet::new();
        for (leaving, outcome) in leaving.into_iter().zip(outcomes) {
            if let Written::Written(version) = outcome {
                announcement.add(leaving.write.key, version, leaving.write.events);
                traces.extend(leaving.traces);
                gone.insert(leaving.uid);
            }
        }
        self.records.drop_presence(&traces).await?;
        let outcome = |uid: &Option<InstanceUid>| {
            let went = uid.is_some_and(|uid| gone.contains(&uid));
            i32::from(if went { Outcome::Forgotten } else { Outcome::Changed })
        };
        Ok((ForgetReply { outcomes: uids.iter().map(outcome).collect() }, announcement))
    }

    async fn as_judged(&self, targets: &[Target]) -> Result<Vec<Leaving>, Error> {
        let target = |target: &Target| {
            let uid = InstanceUid::try_from(&target.instance_uid[..]).ok()?;
            Some((uid, Version(target.version)))
        };
        let targets: Vec<(InstanceUid, Version)> = targets.iter().filter_map(target).collect();
        let keys: Vec<Key> = targets.iter().map(|(uid, _)| Key::agent(uid)).collect();
        let stored = self.records.get(&keys).await?;
        let mut leaving = Vec::new();
        for (((uid, version), key), stored) in targets.into_iter().zip(keys).zip(stored) {
            let judged = |stored: &Stored| stored.version == version && !stored.value.is_empty();
            if let Some(stored) = stored.filter(judged) {
                let traces = traces(&uid, &key, &stored.value);
                leaving.push(Leaving { uid, write: self.farewell(&uid, key, &stored), traces });
            }
        }
        Ok(leaving)
    }

    /// Those of whom no presence is as young. Whoever only polls or beats leaves no other trace.
    async fn unseen_since(
        &self,
        mut leaving: Vec<Leaving>,
        since: Timestamp,
    ) -> Result<Vec<Leaving>, Error> {
        if since.0 == 0 {
            return Ok(leaving);
        }
        let asked: Vec<_> = leaving.iter().flat_map(|leaving| leaving.traces.clone()).collect();
        let found = self.records.get_presence(&asked).await?;
        let seen: BTreeSet<InstanceUid> = found
            .into_iter()
            .flatten()
            .filter(|presence| presence.seen >= since)
            .map(|presence| presence.instance_uid)
            .collect();
        leaving.retain(|leaving| !seen.contains(&leaving.uid));
        Ok(leaving)
    }

    fn farewell(&self, uid: &InstanceUid, key: Key, stored: &Stored) -> Write {
        let (expected, version) = (stored.version, stored.version.next());
        let now = self.clock.now();
        let event = bus::event::encode(uid, version.0, now, &[Event::Forgotten], None, None);
        let events = outbox::append(&stored.events, version, &event);
        Write { key, expected, version, value: Bytes::new(), events }
    }
}

fn traces(uid: &InstanceUid, key: &Key, value: &Bytes) -> Vec<(String, InstanceUid)> {
    let record = tables::agents::decode(key, value).ok().map(|loaded| loaded.value);
    let gateway = record.as_ref().and_then(presence::holder);
    let holders = gateway.into_iter().chain([POLLS.to_owned(), ASSIGNED.to_owned()]);
    holders.map(|holder| (holder, *uid)).collect()
}
