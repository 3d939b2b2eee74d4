//! `muster agents trace`: what an agent and the gateways say to each other, as it happens.

mod json;
mod text;

use std::collections::BTreeMap;

use clap::ValueEnum;
use control::v1::trace_agent_response::Content;
use control::v1::trace_notice::Kind;
use control::v1::{TraceAgentRequest, TraceAgentResponse, TraceDirection};
use opamp::InstanceUid;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};

use super::super::output::{Format, note, write};
use super::super::{Client, call};
use crate::exit::Failure;
use crate::limits;

type Stream = Streaming<TraceAgentResponse>;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its instance uid
    #[arg(value_name = "INSTANCE_UID")]
    uid: String,
    /// How many entries from before; gateways remember as many as fit
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    last: u16,
    /// Show what is remembered, and no more
    #[arg(long)]
    no_follow: bool,
    /// Show configs and custom messages, with values masked that look like secrets
    #[arg(long)]
    bodies: bool,
    /// Only messages from the agent, or only those to it
    #[arg(long, value_enum)]
    direction: Option<Direction>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Direction {
    /// From the agent
    In,
    /// To the agent
    Out,
}

/// Traces until interrupted, or until nobody reads what is printed.
pub(super) async fn run(client: &Client, args: &Args) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        traced = trace(client, args) => traced,
    }
}

async fn trace(client: &Client, args: &Args) -> anyhow::Result<()> {
    let uid: InstanceUid = args.uid.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    client.output.unless_names()?;
    let direction = match args.direction {
        None => TraceDirection::Unspecified,
        Some(Direction::In) => TraceDirection::In,
        Some(Direction::Out) => TraceDirection::Out,
    };
    let mut request = TraceAgentRequest {
        name: format!("agents/{uid}"),
        last: args.last.into(),
        follow: !args.no_follow,
        include_bodies: args.bodies,
        direction: direction.into(),
    };
    let opened = open(client, request.clone()).await?;
    let mut stream = opened.map_err(|status| call::explain(status.into()))?;
    let mut printer = Printer::new(client.output, args.no_follow);
    while let Some(status) = printer.follow(&mut stream).await? {
        if args.no_follow {
            return Err(call::explain(status.into()));
        }
        note(&format!("trace broke off, reconnecting: {}", status.message()));
        // What was printed already is left out.
        request.last = limits::TRACE_RESUME;
        stream = reopen(client, &request).await?;
    }
    Ok(())
}

async fn open(
    client: &Client,
    request: TraceAgentRequest,
) -> anyhow::Result<Result<Stream, Status>> {
    let opened = client.call(|channel| async move {
        let answer = super::client(channel).trace_agent(request).await;
        Ok(answer.map(tonic::Response::into_inner))
    });
    opened.await
}

/// Tries until the server is back.
async fn reopen(client: &Client, request: &TraceAgentRequest) -> anyhow::Result<Stream> {
    let mut pause = limits::WATCH_RETRY_MIN;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(limits::WATCH_RETRY_MAX);
        match open(client, request.clone()).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(status)) => match status.code() {
                Code::InvalidArgument | Code::Unimplemented | Code::Unauthenticated => {
                    return Err(call::explain(status.into()));
                }
                _ => {}
            },
            Err(_) => {}
        }
    }
}

/// Prints entries once each.
struct Printer {
    format: Format,
    text: text::Text,
    /// Position of the last entry printed, by gateway.
    printed: BTreeMap<String, u64>,
    following: bool,
    /// The end of the stream is the end.
    whole: bool,
}

impl Printer {
    fn new(format: Format, whole: bool) -> Self {
        let (text, printed) = (text::Text::default(), BTreeMap::new());
        Self { format, text, printed, following: false, whole }
    }

    /// Prints what comes until the stream breaks off; `None` if it is done, or nobody reads.
    async fn follow(&mut self, stream: &mut Stream) -> anyhow::Result<Option<Status>> {
        loop {
            let message = match timeout(limits::WATCH_SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) if self.whole => return Ok(None),
                Ok(Ok(None)) => return Ok(Some(Status::unavailable("the server ended it"))),
                Ok(Err(status)) => return Ok(Some(status)),
                Err(_) => return Ok(Some(Status::unavailable("the server fell silent"))),
            };
            if self.is_news(&message) && !write(self.shown(&message))? {
                return Ok(None);
            }
        }
    }

    /// Whether it is to be printed: signs of life are not, and nothing is printed twice.
    fn is_news(&mut self, message: &TraceAgentResponse) -> bool {
        match &message.content {
            Some(Content::Notice(notice)) if notice.kind() == Kind::Following => {
                !std::mem::replace(&mut self.following, true)
            }
            Some(Content::Notice(_)) => true,
            _ => {
                let printed = self.printed.entry(message.gateway_id.clone()).or_default();
                let news = message.position > *printed;
                *printed = message.position.max(*printed);
                news
            }
        }
    }

    fn shown(&mut self, message: &TraceAgentResponse) -> String {
        match self.format {
            Format::Json => format!("{}\n", json::entry(message)),
            _ => self.text.entry(message),
        }
    }
}

#[cfg(test)]
mod tests;
