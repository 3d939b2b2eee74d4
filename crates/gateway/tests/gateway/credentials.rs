//! Credentials of agents: who comes in by the roll, who may speak on what came in, and who must go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::v1::roll::{Enrollment, Revoked};
use bus::v1::{Roll, RollChanged, RollReply, RollRequest};
use bus::{CONTROLS, Subject};
use gateway::{Credentials, Stale};
use opamp::Message as _;
use opamp::v1::{AgentIdentification, AgentToServer, ServerToAgent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use trust::{Credential, Signer, enrollment_token, token_digest};

use crate::agent::{Agent, HANDSHAKE, heartbeat, report};
use crate::field::{Field, PATIENCE, accepted, until};

const BAD_REQUEST: i32 = 1;

/// A gateway that asks for credentials, and a stand-in for control that tells the roll.
struct House {
    field: Field,
    roll: Arc<Mutex<Option<Roll>>>,
    token: String,
    _telling: JoinSet<()>,
}

fn signer() -> Signer {
    Signer::from_seed(&[1; 32])
}

/// A credential of an agent, as its text.
fn own(uid: u8, serial: u64) -> String {
    let credential = Credential { uid: [uid; 16], serial, expires_unix: u64::MAX };
    String::from_utf8(signer().sign(&credential).reveal().to_vec()).unwrap()
}

impl House {
    async fn new() -> Self {
        Self::that(Stale::Close, Duration::from_secs(50)).await
    }

    async fn that(stale: Stale, roll_stale: Duration) -> Self {
        let field = Field::configured(
            |bus| bus,
            |config| {
                config.credentials = Some(Credentials { stale });
                config.limits.roll_stale = roll_stale;
                config.limits.roll_interval = Duration::from_millis(50);
                config.limits.roll_retry = Duration::from_millis(10);
                config.limits.roll_timeout = Duration::from_millis(100);
                config.limits.close_grace = PATIENCE * 2;
            },
        )
        .await;
        let (token, digest) = enrollment_token(|bytes| bytes.fill(7));
        let token = String::from_utf8(token.reveal().to_vec()).unwrap();
        let entry =
            Enrollment { digest: digest.to_vec().into(), name: "ci".into(), ..Default::default() };
        let keys = vec![signer().public_key().to_vec().into()];
        let roll = Roll { keys, enrollment: vec![entry], revoked: Vec::new() };
        let roll = Arc::new(Mutex::new(Some(roll)));
        let mut inbox = field.control.join(&Subject::Roll, CONTROLS, 64).await.unwrap();
        let (mut telling, told) = (JoinSet::new(), roll.clone());
        telling.spawn(async move {
            while let Some(received) = inbox.next().await {
                let (request, responder): (RollRequest, _) = received.split();
                let roll = told.lock().unwrap().clone();
                if let Some(roll) = roll {
                    let digest = token_digest(&roll.encode_to_vec());
                    let roll = (request.known[..] != digest).then_some(roll);
                    responder.send(&RollReply { digest: digest.to_vec().into(), roll }).await;
                }
            }
        });
        let house = Self { field, roll, token, _telling: telling };
        let deadline = Instant::now() + PATIENCE;
        while house.connect(&own(99, 1)).await.1.starts_with("HTTP/1.1 503") {
            assert!(Instant::now() < deadline, "the roll is not known");
        }
        house
    }

    async fn connect(&self, token: &str) -> (Agent, String) {
        let line = format!("\r\nAuthorization: Bearer {token}\r\n\r\n");
        let stream = TcpStream::connect(self.field.address).await.unwrap();
        Agent::try_over(stream, &HANDSHAKE.replace("\r\n\r\n", &line)).await
    }

    async fn welcome(&self, token: &str) -> Agent {
        let (agent, head) = self.connect(token).await;
        Agent::welcomed(&head);
        agent
    }

    /// Changes the roll and says so.
    async fn change(&self, change: impl FnOnce(&mut Roll)) {
        change(self.roll.lock().unwrap().as_mut().unwrap());
        self.field.control.publish(&Subject::RollChanged, &RollChanged {}).await.unwrap();
    }

    /// The answer to a poll, with its status line.
    async fn poll(&self, token: &str, message: &AgentToServer) -> (String, ServerToAgent) {
        let body = message.encode_to_vec();
        let head = format!(
            "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.field.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head, ServerToAgent::decode(&answer[end + 4..]).unwrap_or_default())
    }
}

fn error(reply: &ServerToAgent) -> Option<i32> {
    reply.error_response.as_ref().map(|error| error.r#type)
}

#[tokio::test]
async fn who_has_neither_token_nor_credential_is_turned_away_before_the_upgrade() {
    let house = House::new().await;
    let another = Signer::from_seed(&[2; 32]);
    let credential = Credential { uid: [1; 16], serial: 1, expires_unix: u64::MAX };
    let forged = String::from_utf8(another.sign(&credential).reveal().to_vec()).unwrap();
    for token in ["mse_AAAA", "", &forged, &own(1, 1)[..40]] {
        let (_, head) = house.connect(token).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(head.to_lowercase().contains("\r\nwww-authenticate: bearer"), "{head}");
        let (head, _) = house.poll(token, &heartbeat(1, 0)).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    }
    assert!(house.field.seen.reports().is_empty());
}

#[tokio::test]
async fn workers_are_told_how_an_agent_came_in() {
    let house = House::new().await;
    let mut enrolls = house.welcome(&house.token).await;
    assert_eq!(enrolls.say(&report(1, 0)).await.error_response, None);
    let mut enrolled = house.welcome(&own(2, 5)).await;
    assert_eq!(enrolled.say(&report(2, 0)).await.error_response, None);
    assert!(house.poll(&own(3, 6), &heartbeat(3, 0)).await.0.starts_with("HTTP/1.1 200 "));
    let reports = house.field.seen.reports();
    let told = |at: usize| (&reports[at].0.enrollment_token[..], reports[at].0.credential_serial);
    assert_eq!([told(0), told(1), told(2)], [("ci", 0), ("", 5), ("", 6)]);
}

#[tokio::test]
async fn nobody_speaks_for_another_agent() {
    let house = House::new().await;
    let mut own_one = house.welcome(&own(1, 1)).await;
    assert_eq!(own_one.say(&report(1, 0)).await.error_response, None);
    assert_eq!(error(&own_one.say(&report(2, 0)).await), Some(BAD_REQUEST));
    assert_eq!(error(&own_one.say(&heartbeat(2, 1)).await), Some(BAD_REQUEST));
    assert_eq!(own_one.say(&heartbeat(1, 1)).await.error_response, None, "itself goes on");
    let mut enrolls = house.welcome(&house.token).await;
    assert_eq!(enrolls.say(&report(3, 0)).await.error_response, None);
    assert_eq!(error(&enrolls.say(&report(1, 0)).await), Some(BAD_REQUEST));
    let (head, reply) = house.poll(&own(4, 1), &heartbeat(1, 5)).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && error(&reply) == Some(BAD_REQUEST), "{head}");
    let heard: Vec<u8> =
        house.field.seen.reports().iter().map(|(_, message)| message.instance_uid[0]).collect();
    assert_eq!(heard, [1, 3], "no worker hears of it");
}

#[tokio::test]
async fn an_agent_that_is_given_another_uid_may_go_by_it_here() {
    let house = House::new().await;
    house.field.seen.answer_with(|report, message| {
        let epoch = report.epoch.max(1);
        Some(accepted(epoch, message, |reply| {
            let new_instance_uid = vec![8; 16];
            reply.agent_identification = Some(AgentIdentification { new_instance_uid });
        }))
    });
    let mut agent = house.welcome(&own(1, 1)).await;
    assert_eq!(error(&agent.say(&report(8, 0)).await), Some(BAD_REQUEST), "not yet");
    assert_eq!(agent.say(&report(1, 0)).await.error_response, None);
    assert_eq!(agent.say(&report(8, 0)).await.error_response, None);
    let mut neighbour = house.welcome(&own(2, 1)).await;
    assert_eq!(error(&neighbour.say(&report(8, 0)).await), Some(BAD_REQUEST), "nobody else");
}

#[tokio::test]
async fn who_is_revoked_goes_within_two_seconds_and_does_not_come_back() {
    let house = House::new().await;
    let mut goes = house.welcome(&own(1, 1)).await;
    let mut stays = house.welcome(&own(2, 1)).await;
    goes.say(&report(1, 0)).await;
    stays.say(&report(2, 0)).await;
    let since = Instant::now();
    let revoked = Revoked { instance_uid: vec![1; 16].into(), below: 2, refused: false };
    house.change(|roll| roll.revoked.push(revoked)).await;
    assert_eq!(goes.closed().await, Some(1008));
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert!(house.connect(&own(1, 1)).await.1.starts_with("HTTP/1.1 401 "));
    assert_eq!(stays.say(&heartbeat(2, 1)).await.error_response, None);
    assert_eq!(house.welcome(&own(1, 2)).await.say(&report(1, 0)).await.error_response, None);
}

#[tokio::test]
async fn who_is_turned_away_goes_though_its_token_is_good() {
    let house = House::new().await;
    let mut goes = house.welcome(&house.token).await;
    let mut stays = house.welcome(&house.token).await;
    goes.say(&report(1, 0)).await;
    stays.say(&report(2, 0)).await;
    let refused = Revoked { instance_uid: vec![1; 16].into(), below: 0, refused: true };
    house.change(|roll| roll.revoked.push(refused)).await;
    assert_eq!(goes.closed().await, Some(1008));
    assert_eq!(stays.say(&heartbeat(2, 1)).await.error_response, None);
}

#[tokio::test]
async fn a_token_that_is_revoked_closes_what_it_let_in() {
    let house = House::new().await;
    let mut enrolls = house.welcome(&house.token).await;
    enrolls.say(&report(1, 0)).await;
    house.change(|roll| roll.enrollment.clear()).await;
    assert_eq!(enrolls.closed().await, Some(1008));
    assert!(house.connect(&house.token).await.1.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn a_gateway_that_hears_no_roll_lets_nobody_in_and_nobody_stay() {
    let house = House::that(Stale::Close, Duration::from_millis(300)).await;
    let mut agent = house.welcome(&own(1, 1)).await;
    agent.say(&report(1, 0)).await;
    *house.roll.lock().unwrap() = None;
    assert_eq!(agent.closed().await, Some(1001));
    let (_, head) = house.connect(&own(1, 1)).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.to_lowercase().contains("\r\nretry-after: "), "{head}");
    let line = "GET /v1/opamp HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut stream = TcpStream::connect(house.field.address).await.unwrap();
    stream.write_all(line.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 401", "who shows nothing is a stranger all the same");
}

#[tokio::test]
async fn a_gateway_may_be_told_to_go_on_without_the_roll() {
    let house = House::that(Stale::Keep, Duration::from_millis(50)).await;
    let mut agent = house.welcome(&own(1, 1)).await;
    agent.say(&report(1, 0)).await;
    *house.roll.lock().unwrap() = None;
    let before = Instant::now();
    until("the roll is old", || before.elapsed() > Duration::from_millis(200)).await;
    assert_eq!(agent.say(&heartbeat(1, 1)).await.error_response, None);
    assert_eq!(house.welcome(&own(2, 1)).await.say(&report(2, 0)).await.error_response, None);
}
