//! Has gateways that hold more than their share give connections away, so that new ones fill.
//! Slowly, and only for as long as it helps: a load balancer may send agents back where they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::v1::{GatewayReply, GatewayRequest, Shed, gateway_reply, gateway_request};
use bus::{Client, Subject};
use model::GatewayId;
use tokio::time::{MissedTickBehavior, interval};

use crate::Limits;
use crate::leader::Leads;
use crate::processes::Processes;

/// Sessions above the mean that are no matter: small fleets are never even.
const SLACK: u64 = 50;
/// And this part of the mean.
const SLACK_PART: u64 = 10;
/// Orders without effect after which a gateway is left alone.
const STRIKES_MAX: u32 = 3;
/// Looks for which it is left alone then.
const REST_LOOKS: u32 = 60;

/// Looks at how gateways are filled now and then.
#[derive(Debug, Clone)]
pub(crate) struct Balancer {
    pub(crate) limits: Limits,
    /// Connections that a gateway gives away in a second at most; 0 for none.
    pub(crate) shed_per_second: u32,
    pub(crate) processes: Arc<Processes>,
    pub(crate) bus: Client,
    pub(crate) leads: Leads,
}

impl Balancer {
    /// Balances, for ever.
    pub(crate) async fn run(self) {
        let every = self.limits.balance_interval;
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let seconds = u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
        let mut scales = Scales::new(self.shed_per_second.saturating_mul(seconds).into());
        loop {
            tick.tick().await;
            if !self.leads.now() {
                continue;
            }
            for (gateway, connections) in scales.weigh(&self.processes.serving()) {
                self.shed(&gateway, connections, every).await;
            }
        }
    }

    async fn shed(&self, gateway: &str, connections: u64, over: Duration) {
        let shed = Shed {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            over_ms: u32::try_from(over.as_millis()).unwrap_or(u32::MAX),
        };
        let request = GatewayRequest { request: Some(gateway_request::Request::Shed(shed)) };
        let subject = Subject::Gateway(GatewayId::new(gateway));
        match self.bus.request(&subject, &request, self.limits.worker_timeout).await {
            Ok(GatewayReply { reply: Some(gateway_reply::Reply::Shed(begun)) }) => {
                tracing::info!(gateway, connections = begun.connections, "gives connections away");
            }
            Ok(_) => tracing::debug!(gateway, "does not know how to give connections away"),
            Err(error) => tracing::debug!(gateway, %error, "keeps its connections"),
        }
    }
}

/// How gateways were filled, and what was tried. Pure.
#[derive(Debug)]
struct Scales {
    /// Connections that one gateway may be asked for in one look.
    most: u64,
    tried: BTreeMap<String, Tried>,
}

#[derive(Debug, Default)]
struct Tried {
    /// Sessions when it was asked, and how many it was asked for.
    asked: Option<(u64, u64)>,
    strikes: u32,
    rest: u32,
}

impl Scales {
    fn new(most: u64) -> Self {
        Self { most, tried: BTreeMap::new() }
    }

    /// What each gateway is to give away now, given the sessions of all that serve.
    fn weigh(&mut self, gateways: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
        self.tried.retain(|name, _| gateways.contains_key(name));
        let Some(mean) = gateways.values().sum::<u64>().checked_div(gateways.len() as u64) else {
            return Vec::new();
        };
        let share = mean + (mean / SLACK_PART).max(SLACK);
        let mut orders = Vec::new();
        for (name, sessions) in gateways {
            let tried = self.tried.entry(name.clone()).or_default();
            tried.judge(*sessions);
            let excess = sessions.saturating_sub(mean).min(self.most);
            if *sessions <= share || excess == 0 {
                *tried = Tried::default();
            } else if tried.rest > 0 {
                tried.rest -= 1;
            } else {
                tried.asked = Some((*sessions, excess));
                orders.push((name.clone(), excess));
            }
        }
        orders
    }
}

impl Tried {
    /// Whether the last order helped. One that did not, again and again, is the load balancer's
    /// doing.
    fn judge(&mut self, sessions: u64) {
        let Some((before, asked)) = self.asked.take() else { return };
        if before.saturating_sub(sessions) >= asked.div_ceil(2) {
            self.strikes = 0;
            return;
        }
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            tracing::warn!("giving connections away does not help: does the balancer see load?");
            (self.strikes, self.rest) = (0, REST_LOOKS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sessions: &[u64]) -> BTreeMap<String, u64> {
        sessions.iter().enumerate().map(|(n, sessions)| (format!("g{n}"), *sessions)).collect()
    }

    fn orders(scales: &mut Scales, sessions: &[u64]) -> Vec<u64> {
        scales.weigh(&filled(sessions)).into_iter().map(|(_, connections)| connections).collect()
    }

    #[test]
    fn nothing_moves_among_equals_or_the_few() {
        let mut scales = Scales::new(250);
        for sessions in [&[][..], &[9_000], &[1_000, 1_080], &[49, 0], &[5_000, 5_300, 4_700]] {
            assert!(orders(&mut scales, sessions).is_empty(), "{sessions:?}");
        }
    }

    #[test]
    fn new_gateways_fill_and_then_it_stops() {
        let mut scales = Scales::new(250);
        let mut held = vec![5_000, 5_000, 0];
        for _ in 0..100 {
            let asked = scales.weigh(&filled(&held));
            if asked.is_empty() {
                break;
            }
            for (name, connections) in asked {
                assert!(connections <= 250);
                held[usize::from(name == "g1")] -= connections;
                held[2] += connections;
            }
        }
        assert!(orders(&mut scales, &held).is_empty());
        assert!(held[2] >= 2_900, "{held:?}");
    }

    #[test]
    fn what_does_not_help_is_left_alone_for_a_while() {
        let mut scales = Scales::new(250);
        let looks: Vec<usize> = (0..100).map(|_| orders(&mut scales, &[5_000, 0]).len()).collect();
        assert_eq!(looks[..3], [1, 1, 1]);
        assert_eq!(looks[3..63].iter().sum::<usize>(), 0);
        assert_eq!(looks[63], 1, "it is tried again");
    }

    #[test]
    fn none_are_asked_for_if_none_may_be() {
        assert!(orders(&mut Scales::new(0), &[5_000, 0]).is_empty());
    }
}
