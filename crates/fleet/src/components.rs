//! Lists of components: kept once for all agents of a kind that name them alike, and known here
//! without asking the store again. What agents say of others is never believed once two disagree.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Timestamp;
use model::components::{self, ListHash};
use opamp::v1::{AgentToServer, AvailableComponents};
use quick_cache::sync::Cache;
use store::tables::components::Named;
use store::{Key, Stored, Version, Write, tables};

use crate::Error;
use crate::engine::{Engine, Job};

/// Names and lists remembered, some 100 bytes each: a fleet has a few per kind and version.
const REMEMBERED_MAX: usize = 8_192;

/// How long a name is believed without asking the store, in milliseconds: another worker may have
/// heard of somebody who disagrees.
const BELIEVED_MS: u64 = 5_000;

/// Under what a list is looked for.
type Name = [u8; 32];

/// What was read and written lately. Each with the age of the store: what a lost store knew is
/// known no more.
#[derive(Debug)]
pub(crate) struct Lists {
    names: Cache<(u64, Name), (Named, Timestamp)>,
    kept: Cache<(u64, ListHash), ()>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { names: Cache::new(REMEMBERED_MAX), kept: Cache::new(REMEMBERED_MAX) }
    }
}

/// What a message says of a list.
struct Said<'a> {
    name: Name,
    list: &'a AvailableComponents,
}

impl Engine {
    /// Keeps the lists that come with these jobs, before any record speaks of them, and looks up
    /// those of which only a hash comes. By the jobs' places.
    pub(crate) async fn lists(
        &self,
        jobs: &[Job],
        described: impl Fn(usize) -> Option<opamp::v1::AgentDescription>,
        open: &[usize],
    ) -> Result<BTreeMap<usize, ListHash>, Error> {
        let mut known = BTreeMap::new();
        for index in open {
            let Some(message) = jobs[*index].what.message() else { continue };
            let Some(said) = said(message, || described(*index)) else { continue };
            if said.list.components.is_empty() {
                let named = self.named(said.name).await?;
                let list = named.filter(|(named, _)| !named.disputed).map(|(named, _)| named.list);
                known.extend(list.map(|list| (*index, list)));
            } else {
                self.keep(&said).await?;
            }
        }
        Ok(known)
    }

    async fn named(&self, name: Name) -> Result<Option<(Named, Version)>, Error> {
        let remembered = (self.newest_generation().0, name);
        let now = self.clock.now();
        if let Some((named, at)) = self.lists.names.get(&remembered)
            && now.millis_since(at) < BELIEVED_MS
        {
            return Ok(Some((named, Version::ABSENT)));
        }
        let key = Key::component_name(&name);
        let Some((named, version)) = self.read_name(&key).await? else { return Ok(None) };
        self.lists.names.insert(remembered, (named, now));
        Ok(Some((named, version)))
    }

    /// What cannot be read is taken for absent, and written over.
    async fn read_name(&self, key: &Key) -> Result<Option<(Named, Version)>, Error> {
        let stored = self.records.get(std::slice::from_ref(key)).await?.pop().flatten();
        let read = |stored: Stored| {
            let named = tables::components::decode_name(key, &stored.value).ok()?.value;
            Some((named, stored.version))
        };
        Ok(stored.and_then(read))
    }

    /// The list first: a name of a list that is not there would be believed.
    async fn keep(&self, said: &Said<'_>) -> Result<(), Error> {
        let age = self.newest_generation().0;
        let list = ListHash::of(said.list);
        let remembered = self.lists.names.get(&(age, said.name));
        let is_known = remembered.is_some_and(|(it, _)| it.disputed || it.list == list);
        if self.lists.kept.get(&(age, list)).is_some() && is_known {
            return Ok(());
        }
        let value = tables::components::encode_list(said.list, &Bytes::new());
        let body = Write::next(Key::component_list(&list), Version::ABSENT, value);
        // A conflict means that it is there.
        self.records.commit(vec![body]).await?;
        self.lists.kept.insert((age, list), ());
        let key = Key::component_name(&said.name);
        let (named, version) = match self.read_name(&key).await? {
            None => (Named { list, disputed: false }, Version::ABSENT),
            Some((known, version)) if known.list == list => (known, version),
            Some((known, version)) => (Named { disputed: true, ..known }, version),
        };
        if version == Version::ABSENT || (named.disputed && named.list != list) {
            let value = tables::components::encode_name(&named, &Bytes::new());
            // Whoever was first has said as much; the next one who says a list looks again.
            self.records.commit(vec![Write::next(key, version, value)]).await?;
        }
        self.lists.names.insert((age, said.name), (named, self.clock.now()));
        Ok(())
    }
}

fn said(
    message: &AgentToServer,
    described: impl FnOnce() -> Option<opamp::v1::AgentDescription>,
) -> Option<Said<'_>> {
    let list = message.available_components.as_ref().filter(|list| !list.hash.is_empty())?;
    let description = message.agent_description.clone().or_else(described);
    Some(Said { name: components::key(description.as_ref(), &list.hash), list })
}
