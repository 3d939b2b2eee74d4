//! Service Commands.

mod give;
mod list;
mod shape;

use model::command::CommandId;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::Api;
use crate::Error;
use crate::actor::Actor;
use crate::ledger::Filed;
use crate::v1::{
    CancelCommandRequest, Command, CreateCommandRequest, CreateCommandResponse, GetCommandRequest,
    ListCommandTargetsRequest, ListCommandTargetsResponse, ListCommandsRequest,
    ListCommandsResponse, WatchCommandRequest, WatchCommandResponse, commands_server,
};

pub(crate) use shape::{command, target};

#[async_trait]
impl commands_server::Commands for Api {
    async fn create_command(
        &self,
        request: Request<CreateCommandRequest>,
    ) -> Result<Response<CreateCommandResponse>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.give(request.into_inner(), &actor).await?))
    }

    async fn get_command(
        &self,
        request: Request<GetCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let filed = self.filed("name", &request.get_ref().name).await?;
        Ok(Response::new(command(&filed, self.ledger.clock.now())))
    }

    async fn list_commands(
        &self,
        request: Request<ListCommandsRequest>,
    ) -> Result<Response<ListCommandsResponse>, Status> {
        Ok(Response::new(self.command_page(request.get_ref()).await?))
    }

    async fn list_command_targets(
        &self,
        request: Request<ListCommandTargetsRequest>,
    ) -> Result<Response<ListCommandTargetsResponse>, Status> {
        Ok(Response::new(self.target_page(request.get_ref()).await?))
    }

    type WatchCommandStream = ReceiverStream<Result<WatchCommandResponse, Status>>;

    async fn watch_command(
        &self,
        request: Request<WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        let (door, holder) = (self.door.clone(), Actor::of(&request).holder);
        let refused = async move { door.until_refused(holder).await };
        let filed = self.filed("name", &request.get_ref().name).await?;
        let updates = self.command_watches.start(filed.order.id, refused)?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }

    async fn cancel_command(
        &self,
        request: Request<CancelCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let name = &request.get_ref().name;
        let filed = self.cancel(&parse("name", name)?).await?;
        tracing::info!(actor = Actor::of(&request).name(), name, "command cancelled");
        Ok(Response::new(command(&filed, self.ledger.clock.now())))
    }
}

impl Api {
    async fn filed(&self, field: &'static str, name: &str) -> Result<Filed, Error> {
        let id = parse(field, name)?;
        let found = self.ledger.command(&id).await?;
        found.ok_or_else(|| Error::NotFound(name.to_owned()))
    }

    /// Takes back what is queued. Whoever carries the command out finds that it was written by
    /// somebody else before it can send anything more.
    async fn cancel(&self, id: &CommandId) -> Result<Filed, Error> {
        let now = self.ledger.clock.now();
        let cancelled = self.ledger.change_command(id, |filed| {
            let mut changed = Vec::new();
            for (part, leaf) in filed.parts.iter_mut().enumerate() {
                let taken = leaf.targets.iter_mut().filter_map(|t| t.cancel(now).then_some(()));
                if taken.count() > 0 {
                    changed.push(part);
                }
            }
            changed
        });
        let filed = cancelled.await?;
        self.commands.changed(*id).await;
        Ok(filed)
    }
}

/// The id in `commands/{command}`.
fn parse(field: &'static str, name: &str) -> Result<CommandId, Error> {
    let id = name.strip_prefix("commands/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::invalid(field, "must be commands/{command}, a UUID"))
}
