//! Service CustomMessages: what agents say to whoever knows their capabilities.

use model::custom::CAPABILITY_BYTES_MAX;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::Api;
use super::agents::parse_selector;
use crate::Error;
use crate::actor::Actor;
use crate::v1::{
    WatchCustomMessagesRequest, WatchCustomMessagesResponse, command, custom_messages_server,
};
use crate::view::json_member;
use crate::watch::said::Wanted;

#[async_trait]
impl custom_messages_server::CustomMessages for Api {
    type WatchCustomMessagesStream = ReceiverStream<Result<WatchCustomMessagesResponse, Status>>;

    async fn watch_custom_messages(
        &self,
        request: Request<WatchCustomMessagesRequest>,
    ) -> Result<Response<Self::WatchCustomMessagesStream>, Status> {
        let (door, holder) = (self.door.clone(), Actor::of(&request).holder);
        let refused = async move { door.until_refused(holder).await };
        let request = request.into_inner();
        let selector = parse_selector("selector", &request.selector)?;
        check_custom("capability", &request.capability)?;
        check_custom("type", &request.r#type)?;
        if request.capability.is_empty() && !request.r#type.is_empty() {
            return Err(Error::invalid("capability", "must be given beside a type").into());
        }
        let wanted = Wanted { selector, capability: request.capability, kind: request.r#type };
        let updates = self.watches.custom_messages(wanted, &request.position, refused).await?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }
}

/// A message that an operator sends. Whether its agents declare the capability is another question.
pub(super) fn check_message(message: &command::CustomMessage) -> Result<(), Error> {
    let given = |field, word: &str| match word {
        "" => Err(Error::invalid(field, "must be given")),
        word => check_custom(field, word),
    };
    given("command.custom_message.capability", &message.capability)?;
    given("command.custom_message.type", &message.r#type)?;
    let Some(reply) = &message.reply else { return Ok(()) };
    given("command.custom_message.reply.type", &reply.r#type)?;
    let field = "command.custom_message.reply.key";
    if reply.key.len() > CAPABILITY_BYTES_MAX {
        return Err(Error::invalid(field, format!("at most {CAPABILITY_BYTES_MAX} bytes")));
    }
    match reply.key.is_empty() || json_member(&message.data, &reply.key).is_some() {
        true => Ok(()),
        false => Err(Error::invalid(field, "the data are no JSON object with this member")),
    }
}

/// Agents may use any words; these only must be some.
pub(super) fn check_custom(field: &'static str, word: &str) -> Result<(), Error> {
    if word.len() > CAPABILITY_BYTES_MAX {
        return Err(Error::invalid(field, format!("at most {CAPABILITY_BYTES_MAX} bytes")));
    }
    match word.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        true => Err(Error::invalid(field, "must hold no spaces and no control characters")),
        false => Ok(()),
    }
}
