//! The operators' side: what they see of agents, and what they decide.

use std::time::Duration;

use control::v1::agents_client::AgentsClient;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::configs_client::ConfigsClient;
use control::v1::*;
use opamp::InstanceUid;
use opamp::v1::AgentConfigFile;
use tonic::Status;

use super::{Fleet, PATIENCE};
use crate::messages::{full, offered};

/// New agents that must be offered a config, one after the other, until it counts as known to
/// every worker: each is answered by any one of them.
const KNOWN_IN_A_ROW: usize = 8;

impl Fleet {
    /// What operators see of an agent.
    pub(crate) async fn agent(&self, uid: InstanceUid) -> Option<Agent> {
        self.agent_named(&format!("agents/{uid}")).await.ok()
    }

    /// What operators see under a name.
    pub(crate) async fn agent_named(&self, name: &str) -> Result<Agent, Status> {
        let request = GetAgentRequest { name: name.to_owned() };
        let got = AgentsClient::new(self.channel.clone()).get_agent(request).await;
        got.map(tonic::Response::into_inner)
    }

    /// Waits until operators see an agent as it should be.
    pub(crate) async fn until(&self, uid: InstanceUid, holds: impl Fn(&Agent) -> bool) -> Agent {
        let mut last = None;
        let waiting = async {
            loop {
                last = self.agent(uid).await;
                if let Some(agent) = last.as_ref().filter(|agent| holds(agent)) {
                    return agent.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(agent) => agent,
            Err(_) => panic!("waited in vain; the agent is {last:#?}"),
        }
    }

    /// Waits until a selector selects so many agents.
    pub(crate) async fn until_listed(&self, selector: &str, count: usize) -> Vec<Agent> {
        let request = ListAgentsRequest { selector: selector.to_owned(), ..Default::default() };
        let mut agents = AgentsClient::new(self.channel.clone());
        let waiting = async {
            loop {
                let found = agents.list_agents(request.clone()).await.unwrap().into_inner().agents;
                if found.len() == count {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("as many as that")
    }

    /// Stores a config with one file and returns its hash.
    pub(crate) async fn apply(&self, name: &str, body: &[u8]) -> Vec<u8> {
        self.try_apply(name, body).await.unwrap()
    }

    /// The same, or why it is refused.
    pub(crate) async fn try_apply(&self, name: &str, body: &[u8]) -> Result<Vec<u8>, Status> {
        let file = AgentConfigFile { body: body.to_vec().into(), ..Default::default() };
        self.try_apply_files(name, vec![(String::new(), file)]).await
    }

    /// Stores a config and returns its hash.
    pub(crate) async fn apply_files(
        &self,
        name: &str,
        files: Vec<(String, AgentConfigFile)>,
    ) -> Vec<u8> {
        self.try_apply_files(name, files).await.unwrap()
    }

    async fn try_apply_files(
        &self,
        name: &str,
        files: Vec<(String, AgentConfigFile)>,
    ) -> Result<Vec<u8>, Status> {
        let name = format!("configs/{name}");
        let files = files.into_iter().collect();
        let request = ApplyConfigRequest { name, files, allow_empty: true };
        let applied = ConfigsClient::new(self.channel.clone()).apply_config(request).await?;
        Ok(applied.into_inner().hash)
    }

    /// Assigns a config's newest revision to the agents of a case.
    pub(crate) async fn assign(&self, case: &str, config: &str) {
        let assignment = Assignment {
            name: format!("assignments/{case}"),
            selector: format!("case={case}"),
            config_revision: format!("configs/{config}"),
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// Stores a config, assigns it to the agents of a case, and returns its hash once every
    /// worker knows: a decision reaches them a moment after it is made.
    pub(crate) async fn give(&self, case: &str, body: &[u8]) -> Vec<u8> {
        let hash = self.apply(case, body).await;
        self.assign(case, case).await;
        let known = async {
            let mut in_a_row = 0;
            while in_a_row < KNOWN_IN_A_ROW {
                let reply = self.poll(&full(self.uid(), 0, case)).await;
                in_a_row = if offered(&reply) == Some(&hash[..]) { in_a_row + 1 } else { 0 };
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the decision is known");
        hash
    }
}
