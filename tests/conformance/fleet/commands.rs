//! The operators' side of commands.

use control::v1::command::{Action, Restart};
use control::v1::commands_client::CommandsClient;
use control::v1::*;
use opamp::InstanceUid;
use tonic::Status;

use super::{Fleet, PATIENCE};

impl Fleet {
    /// Has an agent restarted; it may wait for a poll.
    pub(crate) async fn restart_agent(
        &self,
        uid: InstanceUid,
        queue: bool,
    ) -> Result<String, Status> {
        let action = Some(Action::Restart(Restart {}));
        let request = CreateCommandRequest {
            command: Some(Command { action, queue, ..Default::default() }),
            agents: vec![format!("agents/{uid}")],
            ..Default::default()
        };
        let given = CommandsClient::new(self.channel.clone()).create_command(request).await?;
        Ok(given.into_inner().command.unwrap().name)
    }

    /// Waits until the only agent of a command is in a state, and tells how it stands.
    pub(crate) async fn until_command(&self, name: &str, state: CommandState) -> CommandTarget {
        let mut client = CommandsClient::new(self.channel.clone());
        let mut last = CommandTarget::default();
        let reached = async {
            while last.state() != state {
                let request = GetCommandRequest { name: name.to_owned() };
                last = client.get_command(request).await.unwrap().into_inner().target.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "waited in vain for {state:?}: {last:?}");
        last
    }
}
