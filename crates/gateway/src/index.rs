//! Which connection holds which agent, and which connections there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opamp::InstanceUid;

use crate::connection::Connection;

/// Connections looked at in one go, before others get their turn.
const PAGE: usize = 1_024;

/// The connection that holds an agent.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) epoch: u64,
    pub(crate) connection: Arc<Connection>,
}

/// Agents by uid. Only looked up, never listed.
#[derive(Debug, Default)]
pub(crate) struct Index {
    holders: Mutex<HashMap<InstanceUid, Holder>>,
}

impl Index {
    /// An agent is held since `epoch`. Returns who held it here before, if that is another
    /// connection. An older epoch than the one known holds nothing.
    pub(crate) fn claim(
        &self,
        uid: InstanceUid,
        epoch: u64,
        connection: &Arc<Connection>,
    ) -> Option<Holder> {
        let mut holders = self.holders();
        if holders.get(&uid).is_some_and(|known| known.epoch > epoch) {
            return None;
        }
        let connection = connection.clone();
        let number = connection.number;
        let before = holders.insert(uid, Holder { epoch, connection });
        before.filter(|before| before.connection.number != number)
    }

    /// An agent is held no more, if it was held since this epoch.
    pub(crate) fn release(&self, uid: &InstanceUid, epoch: u64) {
        let mut holders = self.holders();
        if holders.get(uid).is_some_and(|known| known.epoch == epoch) {
            holders.remove(uid);
        }
    }

    /// The highest epoch that is known of an agent that is held; 0 if it is not.
    pub(crate) fn epoch(&self, uid: &InstanceUid) -> u64 {
        self.holders().get(uid).map_or(0, |holder| holder.epoch)
    }

    pub(crate) fn get(&self, uid: &InstanceUid) -> Option<Holder> {
        self.holders().get(uid).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.holders().len()
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<InstanceUid, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All WebSockets, by number.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: Mutex<BTreeMap<u64, Arc<Connection>>>,
}

impl Connections {
    pub(crate) fn insert(&self, connection: Arc<Connection>) {
        let mut all = self.all();
        all.insert(connection.number, connection);
        set_gauge(all.len());
    }

    pub(crate) fn remove(&self, number: u64) {
        let mut all = self.all();
        all.remove(&number);
        set_gauge(all.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// Looks at every connection, a page at a time.
    pub(crate) async fn each(&self, mut look: impl FnMut(&Connection)) {
        self.each_shared(|connection| look(connection)).await;
    }

    /// The same, for who keeps some of them.
    pub(crate) async fn each_shared(&self, mut look: impl FnMut(&Arc<Connection>)) {
        let mut after = 0;
        loop {
            let page = self.page(after, PAGE);
            let Some(last) = page.last() else { return };
            after = last.number;
            page.iter().for_each(&mut look);
            tokio::task::yield_now().await;
        }
    }

    /// Up to `count` connections whose number is above `after`, so that a walk over all of them
    /// holds the lock only shortly.
    pub(crate) fn page(&self, after: u64, count: usize) -> Vec<Arc<Connection>> {
        let all = self.all();
        let above = all.range(after + 1..);
        above.take(count).map(|(_, connection)| connection.clone()).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "connections are far below 2^52")]
fn set_gauge(count: usize) {
    metrics::gauge!("muster_gateway_connections").set(count as f64);
}
