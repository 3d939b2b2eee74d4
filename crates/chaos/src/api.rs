//! The operators' API, one call at a time, each within a bound.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::fleet_client::FleetClient;
use control::v1::*;
use opamp::v1::AgentConfigFile;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::limits::CALL;
use crate::rig::Rig;

/// A way to one control.
#[derive(Debug, Clone)]
pub(crate) struct Api(Channel);

/// How a call ended, and how long it took.
#[derive(Debug)]
pub(crate) struct Called<T> {
    pub(crate) outcome: Result<T, Status>,
    pub(crate) took: Duration,
}

impl Api {
    /// One for each control.
    pub(crate) fn all(rig: &Rig) -> anyhow::Result<Vec<Self>> {
        let connect = |control: &services::Muster| {
            let url = control.control.clone().context("no door for operators")?;
            Ok(Self(Channel::from_shared(url)?.connect_timeout(CALL).connect_lazy()))
        };
        rig.cluster.controls.iter().map(connect).collect()
    }

    pub(crate) async fn apply(&self, name: &str, body: &str) -> Called<ConfigRevision> {
        let file = AgentConfigFile { body: body.to_owned().into(), ..Default::default() };
        let files = [(String::new(), file)].into();
        let name = format!("configs/{name}");
        let request = ApplyConfigRequest { name, files, allow_empty: false };
        called(ConfigsClient::new(self.0.clone()).apply_config(request)).await
    }

    pub(crate) async fn assign(
        &self,
        name: &str,
        selector: &str,
        revision: &str,
        max_in_flight: i32,
    ) -> Called<SetAssignmentResponse> {
        let assignment = Assignment {
            name: format!("assignments/{name}"),
            selector: selector.to_owned(),
            config_revision: revision.to_owned(),
            max_in_flight,
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
        called(AssignmentsClient::new(self.0.clone()).set_assignment(request)).await
    }

    pub(crate) async fn assignments(&self) -> Called<ListAssignmentsResponse> {
        let mut client = AssignmentsClient::new(self.0.clone()).max_decoding_message_size(64 << 20);
        called(client.list_assignments(ListAssignmentsRequest {})).await
    }

    pub(crate) async fn label(
        &self,
        selector: &str,
        key: &str,
        value: &str,
    ) -> Called<LabelAgentsResponse> {
        let request = LabelAgentsRequest {
            selector: selector.to_owned(),
            set: [(key.to_owned(), value.to_owned())].into(),
            ..Default::default()
        };
        called(AgentsClient::new(self.0.clone()).label_agents(request)).await
    }

    pub(crate) async fn agent(&self, name: &str) -> Called<Agent> {
        let request = GetAgentRequest { name: name.to_owned() };
        called(AgentsClient::new(self.0.clone()).get_agent(request)).await
    }

    pub(crate) async fn page(&self, selector: &str, token: &str) -> Called<ListAgentsResponse> {
        let request = ListAgentsRequest {
            selector: selector.to_owned(),
            page_size: 1000,
            page_token: token.to_owned(),
            ..Default::default()
        };
        let mut client = AgentsClient::new(self.0.clone()).max_decoding_message_size(64 << 20);
        called(client.list_agents(request)).await
    }

    /// Every agent there is.
    pub(crate) async fn fleet(&self) -> Result<Vec<Agent>, Status> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.page("", &token).await.outcome?;
            all.extend(page.agents);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            token = page.next_page_token;
        }
    }

    pub(crate) async fn gateways(&self) -> Called<ListGatewaysResponse> {
        called(FleetClient::new(self.0.clone()).list_gateways(ListGatewaysRequest {})).await
    }
}

async fn called<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Called<T> {
    let start = Instant::now();
    let outcome = match tokio::time::timeout(CALL, call).await {
        Ok(outcome) => outcome.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the caller waited in vain")),
    };
    Called { outcome, took: start.elapsed() }
}
