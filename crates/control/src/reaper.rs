//! Has the sessions of gateways ended that are not heard any more, so that records do not name
//! owners that are gone. Workers do it, each record by compare-and-set on its epoch, and only if
//! they cannot reach the gateway either: it may be this control that is deaf.

use std::sync::Arc;

use bus::v1::{Reap, reap::Target};
use bus::{Client, Subject};
use futures_util::{StreamExt as _, stream};
use model::GatewayId;
use opamp::InstanceUid;
use tokio::time::{MissedTickBehavior, interval};

use crate::leader::Leads;
use crate::view::View;
use crate::{Error, Limits};

/// Looks for silent gateways now and then.
#[derive(Debug, Clone)]
pub(crate) struct Reaper {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) bus: Client,
    pub(crate) leads: Leads,
}

impl Reaper {
    /// Reaps, for ever.
    pub(crate) async fn run(self) {
        let mut tick = interval(self.limits.reap_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !self.leads.now() || !self.view.ready() {
                continue;
            }
            for (gateway, sessions) in self.view.silent_gateways() {
                match self.reap(&gateway, &sessions).await {
                    Ok(true) => {
                        tracing::warn!(%gateway, sessions = sessions.len(), "silent: reaped");
                    }
                    Ok(false) => tracing::warn!(%gateway, "unheard here, but alive"),
                    Err(error) => tracing::warn!(%gateway, %error, "not reaped"),
                }
            }
        }
    }

    /// Ends a gateway's sessions; false if it turns out to be alive.
    async fn reap(
        &self,
        gateway: &GatewayId,
        sessions: &[(InstanceUid, u64)],
    ) -> Result<bool, Error> {
        let asks: Vec<Reap> = sessions
            .chunks(self.limits.reassess_max)
            .map(|batch| {
                let targets = batch.iter().map(target).collect();
                Reap { gateway_id: gateway.to_string(), targets }
            })
            .collect();
        let ask = |ask| {
            let (bus, timeout) = (self.bus.clone(), self.limits.worker_timeout);
            async move { bus.request(&Subject::Reap, &ask, timeout).await }
        };
        let mut replies = stream::iter(asks).map(ask).buffered(self.limits.reassess_in_flight_max);
        let mut failed = 0;
        while let Some(reply) = replies.next().await {
            let reply = reply?;
            if reply.alive {
                return Ok(false);
            }
            failed += reply.failed;
        }
        match failed {
            0 => Ok(true),
            failed => Err(Error::Unavailable(format!("{failed} records could not be written"))),
        }
    }
}

fn target((uid, epoch): &(InstanceUid, u64)) -> Target {
    Target { instance_uid: uid.as_bytes().to_vec().into(), epoch: *epoch }
}
