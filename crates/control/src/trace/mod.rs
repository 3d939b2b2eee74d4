//! Traces: what one agent and the gateways say to each other, from all gateways at once, since an
//! agent may come by any of them.
//!
//! Gateways remember and redact; here their answers are put in order and handed on. A gateway keeps
//! listening only while it is asked, so nothing is left behind when a control dies. What may not
//! enter: what a message means.

mod follow;
mod gateways;
mod told;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus::v1::{Tap, TapDirection};
use bus::{Client, v1 as wire};
use model::{Clock, Timestamp};
use opamp::InstanceUid;
use tokio::sync::mpsc::Receiver;
use tonic::Status;

use crate::ledger::Ledger;
use crate::processes::Processes;
use crate::stream::{Bounds, Streams};
use crate::v1::TraceAgentResponse;
use crate::view::View;
use crate::{Error, Limits};

use follow::Follower;
use gateways::Gateways;
use told::Teller;

type Update = Result<TraceAgentResponse, Status>;

/// Starts traces, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    pub(crate) limits: Limits,
    /// Of this control.
    pub(crate) name: String,
    pub(crate) view: Arc<View>,
    pub(crate) ledger: Ledger,
    pub(crate) processes: Arc<Processes>,
    pub(crate) bus: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) streams: Streams,
    pub(crate) numbers: Arc<AtomicU64>,
}

/// What is to be traced.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) uid: InstanceUid,
    /// Entries from before.
    pub(crate) last: u32,
    /// What comes after them too.
    pub(crate) follow: bool,
    pub(crate) include_bodies: bool,
    pub(crate) direction: TapDirection,
}

/// What gateways answered at first.
struct Start {
    entries: Vec<(String, wire::tap_reply::Entry)>,
    /// Position to ask on from, by gateway.
    places: BTreeMap<String, u64>,
    silent: Vec<String>,
}

impl Traces {
    /// How many there may be.
    pub(crate) fn bounds(limits: &Limits) -> Bounds {
        Bounds {
            does: "trace",
            gauge: "muster_control_traces",
            most: limits.traces_max,
            queue_max: limits.trace_queue_max,
            stall: limits.trace_stall,
        }
    }

    /// Starts a trace. It ends when who wants it is refused.
    pub(crate) async fn start(
        &self,
        wanted: Wanted,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Update>, Error> {
        let slot = self.streams.slot()?;
        let tap = Tap {
            instance_uid: wanted.uid.as_bytes().to_vec().into(),
            tap_id: if wanted.follow { self.new_id() } else { 0 },
            last: wanted.last,
            include_bodies: wanted.include_bodies,
            direction: wanted.direction.into(),
            ..Tap::default()
        };
        let gateways = Gateways::new(self.limits, self.processes.clone(), self.bus.clone(), tap);
        let start = match gateways.begin().await {
            Ok(start) if start.entries.is_empty() && self.view.agent(&wanted.uid).is_none() => {
                Err(Error::NotFound(format!("agents/{}", wanted.uid)))
            }
            start => start,
        };
        let start = match start {
            Ok(start) => start,
            Err(error) => {
                gateways.end().await;
                return Err(error);
            }
        };
        let (limits, view, ledger) = (self.limits, self.view.clone(), self.ledger.clone());
        let gateways = Arc::new(gateways);
        let Wanted { uid, follow, last, .. } = wanted;
        let asked = gateways.clone();
        let trace = |queue| async move {
            let teller = Teller { limits, view, ledger, uid, queue };
            let follower = Follower { teller, gateways: asked, follow, last };
            follower.run(start).await.err().flatten()
        };
        Ok(self.streams.run(refused, slot, trace, async move { gateways.end().await }))
    }

    /// A number that no other trace has, of whichever control.
    fn new_id(&self) -> u64 {
        let Timestamp(now) = self.clock.now();
        let mut hasher = DefaultHasher::new();
        (&self.name, now, self.numbers.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        hasher.finish().max(1)
    }
}
