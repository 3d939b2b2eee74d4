//! Service Agents.

use std::collections::BTreeMap;

use bus::v1::TapDirection;
use model::selector::Selector;
use model::{AgentSummary, Timestamp};
use opamp::InstanceUid;
use store::{Key, tables};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert, labels, names};
use crate::actor::Actor;
use crate::error::within;
use crate::ledger::Relabel;
use crate::trace::Wanted;
use crate::v1::{
    Agent, DeleteAgentRequest, DeleteAgentResponse, GetAgentRequest, LabelAgentsRequest,
    LabelAgentsResponse, ListAgentsRequest, ListAgentsResponse, TraceAgentRequest,
    TraceAgentResponse, TraceDirection, WatchAgentsRequest, WatchAgentsResponse, agents_server,
};
use crate::{Error, keeper, v1};

/// An operator who deletes an agent does not mind when it was last heard.
const NO_MATTER: Timestamp = Timestamp(0);

#[async_trait]
impl agents_server::Agents for Api {
    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref()).await?))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<Agent>, Status> {
        Ok(Response::new(self.agent(&request.get_ref().name).await?))
    }

    async fn label_agents(
        &self,
        request: Request<LabelAgentsRequest>,
    ) -> Result<Response<LabelAgentsResponse>, Status> {
        let actor = Actor::of(&request).name();
        let request = request.into_inner();
        let (name, selector) = (request.name.clone(), request.selector.clone());
        let done = !request.validate_only;
        let answer = self.label(request).await?;
        if done {
            tracing::info!(actor, name, selector, agents = answer.changed_agents, "labelled");
        }
        Ok(Response::new(answer))
    }

    async fn delete_agent(
        &self,
        request: Request<DeleteAgentRequest>,
    ) -> Result<Response<DeleteAgentResponse>, Status> {
        let name = &request.get_ref().name;
        self.delete(name).await?;
        tracing::info!(actor = Actor::of(&request).name(), name, "deleted");
        Ok(Response::new(DeleteAgentResponse {}))
    }

    type TraceAgentStream = ReceiverStream<Result<TraceAgentResponse, Status>>;

    async fn trace_agent(
        &self,
        request: Request<TraceAgentRequest>,
    ) -> Result<Response<Self::TraceAgentStream>, Status> {
        self.check_view()?;
        let actor = Actor::of(&request);
        let wanted = self.wanted(request.get_ref())?;
        let (name, bodies) = (&request.get_ref().name, wanted.include_bodies);
        tracing::info!(actor = actor.name(), name, bodies, "traces");
        let (door, holder) = (self.door.clone(), actor.holder);
        let refused = async move { door.until_refused(holder).await };
        let updates = self.traces.start(wanted, refused).await?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }

    type WatchAgentsStream = ReceiverStream<Result<WatchAgentsResponse, Status>>;

    async fn watch_agents(
        &self,
        request: Request<WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        self.check_view()?;
        let (door, holder) = (self.door.clone(), Actor::of(&request).holder);
        let refused = async move { door.until_refused(holder).await };
        let request = request.get_ref();
        let selector = parse_selector("selector", &request.selector)?;
        let updates = self.watches.start(selector, &request.position, refused).await?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }
}

impl Api {
    /// Labels one agent, or all that a selector selects. The labels are stored before workers are
    /// told; what a worker does not do now is done when house is kept.
    async fn label(&self, request: LabelAgentsRequest) -> Result<LabelAgentsResponse, Error> {
        self.check_view()?;
        let uids = self.named(&request)?;
        let change = self.relabel(request.set, request.remove)?;
        let (assignments, _) = self.ledger.assignments().await?;
        let (changed, impact) = self.view.relabel_impact(&uids, &change, &assignments);
        if !request.validate_only {
            let uids = self.ledger.relabel(&uids, &change).await?;
            if let Err(error) = keeper::relabelled(&self.bus, &self.limits, &uids).await {
                tracing::warn!(%error, agents = uids.len(), "labels reach the records late");
            }
        }
        let changed_agents = convert::count(changed);
        Ok(LabelAgentsResponse { changed_agents, impact: Some(convert::impact(&impact)) })
    }

    fn wanted(&self, request: &TraceAgentRequest) -> Result<Wanted, Error> {
        let uid = names::parse_agent(&request.name)?;
        let most = self.limits.trace_last_max;
        let last = u32::try_from(request.last).ok().filter(|last| *last <= most);
        let last = last.ok_or_else(|| Error::invalid("last", format!("must be 0 to {most}")))?;
        if last == 0 && !request.follow {
            return Err(Error::invalid("last", "must not be 0 if nothing is followed"));
        }
        let direction = match TraceDirection::try_from(request.direction) {
            Ok(TraceDirection::Unspecified) => TapDirection::Unspecified,
            Ok(TraceDirection::In) => TapDirection::In,
            Ok(TraceDirection::Out) => TapDirection::Out,
            Err(_) => return Err(Error::invalid("direction", "must be IN, OUT or unspecified")),
        };
        let (follow, include_bodies) = (request.follow, request.include_bodies);
        Ok(Wanted { uid, last, follow, include_bodies, direction })
    }

    fn named(&self, request: &LabelAgentsRequest) -> Result<Vec<InstanceUid>, Error> {
        match (request.name.as_str(), request.selector.as_str()) {
            ("", "") => {
                Err(Error::invalid("selector", "must be given, * for all, if there is no name"))
            }
            ("", "*") => Ok(self.uids(&Selector::default())),
            ("", text) => Ok(self.uids(&parse_selector("selector", text)?)),
            (name, "") => {
                let uid = names::parse_agent(name)?;
                let found = self.view.agent(&uid).map(|_| vec![uid]);
                found.ok_or_else(|| Error::NotFound(name.to_owned()))
            }
            _ => Err(Error::invalid("selector", "must not be given beside a name")),
        }
    }

    fn uids(&self, selector: &Selector) -> Vec<InstanceUid> {
        self.view.selected(selector).into_iter().map(|shown| shown.uid).collect()
    }

    fn relabel(
        &self,
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<Relabel, Error> {
        labels::check("set", &set, &self.limits)?;
        if let Some(key) = set.keys().find(|key| remove.contains(key)) {
            return Err(Error::invalid("remove", format!("{key:?} is also to be set")));
        }
        match set.is_empty() && remove.is_empty() {
            true => Err(Error::invalid("set", "must not be empty if nothing is removed")),
            false => Ok(Relabel { set, remove }),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.check_view()?;
        let uid = names::parse_agent(name)?;
        let shown = self.view.agent(&uid).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        if shown.connected {
            let reason = format!("{name} is connected and would come back at once; stop it first");
            return Err(Error::Precondition(reason));
        }
        let judged = [(uid, shown.entry.version)];
        let gone = keeper::forget(&self.bus, &self.limits, &judged, NO_MATTER).await?;
        if gone.is_empty() {
            return Err(Error::Aborted(name.to_owned()));
        }
        self.ledger.drop_labels(&gone).await
    }

    async fn agent(&self, name: &str) -> Result<Agent, Error> {
        let uid = names::parse_agent(name)?;
        let key = Key::agent(&uid);
        let get = self.records.get(std::slice::from_ref(&key));
        let stored = within(self.limits.store_timeout, "the store", get).await?.pop().flatten();
        // A deleted one is still there until the log knows of it.
        let stored = stored.filter(|stored| !stored.value.is_empty());
        let stored = stored.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let record = match tables::agents::decode(&key, &stored.value) {
            Ok(read) => read.value,
            Err(error) => {
                // Whoever holds the agent asks it to report again.
                if let Err(error) = keeper::relabelled(&self.bus, &self.limits, &[uid]).await {
                    tracing::warn!(%error, "no worker to rebuild a record");
                }
                return Err(error.into());
            }
        };
        let summary = AgentSummary::from(&record);
        let shown = self.view.join(&uid, stored.version.0, summary);
        let health = record.reported.health.clone();
        let list = record.components;
        let mut report: v1::AgentReport = convert::report(record);
        if let (Some(list), Some(said)) = (list, &mut report.available_components) {
            let whole = self.lists.whole(list).await?.unwrap_or_default();
            said.components = whole.components;
        }
        let mut agent = convert::agent(&shown);
        // Lists have the beginning of its words, here they stand whole.
        if let (Some(config), Some(said)) = (&mut agent.config, &report.remote_config_status) {
            config.error_message.clone_from(&said.error_message);
        }
        Ok(Agent { report: Some(report), health, ..agent })
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
