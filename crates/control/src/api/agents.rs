//! Service Agents.

use model::AgentSummary;
use model::selector::Selector;
use store::{Key, tables};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert, names};
use crate::error::within;
use crate::v1::{
    Agent, GetAgentRequest, ListAgentsRequest, ListAgentsResponse, WatchAgentsRequest,
    WatchAgentsResponse, agents_server,
};
use crate::{Error, v1};

#[async_trait]
impl agents_server::Agents for Api {
    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref())?))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<Agent>, Status> {
        Ok(Response::new(self.agent(&request.get_ref().name).await?))
    }

    type WatchAgentsStream = ReceiverStream<Result<WatchAgentsResponse, Status>>;

    async fn watch_agents(
        &self,
        request: Request<WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        self.check_view()?;
        let request = request.get_ref();
        let selector = parse_selector("selector", &request.selector)?;
        let updates = self.watches.start(selector, &request.position).await?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }
}

impl Api {
    async fn agent(&self, name: &str) -> Result<Agent, Error> {
        let uid = names::parse_agent(name)?;
        let key = Key::agent(&uid);
        let get = self.records.get(std::slice::from_ref(&key));
        let stored = within(self.limits.store_timeout, "the store", get).await?.pop().flatten();
        let stored = stored.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let record = tables::agents::decode(&key, &stored.value)?.value;
        let summary = AgentSummary::from(&record);
        let shown = self.view.join(&uid, stored.version.0, summary);
        let health = record.reported.health.clone();
        let report: v1::AgentReport = convert::report(record);
        Ok(Agent { report: Some(report), health, ..convert::agent(&shown) })
    }

    pub(super) fn check_view(&self) -> Result<(), Error> {
        match self.view.ready() {
            true => Ok(()),
            false => Err(Error::Unavailable("the fleet is still being read".to_owned())),
        }
    }
}

pub(super) fn parse_selector(field: &'static str, text: &str) -> Result<Selector, Error> {
    Selector::parse(text).map_err(|error| Error::invalid(field, error.to_string()))
}
