//! Messages as binaries sent them, version by version: a rolling upgrade mixes senders, and the
//! event log keeps what an older one appended.

use bytes::Bytes;
use model::command::{CommandId, Progress};
use model::components::ListHash;
use model::credential::{Admission, Standing};
use model::custom::Received;
use model::packages::{PackageHash, PackagesHash, PackagesOffer};
use model::record::{Delivered as Sent, Offered, Owner, PolledCommand, Signs};
use model::settings::{Class, SettingsHash, SettingsOffer, SettingsRef};
use model::{
    AgentRecord, AgentSummary, ConfigHash, Event, GatewayId, RevisionRef, SessionId, Timestamp,
};
use opamp::InstanceUid;
use opamp::v1::{
    AgentDescription, AnyValue, ComponentHealth, ConnectionSettingsStatus,
    ConnectionSettingsStatuses, KeyValue, PackageDownloadDetails, PackageStatus, PackageStatusEnum,
    PackageStatuses, any_value::Value,
};
use prost::Message;
use services::Golden;

use crate::event::{self, Told};
use crate::v1::*;

const UID: &[u8] = &[7; 16];
const SESSION: &[u8] = &[1; 16];

/// Holds a message to its files. What a version could not say, `message` leaves at its default.
fn hold<M: Message + Default + PartialEq + std::fmt::Debug>(
    files: &mut Golden,
    (name, newest): (&str, u32),
    message: impl Fn(u32) -> M,
) {
    let today = message(newest).encode_to_vec();
    for (version, bytes) in files.versions(name, newest, &today) {
        assert_eq!(M::decode(&bytes[..]).unwrap(), message(version), "{name}");
        // Fields 100 and 101, of a sender that is not written yet.
        let newer = [&bytes[..], &[0xa2, 0x06, 2, 1, 2, 0xa8, 0x06, 5]].concat();
        assert_eq!(M::decode(&newer[..]).unwrap(), message(version), "{name} with newer fields");
    }
}

fn bytes(from: &'static [u8]) -> Bytes {
    Bytes::from_static(from)
}

#[test]
fn golden_messages_are_understood_for_ever() {
    let mut files = Golden::of(env!("CARGO_MANIFEST_DIR"));
    envelopes(&mut files);
    reports(&mut files);
    asked_of_workers(&mut files);
    asked_of_gateways(&mut files);
    asked_of_control(&mut files);
    told_to_all(&mut files);
    events(&mut files);
    files.finish();
}

fn envelopes(files: &mut Golden) {
    let envelope = |body| Envelope {
        format: 1,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        tracestate: "a=b".to_owned(),
        deadline_unix_ms: 1_700_000_000_000,
        body: Some(body),
    };
    let parcel = Parcel { subject: "muster.parcels.a".to_owned(), id: 300, size: 700_000 };
    hold(files, ("envelope-inline", 1), |_| envelope(envelope::Body::Inline(bytes(b"message"))));
    hold(files, ("envelope-parcel", 1), |_| envelope(envelope::Body::Parcel(parcel.clone())));
    hold(files, ("fetch-parcel", 1), |_| FetchParcel { id: 300, offset: 262_144, length: 131_072 });
    hold(files, ("parcel-chunk", 1), |_| ParcelChunk { found: true, data: bytes(b"chunk") });
}

fn reports(files: &mut Golden) {
    // Version 2 knows tokens.
    hold(files, ("report", 5), |version| Report {
        gateway_id: "gateway-1".to_owned(),
        session_id: bytes(SESSION),
        epoch: 3,
        n: 4,
        answered_sequence_num: Some(0),
        message: bytes(b"\x0a\x10message"),
        transport: Transport::WebSocket.into(),
        remote_address: "192.0.2.7:40000".to_owned(),
        token_name: if version < 2 { String::new() } else { "collectors".to_owned() },
        epoch_floor: if version < 3 { 0 } else { 2 },
        // Version 4 knows how the agent came in.
        enrollment_token: if version < 4 { String::new() } else { "ci".to_owned() },
        credential_serial: if version < 4 { 0 } else { 5 },
        credential_uid: if version < 5 { Default::default() } else { bytes(&[8; 16]) },
    });
    let reply = |outcome| ReportReply { outcome: Some(outcome) };
    // Version 2 knows which decision made the offer, version 3 that each kind has its own, version
    // 4 that some are sealed.
    hold(files, ("report-reply-accepted", 4), |version| {
        let message = bytes(b"\x0a\x10reply");
        let offer_decision = if version < 2 { 0 } else { 11 };
        let (settings_decision, packages_decision) = if version < 3 { (0, 0) } else { (12, 13) };
        let accepted = report_reply::Accepted {
            epoch: 3,
            message,
            refused: true,
            offer_decision,
            settings_decision,
            packages_decision,
            sealed_offers: if version < 4 { Default::default() } else { bytes(b"sealed") },
        };
        reply(report_reply::Outcome::Accepted(accepted))
    });
    hold(files, ("report-reply-stale", 1), |_| {
        reply(report_reply::Outcome::Stale(report_reply::Stale {}))
    });
    hold(files, ("report-reply-unavailable", 1), |_| {
        let reason = "the store is away".to_owned();
        reply(report_reply::Outcome::Unavailable(report_reply::Unavailable { reason }))
    });
    hold(files, ("close", 1), |_| Close {
        gateway_id: "gateway-1".to_owned(),
        session_id: bytes(SESSION),
        instance_uid: bytes(UID),
        epoch: 3,
        answered_sequence_num: Some(9),
    });
}

fn asked_of_workers(files: &mut Golden) {
    hold(files, ("reassess", 2), |version| Reassess {
        instance_uids: vec![bytes(UID), bytes(&[8; 16])],
        decision: 11,
        labels: true,
        credentials: version > 1,
    });
    hold(files, ("resume", 1), |_| Resume {
        gateway_id: "gateway-1".to_owned(),
        sessions: vec![resume::Session {
            session_id: bytes(SESSION),
            instance_uid: bytes(UID),
            epoch: 3,
            answered_sequence_num: Some(0),
        }],
    });
    hold(files, ("resume-reply", 2), |version| {
        use resume_reply::Outcome::*;
        let outcomes = [Held, FullStateWanted, Stale].map(i32::from).to_vec();
        ResumeReply { outcomes, generation: if version < 2 { 0 } else { 1_700_000_000_004 } }
    });
    hold(files, ("reap", 1), |_| Reap {
        gateway_id: "gateway-1".to_owned(),
        targets: vec![reap::Target { instance_uid: bytes(UID), epoch: 3 }],
    });
    hold(files, ("reap-reply", 1), |_| ReapReply { alive: true, failed: 2 });
    hold(files, ("reassess-reply", 1), |_| ReassessReply { changed: 3, sent: 2, failed: 1 });
    hold(files, ("forget", 1), |_| Forget {
        targets: vec![forget::Target { instance_uid: bytes(UID), version: 12 }],
        unseen_since_unix_ms: 1_700_000_000_000,
    });
    hold(files, ("forget-reply", 1), |_| {
        use forget_reply::Outcome::*;
        ForgetReply { outcomes: [Forgotten, Changed, Failed].map(i32::from).to_vec() }
    });
}

fn asked_of_gateways(files: &mut Golden) {
    use gateway_reply::Reply;
    use gateway_request::Request;
    let request = |request| GatewayRequest { request: Some(request) };
    let reply = |reply| GatewayReply { reply: Some(reply) };
    // Version 2 knows which decision made the offer, version 3 that each kind has its own, version
    // 4 that some are sealed.
    hold(files, ("deliver", 4), |version| {
        let decision = if version < 2 { 0 } else { 11 };
        let (settings_decision, packages_decision) = if version < 3 { (0, 0) } else { (12, 13) };
        let target = deliver::Target {
            instance_uid: bytes(UID),
            epoch: 3,
            decision,
            settings_decision,
            packages_decision,
        };
        let sealed_offers = if version < 4 { Default::default() } else { bytes(b"sealed") };
        let (message, targets) = (bytes(b"offer"), vec![target]);
        request(Request::Deliver(Deliver { message, targets, sealed_offers }))
    });
    hold(files, ("probe", 1), |_| {
        request(Request::Probe(Probe { instance_uid: bytes(UID), epoch: 3 }))
    });
    hold(files, ("supersede", 1), |_| {
        request(Request::Supersede(Supersede { instance_uid: bytes(UID), epoch: 4 }))
    });
    hold(files, ("ping", 1), |_| request(Request::Ping(Ping {})));
    hold(files, ("shed", 1), |_| request(Request::Shed(Shed { connections: 40, over_ms: 10_000 })));
    hold(files, ("doubt", 1), |_| {
        request(Request::Doubt(Doubt { instance_uids: vec![bytes(UID)] }))
    });
    hold(files, ("doubt-reply", 1), |_| reply(Reply::Doubt(DoubtReply {})));
    hold(files, ("ping-reply", 1), |_| reply(Reply::Ping(PingReply {})));
    hold(files, ("shed-reply", 1), |_| reply(Reply::Shed(ShedReply { connections: 40 })));
    // Version 2 knows that newer offers take the place of older ones, version 3 that some wait.
    hold(files, ("delivered", 3), |version| {
        use delivered::Outcome::*;
        let known = [3, 4, 5][version as usize - 1];
        let outcomes = [Sent, NotOwner, Busy, Superseded, Queued][..known].iter();
        let outcomes = outcomes.map(|outcome| i32::from(*outcome)).collect();
        reply(Reply::Delivered(Delivered { outcomes }))
    });
    hold(files, ("probe-reply", 1), |_| reply(Reply::Probe(ProbeReply { alive: true })));
    hold(files, ("supersede-reply", 1), |_| reply(Reply::Supersede(SupersedeReply {})));
}

fn asked_of_control(files: &mut Golden) {
    hold(files, ("roll-request", 1), |_| RollRequest { known: bytes(&[3; 32]), changed: true });
    hold(files, ("roll-reply", 2), |version| {
        let enrollment = roll::Enrollment {
            digest: bytes(&[1; 32]),
            name: "ci".to_owned(),
            expires_unix: 1_700_000_000,
            used_up: true,
        };
        let revoked = roll::Revoked { instance_uid: bytes(UID), below: 4, refused: version > 1 };
        let (enrollment, revoked) = (vec![enrollment], vec![revoked]);
        let roll = Roll { keys: vec![bytes(&[2; 32])], enrollment, revoked };
        RollReply { digest: bytes(&[3; 32]), roll: Some(roll) }
    });
}

fn told_to_all(files: &mut Golden) {
    hold(files, ("presence", 1), |_| Presence {
        gateway_id: "gateway-1".to_owned(),
        seen: vec![presence::Seen {
            instance_uid: bytes(UID),
            epoch: 3,
            sequence_num: 250,
            seen_unix_ms: 1_700_000_000_001,
        }],
        sessions: 15_000,
        at_unix_ms: 1_700_000_000_002,
    });
    hold(files, ("status", 1), |_| Status {
        process_id: "muster-1".to_owned(),
        roles: vec![status::Role {
            name: "gateway".to_owned(),
            ready: false,
            reason: "the bus is away".to_owned(),
        }],
        version: "0.1.0".to_owned(),
        started_unix_ms: 1_700_000_000_000,
        draining: true,
        ended: true,
        gateway_id: "gateway-1".to_owned(),
        gateway_address: "http://192.0.2.1:4320".to_owned(),
    });
    // Version 2 knows of single agents.
    hold(files, ("generation", 2), |version| Generation {
        generation: 1_700_000_000_004,
        lost: if version < 2 { Vec::new() } else { vec![bytes(UID)] },
    });
    hold(files, ("intent-changed", 1), |_| IntentChanged { decision: 11 });
}

/// Every kind of event, and both forms: with a summary and without.
fn events(files: &mut Golden) {
    let summary = AgentSummary::from(&record());
    let kinds: Vec<Event> = event::KINDS.iter().map(|(event, _)| *event).collect();
    let capability = "org.example.profile".to_owned();
    let said = Received { capability, kind: "started".to_owned(), data: vec![1, 2, 3], size: 3 };
    let at = Timestamp(1_700_000_000_003);
    let uid = record().instance_uid;
    let today = event::encode(&uid, 5, at, &kinds, Some(&summary), Some(&said));
    let (summary, message) = (Some(summary), Some(said));
    let told = Told { instance_uid: uid, version: 5, at, events: kinds, summary, message };
    // Version 2 knows custom messages and capabilities, version 3 commands and their signs,
    // version 4 lists of components, version 5 packages and connection settings,
    // version 6 credentials.
    for (version, bytes) in files.versions("event", 6, &today) {
        let read = event::decode(AgentEvent::decode(&bytes[..]).unwrap()).unwrap();
        let mut told = told.clone();
        if version < 2 {
            told.events.retain(|event| *event != Event::CustomMessageReceived);
            told.summary.as_mut().unwrap().custom_capabilities.clear();
            told.message = None;
        }
        if version < 6 {
            told.events.retain(|event| *event != Event::CredentialChanged);
            told.summary.as_mut().unwrap().admission = None;
        }
        if version < 5 {
            let new = [Event::PackagesDelivered, Event::ConnectionSettingsDelivered];
            told.events.retain(|event| !new.contains(event));
            let summary = told.summary.as_mut().unwrap();
            (summary.packages, summary.settings) = (None, None);
            summary.signs.restarted = Timestamp(0);
        }
        if version < 4 {
            told.summary.as_mut().unwrap().components = None;
        }
        if version < 3 {
            let new = [Event::Restarted, Event::CommandChanged];
            told.events.retain(|event| !new.contains(event));
            let summary = told.summary.as_mut().unwrap();
            (summary.signs, summary.commands) = (Signs::default(), Vec::new());
        }
        assert_eq!(read, told);
    }
    let today = event::encode(&uid, 6, at, &[Event::Forgotten], None, None);
    let gone =
        Told { version: 6, events: vec![Event::Forgotten], summary: None, message: None, ..told };
    for (_, bytes) in files.versions("event-forgotten", 1, &today) {
        let read = event::decode(AgentEvent::decode(&bytes[..]).unwrap()).unwrap();
        assert_eq!(read, gone);
    }
}

fn record() -> AgentRecord {
    let uid = InstanceUid::try_from(UID).unwrap();
    let mut record = AgentRecord::new(uid, Timestamp(1_700_000_000_000));
    record.epoch = 3;
    let gateway = GatewayId::new("gateway-1");
    record.owner = Some(Owner { gateway, session: SessionId([1; 16]) });
    record.capabilities = 0x1003;
    let pair = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    };
    record.reported.agent_description = Some(AgentDescription {
        identifying_attributes: vec![pair("service.name", Value::StringValue("otelcol".into()))],
        non_identifying_attributes: vec![pair("cores", Value::IntValue(4))],
    });
    record.reported.health = Some(ComponentHealth {
        healthy: false,
        status: "down".to_owned(),
        last_error: "no exporter".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        ..Default::default()
    });
    let hash = ConfigHash([9; 32]);
    let config = Some(RevisionRef { config: "collector".to_owned(), revision: 2, hash });
    record.offered = Offered { config, decision: 11 };
    record.failed.push(hash);
    record.labels.insert("env".to_owned(), "prod".to_owned());
    record.remote_address = "192.0.2.7:40000".to_owned();
    let capabilities = vec!["org.example.profile".to_owned()];
    record.reported.custom_capabilities = Some(opamp::v1::CustomCapabilities { capabilities });
    record.components = Some(ListHash([6; 32]));
    offers(&mut record);
    let standing =
        Standing { serial: 5, below: 4, proven: 3, refused: true, waits: true, version: 9 };
    let by = "enrollmentTokens/ci".to_owned();
    record.admission = Some(Box::new(Admission { by, shown: 2, standing }));
    let restarted = Timestamp(1_700_000_000_007);
    record.signs = Signs { restarts: 2, restarted, full_reports: 3 };
    record.commands.push(PolledCommand {
        id: CommandId([8; 16]),
        message: Vec::new(),
        not_after: Timestamp(1_700_000_000_006),
        progress: Progress::Replied,
        number: 41,
        told: Signs::default(),
        doubtful: false,
        restarts: false,
    });
    record.last_seen = Timestamp(1_700_000_000_002);
    record
}

/// Packages and connection settings, each with a word of the agent's.
fn offers(record: &mut AgentRecord) {
    let packages = vec![("collector".to_owned(), PackageHash([2; 32]))];
    let hash = PackagesHash::of(&packages);
    let at = Timestamp(1_700_000_000_001);
    let sent = |hash| Some(Sent { hash, epoch: 2, n: 0, at });
    record.packages.offered =
        Some(PackagesOffer { set: "edge".to_owned(), revision: 3, hash, packages });
    record.packages.decision = 12;
    record.packages.delivered = sent(hash.0);
    let downloading = PackageStatus {
        name: "collector".to_owned(),
        status: PackageStatusEnum::Downloading.into(),
        download_details: Some(PackageDownloadDetails {
            download_percent: 12.5,
            ..Default::default()
        }),
        ..Default::default()
    };
    record.reported.package_statuses = Some(PackageStatuses {
        packages: [("collector".to_owned(), downloading)].into(),
        server_provided_all_packages_hash: hash.0.to_vec(),
        ..Default::default()
    });
    let class = Class::Other("kafka".to_owned());
    let settings = SettingsRef {
        settings: "backend".to_owned(),
        revision: 4,
        class: class.clone(),
        hash: SettingsHash([5; 32]),
    };
    let offer = SettingsOffer { classes: [(class, settings)].into(), credential: 0 };
    let hash = offer.hash();
    record.settings.delivered = sent(hash.0);
    record.settings.failed.push(hash.0);
    (record.settings.offered, record.settings.decision) = (Some(offer), 13);
    record.reported.connection_settings_status = Some(ConnectionSettingsStatus {
        last_connection_settings_hash: hash.0.to_vec(),
        status: ConnectionSettingsStatuses::Failed.into(),
        error_message: "no route".to_owned(),
    });
}
