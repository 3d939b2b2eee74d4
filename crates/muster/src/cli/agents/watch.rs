//! `muster agents watch`: one line per change, over lost connections and restarted servers.

use control::v1::watch_agents_response::Change;
use control::v1::{Agent, WatchAgentsRequest, WatchAgentsResponse};
use tonic::{Status, Streaming};

use super::super::following::{self, Followed};
use super::super::output::Format;
use super::super::{Client, json};

struct Agents<'a> {
    client: &'a Client,
    selector: &'a str,
}

/// Watches until interrupted, or until nobody reads what is printed.
pub(super) async fn run(client: &Client, selector: &str, from: String) -> anyhow::Result<()> {
    client.output.unless_names()?;
    let heading = (client.output != Format::Json).then(|| line(HEADINGS.map(str::to_owned)));
    following::follow(&Agents { client, selector }, heading, from).await
}

impl Followed for Agents<'_> {
    type Message = WatchAgentsResponse;

    async fn open(
        &self,
        position: &str,
    ) -> anyhow::Result<Result<Streaming<WatchAgentsResponse>, Status>> {
        let (selector, position) = (self.selector.to_owned(), position.to_owned());
        let request = WatchAgentsRequest { selector, position };
        let opened = self.client.call(|channel| async move {
            let answer = super::client(channel).watch_agents(request).await;
            Ok(answer.map(tonic::Response::into_inner))
        });
        opened.await
    }

    fn text(&self, message: &WatchAgentsResponse) -> Option<String> {
        match self.client.output {
            Format::Json => printed_json(message),
            Format::Table | Format::Name => row(message),
        }
    }

    fn position(message: WatchAgentsResponse) -> String {
        message.position
    }
}

fn printed_json(message: &WatchAgentsResponse) -> Option<String> {
    (message.change() != Change::Bookmark).then(|| format!("{}\n", json::watched(message)))
}

const HEADINGS: [&str; 7] =
    ["CHANGE", "INSTANCE UID", "NAME", "STATUS", "HEALTH", "CONFIG", "WHAT HAPPENED"];

fn row(message: &WatchAgentsResponse) -> Option<String> {
    let agent = message.agent.as_ref()?;
    let events: Vec<&str> = message.events().map(|event| event.as_str_name()).collect();
    let [name, status, health, config] = match message.change() {
        // It may be one that never matched.
        Change::Removed => [const { String::new() }; 4],
        _ => shown(agent),
    };
    let change = message.change().as_str_name().to_owned();
    let uid = agent.instance_uid.clone();
    Some(line([change, uid, name, status, health, config, events.join(",")]))
}

fn shown(agent: &Agent) -> [String; 4] {
    [
        json::attribute(&agent.identifying_attributes, "service.name").unwrap_or_default(),
        json::connection_status(agent.status).to_owned(),
        super::health(agent),
        super::config(agent),
    ]
}

/// Widths are fixed: what comes later is not known yet.
fn line(cells: [String; 7]) -> String {
    let [change, uid, name, status, health, config, events] = cells.map(|cell| match &cell[..] {
        "" => "-".to_owned(),
        cell => super::printable(cell),
    });
    format!(
        "{change:8}   {uid:36}   {name:16}   {status:12}   {health:9}   {config:24}   {events}\n"
    )
}

#[cfg(test)]
mod tests {
    use control::v1::watch_agents_response::Event;

    use super::*;

    fn message(change: Change) -> WatchAgentsResponse {
        let uid = "018bcfe5-6800-7007-8707-070707070707".to_owned();
        WatchAgentsResponse {
            change: change.into(),
            agent: Some(Agent { instance_uid: uid, ..Default::default() }),
            events: vec![Event::HealthChanged.into(), Event::OfferChanged.into()],
            position: "1.2.3".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_row_says_who_changed_and_how() {
        let text = row(&message(Change::Added)).unwrap();
        assert!(text.starts_with("ADDED      018bcfe5"), "{text}");
        assert!(text.ends_with("HEALTH_CHANGED,OFFER_CHANGED\n"), "{text}");
        assert_eq!(line(HEADINGS.map(str::to_owned)).find("WHAT"), text.find("HEALTH_CHANGED"));
        assert_eq!(row(&WatchAgentsResponse::default()), None);
    }

    #[test]
    fn json_is_one_line_per_change_and_none_for_bookmarks() {
        let text = printed_json(&message(Change::Modified)).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["change"], "MODIFIED");
        assert_eq!(value["events"][1], "OFFER_CHANGED");
        assert_eq!(value["position"], "1.2.3");
        assert_eq!(value["agent"]["instance_uid"], "018bcfe5-6800-7007-8707-070707070707");
        assert_eq!(printed_json(&message(Change::Bookmark)), None);
    }
}
