//! Agents that go: their records are deleted, and the log is told.

use bus::v1::forget::Target;
use bus::v1::forget_reply::Outcome;
use bus::v1::{Forget, ForgetReply};
use bytes::Bytes;
use model::Event;
use opamp::InstanceUid;
use store::{Key, Outcome as Written, Stored, Version, Write, tables};

use crate::Error;
use crate::engine::Engine;
use crate::outbox::{self, Announcement};
use crate::presence::{self, ASSIGNED, POLLS};

impl Engine {
    /// Deletes the records that are still as the asker judged them. One that changed since belongs
    /// to an agent that lives.
    pub(crate) async fn forget(&self, ask: &Forget) -> Result<(ForgetReply, Announcement), Error> {
        let target = |target: &Target| {
            let uid = InstanceUid::try_from(&target.instance_uid[..]).ok()?;
            Some((uid, Version(target.version)))
        };
        let targets: Vec<Option<(InstanceUid, Version)>> = ask.targets.iter().map(target).collect();
        let keys: Vec<Key> = targets.iter().flatten().map(|(uid, _)| Key::agent(uid)).collect();
        let stored = self.records.get(&keys).await?;
        let (mut writes, mut gone) = (Vec::new(), Vec::new());
        for (((uid, version), key), stored) in targets.iter().flatten().zip(keys).zip(stored) {
            let judged = |stored: &Stored| stored.version == *version && !stored.value.is_empty();
            if let Some(stored) = stored.filter(judged) {
                gone.extend(left_by(uid, &key, &stored.value));
                writes.push(self.farewell(uid, key, &stored));
            }
        }
        let outcomes = self.records.commit(writes.clone()).await?;
        self.records.drop_presence(&gone).await?;
        let mut announcement = Announcement::default();
        for (write, outcome) in writes.into_iter().zip(outcomes) {
            if let Written::Written(version) = outcome {
                announcement.add(write.key, version, write.events);
            }
        }
        let outcome = |target: &Option<(InstanceUid, Version)>| {
            let went = target.is_some_and(|(uid, _)| announcement.names(&Key::agent(&uid)));
            i32::from(if went { Outcome::Forgotten } else { Outcome::Changed })
        };
        Ok((ForgetReply { outcomes: targets.iter().map(outcome).collect() }, announcement))
    }

    fn farewell(&self, uid: &InstanceUid, key: Key, stored: &Stored) -> Write {
        let (expected, version) = (stored.version, stored.version.next());
        let now = self.clock.now();
        let event = bus::event::encode(uid, version.0, now, &[Event::Forgotten], None);
        let events = outbox::append(&stored.events, version, &event);
        Write { key, expected, value: Bytes::new(), events }
    }
}

/// Where presence may speak of an agent.
fn left_by(uid: &InstanceUid, key: &Key, value: &Bytes) -> Vec<(String, InstanceUid)> {
    let record = tables::agents::decode(key, value).ok().map(|loaded| loaded.value);
    let gateway = record.as_ref().and_then(presence::holder);
    let holders = gateway.into_iter().chain([POLLS.to_owned(), ASSIGNED.to_owned()]);
    holders.map(|holder| (holder, *uid)).collect()
}
