//! Streams of the API that are followed for as long as somebody reads what is printed, over lost
//! connections and restarted servers.

use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};

use super::call;
use super::output::{note, write};
use crate::limits;

/// A kind of stream that goes on from positions.
pub(super) trait Followed {
    /// What the server sends.
    type Message;

    /// Opens the stream at a position, or from the start.
    async fn open(
        &self,
        position: &str,
    ) -> anyhow::Result<Result<Streaming<Self::Message>, Status>>;

    /// What is printed of a message, if anything is.
    fn text(&self, message: &Self::Message) -> Option<String>;

    /// Where to go on after a message.
    fn position(message: Self::Message) -> String;
}

/// Follows until interrupted, or until nobody reads any more.
pub(super) async fn follow<F: Followed>(
    followed: &F,
    heading: Option<String>,
    from: String,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        followed = on_and_on(followed, heading, from) => followed,
    }
}

async fn on_and_on<F: Followed>(
    followed: &F,
    heading: Option<String>,
    mut position: String,
) -> anyhow::Result<()> {
    // A server that cannot be reached at first is an error, as for every command.
    let opened = followed.open(&position).await?;
    let mut stream = opened.map_err(|status| call::explain(status.into()))?;
    if heading.is_some_and(|heading| !matches!(write(heading), Ok(true))) {
        return Ok(());
    }
    while let Some(status) = until_broken(followed, &mut stream, &mut position).await? {
        note(&format!("watch broke off, reconnecting: {}", status.message()));
        if status.code() == Code::OutOfRange {
            position.clear();
        }
        stream = reopen(followed, &mut position).await?;
    }
    Ok(())
}

/// Prints what comes until the stream breaks off; `None` if nobody reads any more.
async fn until_broken<F: Followed>(
    followed: &F,
    stream: &mut Streaming<F::Message>,
    position: &mut String,
) -> anyhow::Result<Option<Status>> {
    loop {
        let message = match timeout(limits::WATCH_SILENCE, stream.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Ok(Some(Status::unavailable("the server ended it"))),
            Ok(Err(status)) => return Ok(Some(status)),
            Err(_) => return Ok(Some(Status::unavailable("the server fell silent"))),
        };
        if followed.text(&message).is_some_and(|text| !matches!(write(text), Ok(true))) {
            return Ok(None);
        }
        *position = F::position(message);
    }
}

/// Tries until the server is back. A position that it no longer knows is given up.
async fn reopen<F: Followed>(
    followed: &F,
    position: &mut String,
) -> anyhow::Result<Streaming<F::Message>> {
    let mut pause = limits::WATCH_RETRY_MIN;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(limits::WATCH_RETRY_MAX);
        match followed.open(position).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(status)) => match status.code() {
                Code::OutOfRange => position.clear(),
                Code::InvalidArgument | Code::Unimplemented | Code::Unauthenticated => {
                    return Err(call::explain(status.into()));
                }
                _ => {}
            },
            Err(_) => {}
        }
    }
}
