//! Connection settings: what is offered to whom, and when again.

use control::v1::apply_connection_settings_request::Settings;
use opamp::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

pub(super) const SECRET: &str = "conformance-canary-7b1f";

pub(super) fn headers(key: &str, value: &str) -> Option<Headers> {
    Some(Headers { headers: vec![Header { key: key.to_owned(), value: value.to_owned() }] })
}

pub(super) fn telemetry(endpoint: &str) -> TelemetryConnectionSettings {
    TelemetryConnectionSettings {
        destination_endpoint: endpoint.to_owned(),
        headers: headers("authorization", SECRET),
        ..Default::default()
    }
}

pub(super) fn opamp(heartbeat_interval_seconds: u64) -> OpAmpConnectionSettings {
    OpAmpConnectionSettings {
        destination_endpoint: "wss://muster.example.org/v1/opamp".to_owned(),
        heartbeat_interval_seconds,
        ..Default::default()
    }
}

fn other(endpoint: &str) -> OtherConnectionSettings {
    OtherConnectionSettings {
        destination_endpoint: endpoint.to_owned(),
        other_settings: [("password".to_owned(), SECRET.to_owned())].into(),
        ..Default::default()
    }
}

/// A certificate that signed itself, with its key.
fn certificate() -> TlsCertificate {
    let authority = services::Authority::new().unwrap();
    let pair = authority.client("collectors").unwrap();
    let [cert, private_key, ca_cert] =
        [pair.certificate, pair.key, authority.file()].map(|path| std::fs::read(path).unwrap());
    TlsCertificate { cert, private_key, ca_cert }
}

/// A full report of an agent that takes these.
pub(super) fn taking(fleet: &Fleet, case: &str, bits: u64) -> AgentToServer {
    AgentToServer { capabilities: CAPABILITIES | bits, ..full(fleet.uid(), 0, case) }
}

/// The next message of the same agent.
pub(super) fn next(message: &AgentToServer) -> AgentToServer {
    AgentToServer {
        instance_uid: message.instance_uid.clone(),
        sequence_num: message.sequence_num + 1,
        capabilities: message.capabilities,
        ..Default::default()
    }
}

/// A word about settings.
pub(super) fn said(
    before: &AgentToServer,
    hash: &[u8],
    status: ConnectionSettingsStatuses,
) -> AgentToServer {
    let connection_settings_status = Some(ConnectionSettingsStatus {
        last_connection_settings_hash: hash.to_vec(),
        status: status.into(),
        error_message: "because".to_owned(),
    });
    AgentToServer { connection_settings_status, ..next(before) }
}

pub(crate) async fn conn_01_each_class_needs_its_bit(fleet: &Fleet) {
    let case = "conn-01";
    fleet.give_settings(case, "opamp", Settings::Opamp(opamp(30))).await;
    for signal in ["metrics", "traces", "logs"] {
        let settings = telemetry(&format!("https://otel/v1/{signal}"));
        fleet.give_settings(case, &format!("own-{signal}"), Settings::Telemetry(settings)).await;
    }
    fleet.give_settings(case, "other/db", Settings::Other(other("db:1"))).await;
    for bits in [0, OPAMP, METRICS, TRACES, LOGS, OTHER, SETTINGS] {
        let reply = fleet.poll(&taking(fleet, case, bits)).await;
        let offers = reply.connection_settings.unwrap_or_default();
        let found = [
            (OPAMP, offers.opamp.is_some()),
            (METRICS, offers.own_metrics.is_some()),
            (TRACES, offers.own_traces.is_some()),
            (LOGS, offers.own_logs.is_some()),
            (OTHER, offers.other_connections.contains_key("db")),
        ];
        for (bit, found) in found {
            assert_eq!(found, bits & bit != 0, "{bit:#x} of {bits:#x}");
        }
        assert_eq!(offers.hash.is_empty(), bits == 0);
    }
}

pub(crate) async fn conn_02_the_hash_is_over_everything_in_force(fleet: &Fleet) {
    let case = "conn-02";
    let agent = taking(fleet, case, METRICS | TRACES | STATUS);
    let metrics = Settings::Telemetry(telemetry("https://otel/v1/metrics"));
    fleet.give_settings(case, "own-metrics", metrics).await;
    let hash = |reply: ServerToAgent| reply.connection_settings.unwrap().hash;
    let first = hash(fleet.poll(&agent).await);
    assert_eq!(hash(fleet.poll(&taking(fleet, case, METRICS | TRACES)).await), first);
    assert_eq!(hash(fleet.poll(&taking(fleet, case, METRICS)).await), first, "all it has");
    let traces = Settings::Telemetry(telemetry("https://otel/v1/traces"));
    fleet.give_settings(case, "own-traces", traces).await;
    let both = hash(fleet.poll(&taking(fleet, case, METRICS | TRACES)).await);
    assert_ne!(both, first);
    // Whose metrics were decided before, of whom nobody decides any more.
    fleet.take_settings_away(case, "own-metrics").await;
    let applied = said(&agent, &first, ConnectionSettingsStatuses::Applied);
    let reply = fleet.poll(&applied).await.connection_settings.unwrap();
    assert_eq!(reply.hash, both, "what is not decided any more is in force");
    assert!(reply.own_traces.is_some());
}

pub(crate) async fn conn_04_another_hash_gets_the_right_settings(fleet: &Fleet) {
    let (case, applied) = ("conn-04", ConnectionSettingsStatuses::Applied);
    let settings = Settings::Telemetry(telemetry("https://otel/v1/logs"));
    fleet.give_settings(case, "own-logs", settings).await;
    let mut socket = fleet.connect().await;
    let mut message = taking(fleet, case, LOGS | STATUS);
    socket.send(&message).await.unwrap();
    let reply = socket.receive(PATIENCE).await.unwrap();
    let hash = reply.connection_settings.unwrap().hash;
    for (reported, wanted) in [(&hash, None), (&vec![9; 32], Some(&hash)), (&hash, None)] {
        message = said(&message, reported, applied);
        socket.send(&message).await.unwrap();
        let reply = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(reply.connection_settings.as_ref().map(|offers| &offers.hash), wanted);
    }
}

pub(crate) async fn conn_05_what_no_agent_could_use_is_refused(fleet: &Fleet) {
    let refused = async |class: &str, settings: Settings, field: &str| {
        let status = fleet.try_settings("conn-05", class, settings).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
        assert!(!status.message().contains(SECRET), "{status}");
    };
    for endpoint in ["", "h:4320", "ftp://h/"] {
        let destination_endpoint = endpoint.to_owned();
        let settings = OpAmpConnectionSettings { destination_endpoint, ..opamp(9) };
        refused("opamp", Settings::Opamp(settings), "destination_endpoint").await;
    }
    let proxy = Some(ProxyConnectionSettings {
        connect_headers: headers("a", SECRET),
        ..Default::default()
    });
    refused("opamp", Settings::Opamp(OpAmpConnectionSettings { proxy, ..opamp(9) }), "proxy.url")
        .await;
    for endpoint in ["h:4318", "https://h:4318", "http://h:4318/v1/metrics"] {
        let settings = Settings::Telemetry(telemetry(endpoint));
        refused("own-metrics", settings, "destination_endpoint").await;
    }
    let whole = certificate();
    for (wrong, field) in [
        (TlsCertificate { cert: Vec::new(), ..whole.clone() }, "certificate.cert"),
        (TlsCertificate { private_key: Vec::new(), ..whole.clone() }, "certificate.private_key"),
        (TlsCertificate { ca_cert: Vec::new(), ..whole.clone() }, "certificate.ca_cert"),
        (TlsCertificate { private_key: SECRET.into(), ..whole }, "certificate.private_key"),
    ] {
        let settings = OpAmpConnectionSettings { certificate: Some(wrong), ..opamp(9) };
        refused("opamp", Settings::Opamp(settings), field).await;
    }
}

pub(crate) async fn conn_06_each_offer_of_a_class_is_complete(fleet: &Fleet) {
    let case = "conn-06";
    let whole = |heartbeat| OpAmpConnectionSettings {
        headers: headers("authorization", SECRET),
        tls: Some(TlsConnectionSettings {
            ca_pem_contents: String::new(),
            include_system_ca_certs_pool: true,
            min_version: "TLSv1.2".to_owned(),
            max_version: "1.3".to_owned(),
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
            ..Default::default()
        }),
        proxy: Some(ProxyConnectionSettings {
            url: "http://proxy:3128".to_owned(),
            connect_headers: headers("proxy-authorization", SECRET),
        }),
        ..opamp(heartbeat)
    };
    let certificate = Some(certificate());
    let mut message = taking(fleet, case, OPAMP | STATUS);
    for heartbeat in [30, 31] {
        let settings =
            OpAmpConnectionSettings { certificate: certificate.clone(), ..whole(heartbeat) };
        fleet.give_settings(case, "opamp", Settings::Opamp(settings.clone())).await;
        let offers = fleet.poll(&message).await.connection_settings.unwrap();
        assert_eq!(offers.opamp, Some(settings), "every byte, though the interval alone changed");
        message = said(&message, &offers.hash, ConnectionSettingsStatuses::Applied);
        assert_eq!(fleet.poll(&message).await.connection_settings, None);
        message = next(&message);
    }
}

pub(crate) async fn conn_08_other_connections_are_partial(fleet: &Fleet) {
    let case = "conn-08";
    let settings = OtherConnectionSettings { destination_endpoint: String::new(), ..other("") };
    fleet.give_settings(case, "other/db", Settings::Other(settings.clone())).await;
    let offers = fleet.poll(&taking(fleet, case, OTHER)).await.connection_settings.unwrap();
    assert_eq!(offers.other_connections, [("db".to_owned(), settings)].into());
}

pub(crate) async fn conn_14_a_failure_is_shown_and_not_offered_again(fleet: &Fleet) {
    let (case, class) = ("conn-14", "opamp");
    let settings = OpAmpConnectionSettings { certificate: Some(certificate()), ..opamp(30) };
    fleet.give_settings(case, class, Settings::Opamp(settings)).await;
    let mut message = taking(fleet, case, OPAMP | STATUS);
    let uid = opamp::InstanceUid::try_from(&message.instance_uid[..]).unwrap();
    let hash = fleet.poll(&message).await.connection_settings.unwrap().hash;
    use ConnectionSettingsStatuses::*;
    for status in [Applying, Failed] {
        message = said(&message, &hash, status);
        assert_eq!(fleet.poll(&message).await.connection_settings, None);
        let shown = |agent: &control::v1::Agent| {
            let report = agent.report.as_ref();
            let told = report.and_then(|it| it.connection_settings_status.as_ref());
            told.is_some_and(|told| told.status() == status && told.error_message == "because")
        };
        fleet.until(uid, shown).await;
    }
    // An agent without a disk may refuse certificates: it has said so.
    for _ in 0..4 {
        message = next(&message);
        assert_eq!(fleet.poll(&message).await.connection_settings, None);
    }
    fleet.give_settings(case, class, Settings::Opamp(opamp(31))).await;
    assert!(fleet.poll(&next(&message)).await.connection_settings.is_some(), "another one");
}

pub(crate) async fn conn_19_settings_are_declared(fleet: &Fleet) {
    let reply = fleet.poll(&full(fleet.uid(), 0, "none")).await;
    assert_ne!(reply.capabilities & ServerCapabilities::OffersConnectionSettings as u64, 0);
}

pub(crate) async fn conn_20_secrets_are_told_to_agents_alone(fleet: &Fleet) {
    let case = "conn-20";
    let settings = Settings::Telemetry(telemetry("https://otel/v1/metrics"));
    fleet.give_settings(case, "own-metrics", settings).await;
    let message = taking(fleet, case, METRICS);
    let uid = opamp::InstanceUid::try_from(&message.instance_uid[..]).unwrap();
    let offers = fleet.poll(&message).await.connection_settings.unwrap();
    assert_eq!(offers.own_metrics.unwrap().headers, headers("authorization", SECRET));
    let settings = format!("{:?}", fleet.settings("conn-20-own-metrics").await);
    let agent = format!("{:?}", fleet.agent(uid).await);
    for told in [settings, agent, fleet.log()] {
        assert!(!told.contains(SECRET), "{told}");
    }
}

/// Beside a name that is no secret, which must be found, or nobody looked.
pub(crate) async fn conn_20_secrets_are_sealed_in_redis_and_on_the_bus(fleet: &Fleet) {
    let (case, known) = ("conn-20-sealed", "x-conn-20-sealed");
    let mut tap = TcpStream::connect(fleet.bus()).await.unwrap();
    tap.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\n").await.unwrap();
    let message = taking(fleet, case, METRICS);
    let mut socket = fleet.connect().await;
    socket.send(&message).await.unwrap();
    socket.receive(PATIENCE).await.unwrap();
    let settings = TelemetryConnectionSettings {
        headers: headers(known, SECRET),
        ..telemetry("https://otel/v1/metrics")
    };
    fleet.give_settings(case, "own-metrics", Settings::Telemetry(settings.clone())).await;
    let pushed = socket.receive(PATIENCE).await.unwrap().connection_settings.unwrap();
    assert_eq!(pushed.own_metrics, Some(settings.clone()));
    let polled = fleet.poll(&taking(fleet, case, METRICS)).await.connection_settings.unwrap();
    assert_eq!(polled.own_metrics, Some(settings));
    // What was said before is heard before the answer.
    tap.write_all(b"PING\r\n").await.unwrap();
    let mut heard = Vec::new();
    let hearing = async {
        while !heard.ends_with(b"PONG\r\n") {
            assert_ne!(tap.read_buf(&mut heard).await.unwrap(), 0, "NATS is gone");
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("the bus is heard");
    let holds =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let file = fleet.ledger_file();
    assert!(holds(&heard, case) && holds(&file, known));
    assert!(!holds(&heard, SECRET) && !holds(&file, SECRET));
}

pub(crate) async fn conn_21_who_forgets_is_not_sent_away_again(fleet: &Fleet) {
    let case = "conn-21";
    fleet.give_settings(case, "opamp", Settings::Opamp(opamp(30))).await;
    let logs = Settings::Telemetry(telemetry("https://otel/v1/logs"));
    fleet.give_settings(case, "own-logs", logs).await;
    let first = taking(fleet, case, OPAMP | LOGS | STATUS);
    for turn in 0..4 {
        // It makes a client anew: from zero, in full, without a word on settings.
        let mut socket = fleet.connect().await;
        socket.send(&first).await.unwrap();
        let offers = socket.receive(PATIENCE).await.unwrap().connection_settings.unwrap();
        assert_eq!(offers.opamp.is_some(), turn == 0, "turn {turn}");
        assert!(offers.own_logs.is_some(), "it may have forgotten those");
        socket.close().await.unwrap();
    }
}
