//! `muster custom watch`: one line per custom message that an agent sends.

use control::v1::custom_messages_client::CustomMessagesClient;
use control::v1::{ReceivedCustomMessage, WatchCustomMessagesRequest, WatchCustomMessagesResponse};
use tonic::{Status, Streaming};

use super::super::following::{self, Followed};
use super::super::output::{self, Format, printable};
use super::super::{Client, json, names};
use crate::limits;

/// Flags of `muster custom watch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose messages, as `service.name=otelcol,env in (prod,staging),!canary`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// Only messages of this capability
    #[arg(long, value_name = "NAME", default_value = "")]
    capability: String,
    /// Only messages of this type of the capability
    #[arg(long = "type", value_name = "TYPE", default_value = "", requires = "capability")]
    kind: String,
    /// Only what came after a position that an earlier watch with these flags printed
    #[arg(long, value_name = "POSITION", default_value = "")]
    from: String,
    #[command(flatten)]
    client: Client,
}

struct Messages(Args);

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let output = args.client.output.unless_names()?;
    let heading = (output != Format::Json).then(|| line(HEADINGS.map(str::to_owned)));
    let from = args.from.clone();
    following::follow(&Messages(args), heading, from).await
}

impl Followed for Messages {
    type Message = WatchCustomMessagesResponse;

    async fn open(
        &self,
        position: &str,
    ) -> anyhow::Result<Result<Streaming<WatchCustomMessagesResponse>, Status>> {
        let request = WatchCustomMessagesRequest {
            selector: self.0.selector.clone(),
            capability: self.0.capability.clone(),
            r#type: self.0.kind.clone(),
            position: position.to_owned(),
        };
        let opened = self.0.client.call(|channel| async move {
            let mut client = CustomMessagesClient::new(channel)
                .max_decoding_message_size(limits::ANSWER_BYTES_MAX);
            let answer = client.watch_custom_messages(request).await;
            Ok(answer.map(tonic::Response::into_inner))
        });
        opened.await
    }

    fn text(&self, message: &WatchCustomMessagesResponse) -> Option<String> {
        let said = message.message.as_ref()?;
        Some(match self.0.client.output {
            Format::Json => format!("{}\n", json::received(said, &message.position)),
            Format::Table | Format::Name => row(said),
        })
    }

    fn position(message: WatchCustomMessagesResponse) -> String {
        message.position
    }
}

const HEADINGS: [&str; 5] = ["TIME", "INSTANCE UID", "CAPABILITY", "TYPE", "DATA"];

fn row(said: &ReceivedCustomMessage) -> String {
    let time = said.receive_time.map_or_else(String::new, |time| time.to_string());
    let data = output::data(&said.data, said.size_bytes);
    let uid = names::short(&said.agent);
    line([time, uid, said.capability.clone(), said.r#type.clone(), data])
}

/// Widths are fixed: what comes later is not known yet.
fn line(cells: [String; 5]) -> String {
    let [time, uid, capability, kind, data] = cells.map(|cell| match &cell[..] {
        "" => "-".to_owned(),
        cell => printable(cell),
    });
    format!("{time:24}   {uid:36}   {capability:24}   {kind:16}   {data}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(data: &[u8], size_bytes: i64) -> ReceivedCustomMessage {
        ReceivedCustomMessage {
            agent: "agents/018bcfe5-6800-7007-8707-070707070707".to_owned(),
            capability: "org.example.echo".to_owned(),
            r#type: "pong".to_owned(),
            data: data.to_vec(),
            size_bytes,
            ..Default::default()
        }
    }

    #[test]
    fn a_row_shows_text_and_only_the_size_of_anything_else() {
        for (data, size, shown) in [
            (&b"hi\x1b[31m"[..], 7, "hi [31m\n"),
            (&[0xff, 1], 2, "(2 bytes)\n"),
            (&[], 300_000, "(300000 bytes)\n"),
            (&[], 0, "-\n"),
        ] {
            let row = row(&said(data, size));
            assert!(row.ends_with(&format!("pong               {shown}")), "{row}");
            assert!(row.contains(" 018bcfe5-6800-7007-8707-070707070707 "), "{row}");
        }
    }

    #[test]
    fn json_has_text_or_base64_or_the_size_alone() {
        let value = |data, size| json::received(&said(data, size), "1.2.3");
        assert_eq!(value(b"hi", 2)["data"], "hi");
        assert_eq!(value(&[0xff, 1], 2)["data_base64"], "/wE=");
        let long = value(&[], 300_000);
        assert_eq!(
            (&long["data"], &long["size_bytes"]),
            (&serde_json::Value::Null, &300_000.into())
        );
        assert_eq!(long["position"], "1.2.3");
        assert_eq!(long["instance_uid"], "018bcfe5-6800-7007-8707-070707070707");
    }
}
