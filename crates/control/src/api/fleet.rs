//! Service Fleet: how the control plane itself is doing.

use std::future::Future;

use bus::{Position, v1 as wire};
use model::Timestamp;
use model::assign::Assignment;
use model::brake::Stage;
use model::selector::Selector;
use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert};
use crate::Error;
use crate::error::within;
use crate::processes::{Heard, Known};
use crate::v1::get_status_response::{AgentCounts, Offers, Process, Role, Service, View};
use crate::v1::{
    ConfigStatus, Gateway, GetStatusRequest, GetStatusResponse, ListGatewaysRequest,
    ListGatewaysResponse, Liveness, fleet_server,
};

#[async_trait]
impl fleet_server::Fleet for Api {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.status().await))
    }

    async fn list_gateways(
        &self,
        _: Request<ListGatewaysRequest>,
    ) -> Result<Response<ListGatewaysResponse>, Status> {
        Ok(Response::new(ListGatewaysResponse { gateways: gateways(&self.processes.known()) }))
    }
}

impl Api {
    /// Answers whatever is away: that is what it is asked for.
    async fn status(&self) -> GetStatusResponse {
        let ((bus, end), (records, _), (ledger, _)) = tokio::join!(
            self.probe("the bus", self.bus.tail()),
            self.probe("the store", self.records.ready()),
            self.probe("the ledger", self.ledger.store.ready()),
        );
        let known = self.processes.known();
        GetStatusResponse {
            gateways: gateways(&known),
            processes: processes(known),
            bus: Some(bus),
            records: Some(records),
            ledger: Some(ledger),
            view: Some(self.progress(end)),
            agents: Some(self.counts()),
            offers: self.offers().await,
        }
    }

    async fn probe<T, E: Into<Error>>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> (Service, Option<T>) {
        let start = Instant::now();
        let answer = within(self.limits.probe_timeout, what, call).await;
        let answer_micros = i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX);
        match answer {
            Ok(answer) => {
                (Service { reachable: true, error: String::new(), answer_micros }, Some(answer))
            }
            Err(error) => {
                (Service { reachable: false, error: error.to_string(), answer_micros }, None)
            }
        }
    }

    fn progress(&self, end: Option<Position>) -> View {
        let (next, last_event) = self.view.progress();
        let ready = self.view.ready();
        View {
            ready,
            behind: end.filter(|_| ready).map(|end| end.0.saturating_sub(next.0)),
            last_event_time: last_event.map(convert::time),
        }
    }

    /// What is on its way; `None` if nobody can say.
    async fn offers(&self) -> Option<Offers> {
        let read = self.ledger.assignments();
        let (mut held, _) = within(self.limits.probe_timeout, "the ledger", read).await.ok()?;
        let tallies = self.view.tallies(&held);
        let in_flight = tallies.values().map(|tally| tally.in_flight).sum::<usize>();
        held.list.retain(|assignment| assignment.brake.stage != Stage::Done);
        held.list.sort_by(|a, b| a.name.cmp(&b.name));
        let shown = |found: &Assignment| convert::assignment(found, tallies.get(&found.name));
        Some(Offers {
            hold: held.hold.as_ref().map(convert::hold),
            in_flight: i64::try_from(in_flight).unwrap_or(i64::MAX),
            assignments: held.list.iter().map(shown).collect(),
        })
    }

    fn counts(&self) -> AgentCounts {
        let everyone = Selector::parse("").expect("the empty selector is one");
        let mut counts = AgentCounts::default();
        for shown in self.view.selected(&everyone) {
            let summary = &shown.entry.summary;
            let status = convert::config_status(summary);
            let unhealthy = summary.health.as_ref().is_some_and(|health| !health.healthy);
            counts.total += 1;
            counts.connected += i64::from(shown.connected);
            counts.unhealthy += i64::from(unhealthy);
            counts.config_pending +=
                i64::from(matches!(status, ConfigStatus::Pending | ConfigStatus::Applying));
            counts.config_failed += i64::from(status == ConfigStatus::Failed);
        }
        counts
    }
}

fn processes(known: Known) -> Vec<Process> {
    let mut processes: Vec<Process> = known.processes.into_iter().map(process).collect();
    let roles = |process: &Process| -> Vec<String> {
        process.roles.iter().map(|role| role.name.clone()).collect()
    };
    processes.sort_by_cached_key(|process| (roles(process), process.process_id.clone()));
    processes
}

fn process(heard: Heard<wire::Status>) -> Process {
    let role =
        |role: wire::status::Role| Role { name: role.name, ready: role.ready, reason: role.reason };
    let (liveness, status) = (liveness(&heard), heard.said);
    Process {
        process_id: status.process_id,
        roles: status.roles.into_iter().map(role).collect(),
        version: status.version,
        start_time: Some(convert::time(Timestamp(status.started_unix_ms))),
        last_heard_time: Some(convert::time(heard.at)),
        liveness,
        draining: status.draining,
    }
}

fn gateways(known: &Known) -> Vec<Gateway> {
    let gateway = |(id, heard): &(String, Heard<u64>)| {
        let process = known.process_of(id).cloned().unwrap_or_default();
        Gateway {
            name: format!("gateways/{id}"),
            gateway_id: id.clone(),
            sessions: i64::try_from(heard.said).unwrap_or(i64::MAX),
            last_heard_time: Some(convert::time(heard.at)),
            liveness: liveness(heard),
            version: process.version,
            address: process.gateway_address,
            process_id: process.process_id,
        }
    };
    known.gateways.iter().map(gateway).collect()
}

fn liveness<T>(heard: &Heard<T>) -> i32 {
    if heard.alive { Liveness::Alive.into() } else { Liveness::Silent.into() }
}
