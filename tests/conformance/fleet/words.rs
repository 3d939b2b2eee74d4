//! The operators' side of custom messages.

use control::v1::command::{Action, CustomMessage};
use control::v1::commands_client::CommandsClient;
use control::v1::custom_messages_client::CustomMessagesClient;
use control::v1::*;
use opamp::InstanceUid;
use tonic::{Status, Streaming};

use super::{Fleet, PATIENCE};

/// Custom messages as they come.
#[derive(Debug)]
pub(crate) struct Words(Streaming<WatchCustomMessagesResponse>);

impl Fleet {
    /// Listens to custom messages of a capability from now on.
    pub(crate) async fn words(&self, capability: &str, kind: &str) -> Words {
        let request = WatchCustomMessagesRequest {
            capability: capability.to_owned(),
            r#type: kind.to_owned(),
            ..Default::default()
        };
        let mut client = CustomMessagesClient::new(self.channel.clone());
        let stream = client.watch_custom_messages(request).await.unwrap().into_inner();
        let mut words = Words(stream);
        assert_eq!(words.message().await, None, "a bookmark says that it listens");
        words
    }

    /// Has an agent sent a message of type `word`. With `queue` it waits, so many seconds at most.
    pub(crate) async fn send_word(
        &self,
        uid: InstanceUid,
        capability: &str,
        data: &str,
        queue: Option<i64>,
    ) -> Result<String, Status> {
        let action = Action::CustomMessage(CustomMessage {
            capability: capability.to_owned(),
            r#type: "word".to_owned(),
            data: data.as_bytes().to_vec(),
            reply: None,
        });
        let expire_time = queue.map(|seconds| {
            #[expect(clippy::disallowed_methods, reason = "the time that the server goes by")]
            let now = std::time::SystemTime::now();
            (now + std::time::Duration::from_secs(seconds.unsigned_abs())).into()
        });
        let (queue, action) = (queue.is_some(), Some(action));
        let command = Some(Command { action, queue, expire_time, ..Default::default() });
        let agents = vec![format!("agents/{uid}")];
        let request = CreateCommandRequest { command, agents, ..Default::default() };
        let given = CommandsClient::new(self.channel.clone()).create_command(request).await?;
        Ok(given.into_inner().command.unwrap().name)
    }

    /// Uids of the agents that declare a capability.
    pub(crate) async fn declaring(&self, capability: &str) -> Vec<String> {
        let custom_capability = capability.to_owned();
        let request = ListAgentsRequest { custom_capability, ..Default::default() };
        let mut agents = agents_client::AgentsClient::new(self.channel.clone());
        let found = agents.list_agents(request).await.unwrap().into_inner().agents;
        found.into_iter().map(|agent| agent.instance_uid).collect()
    }
}

impl Words {
    async fn message(&mut self) -> Option<ReceivedCustomMessage> {
        let message = tokio::time::timeout(PATIENCE, self.0.message()).await;
        message.expect("a message in time").unwrap().expect("it goes on").message
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> ReceivedCustomMessage {
        loop {
            if let Some(message) = self.message().await {
                return message;
            }
        }
    }
}
