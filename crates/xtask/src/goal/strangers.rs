//! S6: tries to come in, or to speak, as another agent. Every one of them must be refused, and none
//! may leave a word in anybody's record.

use std::collections::BTreeMap;
use std::path::Path;

use agent::link::{Endpoint, Poller};
use anyhow::{Context as _, bail, ensure};
use opamp::v1::any_value::Value;
use opamp::v1::{
    AgentDescription, AgentToServer, AnyValue, KeyValue, ServerErrorResponseType, ServerToAgent,
};
use opamp::{InstanceUid, Message as _};
use serde_json::json;
use services::{Cluster, Size};
use trust::{Credential, Signer};

use super::revoked::{PATIENCE, admit, guarded};
use super::wiped::wait;
use super::{Figure, herd, runtime};

/// What is tried, in turn.
const WAYS: [&str; 7] = [
    "another uid over an own credential, WebSocket",
    "another uid over an own credential, poll",
    "a credential with a changed character",
    "a credential signed with another key",
    "a credential that was replaced",
    "the enrollment token for an agent that has its own",
    "the enrollment token for an agent that was deleted",
];

/// A label that only impostors have.
const MARK: &str = "impostor";

pub(super) fn measure(_: &Path, smoke: bool) -> anyhow::Result<Figure> {
    let (tries, victims) = if smoke { (700, 10) } else { (10_000, 100) };
    runtime()?.block_on(strangers(tries, victims))
}

/// An agent in whose name somebody would speak.
struct Victim {
    uid: InstanceUid,
    old: String,
    own: String,
}

struct Stage {
    cluster: Cluster,
    server: String,
    endpoints: Vec<Endpoint>,
    victims: Vec<Victim>,
    /// The impostor's own.
    own: String,
    token: String,
    /// Agents that were deleted.
    deleted: Vec<InstanceUid>,
}

async fn strangers(tries: usize, victims: usize) -> anyhow::Result<Figure> {
    let stage = Stage::set(victims).await?;
    let mut refused = BTreeMap::<&str, usize>::new();
    let mut heard = 0;
    for number in 0..tries {
        let way = number % WAYS.len();
        match stage.attempt(way, number).await? {
            true => heard += 1,
            false => *refused.entry(WAYS[way]).or_default() += 1,
        }
    }
    let marked = herd::operator(&stage.server, &["agents", "list", "-l", MARK, "-o", "name"])?;
    let marked = marked.lines().count();
    let mut disturbed = 0;
    for victim in &stage.victims {
        let message = bare(victim.uid, 100);
        disturbed += usize::from(!stage.polled(&victim.own, &message, 0).await?);
    }
    let text = format!(
        "{tries} tries in {} ways at {victims} agents on {} gateways: {heard} heard, {marked} \
         records with their words, {disturbed} agents refused themselves afterwards",
        WAYS.len(),
        stage.cluster.gateways.len()
    );
    let values = json!({ "tries": tries, "heard": heard, "marked": marked, "refused": refused });
    Ok(Figure { pass: heard == 0 && marked == 0 && disturbed == 0, text, values })
}

impl Stage {
    async fn set(victims: usize) -> anyhow::Result<Self> {
        let (cluster, token) = guarded(Size::default())?;
        let server = cluster.controls[0].control.clone().context("no control")?;
        let endpoints: Result<Vec<Endpoint>, _> =
            cluster.gateways.iter().map(super::peer::endpoint).collect();
        let mut stage = Self {
            cluster,
            server,
            endpoints: endpoints?,
            victims: Vec::new(),
            own: String::new(),
            token,
            deleted: Vec::new(),
        };
        for number in 0..victims {
            let victim = stage.victim(number, true).await?;
            stage.victims.push(victim);
        }
        for number in 0..10 {
            let gone = stage.victim(victims + number, false).await?;
            stage.deleted.push(gone.uid);
        }
        for uid in &stage.deleted {
            let delete = ["agents", "delete", &uid.to_string()];
            wait("one is deleted", || Ok(herd::operator(&stage.server, &delete).is_ok()))?;
        }
        stage.own = stage.issue(uid(9_999))?;
        Ok(stage)
    }

    /// An agent that has shown its second credential.
    async fn victim(&self, number: usize, polls: bool) -> anyhow::Result<Victim> {
        let uid = uid(number);
        let (old, own) = (self.issue(uid)?, self.issue(uid)?);
        let heard = match polls {
            true => self.polled(&own, &bare(uid, 1), number).await?,
            false => self.spoken(&own, &bare(uid, 1), number).await?,
        };
        ensure!(heard, "a victim is refused");
        wait("the first credential is replaced", || {
            let words = ["credentials", "get", &uid.to_string(), "-o", "json"];
            let told: serde_json::Value =
                serde_json::from_str(&herd::operator(&self.server, &words)?)?;
            Ok(told["oldest_good_serial"] == 2)
        })?;
        Ok(Victim { uid, old, own })
    }

    fn issue(&self, uid: InstanceUid) -> anyhow::Result<String> {
        let said = herd::operator(&self.server, &["credentials", "issue", &uid.to_string()])?;
        Ok(said.trim().to_owned())
    }

    /// One try; says whether it was heard.
    async fn attempt(&self, way: usize, number: usize) -> anyhow::Result<bool> {
        let victim = &self.victims[number % self.victims.len()];
        let message = marked(victim.uid, number);
        match way {
            0 => self.spoken(&self.own, &message, number).await,
            1 => self.polled(&self.own, &message, number).await,
            2 => {
                let mut forged = victim.own.clone().into_bytes();
                // The prefix says only what kind it is.
                let at = 4 + number % (forged.len() - 4);
                forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
                self.polled(&String::from_utf8(forged)?, &message, number).await
            }
            3 => {
                let seed = [u8::try_from(number % 251)?; 32];
                let forged =
                    Credential { uid: *victim.uid.as_bytes(), serial: 2, expires_unix: u64::MAX };
                let token = Signer::from_seed(&seed).sign(&forged);
                let token = String::from_utf8(token.reveal().to_vec())?;
                self.polled(&token, &message, number).await
            }
            4 => self.polled(&victim.old, &message, number).await,
            5 if number.is_multiple_of(2) => self.spoken(&self.token, &message, number).await,
            5 => self.polled(&self.token, &message, number).await,
            _ => {
                let uid = self.deleted[number % self.deleted.len()];
                self.polled(&self.token, &marked(uid, number), number).await
            }
        }
    }

    /// Whether a poll is heard.
    async fn polled(
        &self,
        token: &str,
        message: &AgentToServer,
        number: usize,
    ) -> anyhow::Result<bool> {
        let endpoint = &self.endpoints[number % self.endpoints.len()];
        let headers = [
            ("authorization", &*format!("Bearer {token}")),
            ("content-type", "application/x-protobuf"),
        ];
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut poller = Poller::new(Endpoint { polls: true, ..endpoint.clone() });
            let answer = poller.post(&headers, message.encode_to_vec().into()).await?;
            match answer.status.as_u16() {
                200 => return judge(&ServerToAgent::decode(answer.body)?),
                401 => return Ok(false),
                // Busy is no verdict.
                503 | 429 => ensure!(tokio::time::Instant::now() < deadline, "busy for ever"),
                other => bail!("{other}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Whether a message over a WebSocket is heard.
    async fn spoken(
        &self,
        token: &str,
        message: &AgentToServer,
        number: usize,
    ) -> anyhow::Result<bool> {
        let endpoint = &self.endpoints[number % self.endpoints.len()];
        let mut socket = admit(endpoint, token).await?.context("the impostor's own is good")?;
        socket.send(message).await?;
        let heard = judge(&socket.receive(PATIENCE).await?)?;
        socket.close().await?;
        Ok(heard)
    }
}

/// Whether an answer is one to a message that was heard.
fn judge(answer: &ServerToAgent) -> anyhow::Result<bool> {
    match answer.error_response.as_ref().map(|error| error.r#type()) {
        None => Ok(true),
        Some(ServerErrorResponseType::BadRequest) => Ok(false),
        Some(other) => bail!("neither heard nor refused: {other:?}"),
    }
}

fn uid(number: usize) -> InstanceUid {
    let mut bytes = [0x51; 16];
    bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
    InstanceUid::from_bytes(bytes)
}

fn bare(uid: InstanceUid, sequence_num: u64) -> AgentToServer {
    AgentToServer {
        instance_uid: uid.as_bytes().to_vec(),
        sequence_num,
        capabilities: 1,
        agent_description: Some(AgentDescription::default()),
        ..Default::default()
    }
}

/// What an impostor says.
fn marked(uid: InstanceUid, number: usize) -> AgentToServer {
    let value = Some(AnyValue { value: Some(Value::StringValue("yes".to_owned())) });
    let description = AgentDescription {
        non_identifying_attributes: vec![KeyValue { key: MARK.to_owned(), value }],
        ..Default::default()
    };
    AgentToServer { agent_description: Some(description), ..bare(uid, 2 + number as u64) }
}
