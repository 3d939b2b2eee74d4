//! Lists of components: kept once for all agents of a kind that name them alike, and known here
//! without asking the store again. What agents say of others is never believed once two disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::components::{self, ListHash};
use model::{Clock, Timestamp};
use opamp::v1::{AgentDescription, AgentToServer, AvailableComponents};
use quick_cache::sync::Cache;
use store::tables::components::Named;
use store::{Key, Store, Stored, Version, Write, tables};

use crate::Error;

/// Names and lists remembered, some 100 bytes each: a fleet has a few per kind and version.
const REMEMBERED_MAX: usize = 8_192;

/// How long a name is believed without asking the store, in milliseconds: another worker may have
/// heard of somebody who disagrees.
const BELIEVED_MS: u64 = 5_000;

/// Under what a list is looked for.
type Name = [u8; 32];

/// The lists of the records' store, and what was read and written there lately. Each with the age
/// of the store: what a lost store knew is known no more.
#[derive(Debug)]
pub(crate) struct Lists {
    records: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    names: Cache<(u64, Name), (Named, Timestamp)>,
    kept: Cache<(u64, ListHash), ()>,
}

/// What a message says of a list.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    name: Name,
    list: &'a AvailableComponents,
}

impl<'a> Said<'a> {
    /// `None` if it says nothing. `known` is how its agent described itself before.
    pub(crate) fn by(message: &'a AgentToServer, known: Option<&AgentDescription>) -> Option<Self> {
        let list = message.available_components.as_ref().filter(|list| !list.hash.is_empty())?;
        let description = message.agent_description.as_ref().or(known);
        Some(Self { name: components::key(description, &list.hash), list })
    }
}

impl Lists {
    pub(crate) fn new(records: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let (names, kept) = (Cache::new(REMEMBERED_MAX), Cache::new(REMEMBERED_MAX));
        Self { records, clock, names, kept }
    }

    /// Keeps the lists that were said, before any record speaks of them, and finds those of which
    /// only a hash was. By the numbers that they come with.
    pub(crate) async fn learn(
        &self,
        said: &[(usize, Said<'_>)],
    ) -> Result<BTreeMap<usize, ListHash>, Error> {
        let (whole, named): (Vec<_>, Vec<_>) =
            said.iter().partition(|(_, said)| !said.list.components.is_empty());
        for (_, said) in whole {
            self.keep(said).await?;
        }
        let names = named.iter().map(|(_, said)| said.name).collect();
        let known = self.known(names).await?;
        let list = |(index, said): &&(usize, Said<'_>)| Some((*index, *known.get(&said.name)?));
        Ok(named.iter().filter_map(list).collect())
    }

    /// The lists of these names, as far as nobody disagrees. One read for all.
    async fn known(&self, names: BTreeSet<Name>) -> Result<BTreeMap<Name, ListHash>, Error> {
        let (age, now) = (self.age(), self.clock.now());
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        for name in names {
            match self.names.get(&(age, name)) {
                Some((named, at)) if now.millis_since(at) < BELIEVED_MS => {
                    found.push((name, named));
                }
                _ => asked.push(name),
            }
        }
        if !asked.is_empty() {
            for (name, (named, _)) in asked.iter().zip(self.read(&asked).await?).filter_map(both) {
                self.names.insert((age, *name), (named, now));
                found.push((*name, named));
            }
        }
        let agreed = found.into_iter().filter(|(_, named)| !named.disputed);
        Ok(agreed.map(|(name, named)| (name, named.list)).collect())
    }

    /// What cannot be read is taken for absent, and written over.
    async fn read(&self, names: &[Name]) -> Result<Vec<Option<(Named, Version)>>, Error> {
        let keys: Vec<Key> = names.iter().map(Key::component_name).collect();
        let stored = self.records.get(&keys).await?;
        let read = |(key, stored): (&Key, Option<Stored>)| {
            let stored = stored?;
            let named = tables::components::decode_name(key, &stored.value).ok()?.value;
            Some((named, stored.version))
        };
        Ok(keys.iter().zip(stored).map(read).collect())
    }

    /// The list first: a name of a list that is not there would be believed.
    async fn keep(&self, said: &Said<'_>) -> Result<(), Error> {
        let (age, list) = (self.age(), ListHash::of(said.list));
        let remembered = self.names.get(&(age, said.name));
        let is_known = remembered.is_some_and(|(it, _)| it.disputed || it.list == list);
        if self.kept.get(&(age, list)).is_some() && is_known {
            return Ok(());
        }
        let value = tables::components::encode_list(said.list, &Bytes::new());
        let body = Write::next(Key::component_list(&list), Version::ABSENT, value);
        // A conflict means that it is there.
        self.records.commit(vec![body]).await?;
        self.kept.insert((age, list), ());
        let before = self.read(&[said.name]).await?.pop().flatten();
        let (named, version) = match before {
            None => (Named { list, disputed: false }, Version::ABSENT),
            Some((known, version)) => {
                (Named { disputed: known.disputed || known.list != list, ..known }, version)
            }
        };
        if before.is_none_or(|(known, _)| known != named) {
            let value = tables::components::encode_name(&named, &Bytes::new());
            let key = Key::component_name(&said.name);
            // Whoever was first has said as much; the next one who says a list looks again.
            self.records.commit(vec![Write::next(key, version, value)]).await?;
        }
        self.names.insert((age, said.name), (named, self.clock.now()));
        Ok(())
    }

    fn age(&self) -> u64 {
        self.records.generations().into_iter().max().unwrap_or_default().0
    }
}

fn both<A, B>((first, second): (A, Option<B>)) -> Option<(A, B)> {
    Some((first, second?))
}
