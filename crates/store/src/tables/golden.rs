//! Stored values as binaries wrote them, version by version. Read by every binary to come.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::assign::{Assignment, Assignments, Content, Hold};
use model::brake::{Brake, Stage};
use model::catalogue::{PackageFile, PackageKind, PackageSet, PackageVersion, SetRevision};
use model::command::{
    Action, CommandId, Custom, Expected, Order, Progress, Reply, Signs, State, Target,
};
use model::components::ListHash;
use model::connection::{Certificate, Kept, KeptRevision};
use model::credential::{Admission, AgentCredential, Standing};
use model::enrollment::{Approval, EnrollmentToken, TokenDigest};
use model::packages::{
    PackageChoice, PackageHash, PackageSetRef, PackagesHash, PackagesOffer, Variant,
};
use model::record::{
    CustomMessages, Delivered, Duplicate, FullState, Offered, OpAmpTold, Owner, PolledCommand,
    Reported, Track,
};
use model::selector::Selector;
use model::settings::{Class, SettingsHash, SettingsOffer, SettingsRef};
use model::{
    AgentRecord, Config, ConfigHash, GatewayId, Revision, RevisionRef, SessionId, Timestamp,
};
use opamp::InstanceUid;
use opamp::v1::*;
use services::Golden;

use crate::tables::labels::AgentLabels;
use crate::tables::{
    Loaded, agents, commands, configs, credentials, enrollment, intent, labels, leases, packages,
    quarantine, settings,
};
use crate::{Error, Key, Presence, Version, layout};

const UID: InstanceUid = InstanceUid::from_bytes([7; 16]);

/// Holds a table to its files. What a version could not say, `value` leaves at its default.
fn table<T: PartialEq + std::fmt::Debug>(
    files: &mut Golden,
    (name, newest): (&str, u32),
    value: impl Fn(u32) -> T,
    encode: impl Fn(&T, &Bytes) -> Bytes,
    decode: impl Fn(&Bytes) -> Result<Loaded<T>, Error>,
) {
    // Fields 100 and 101, of a binary that is not written yet.
    let newer = [0xa2, 0x06, 2, 1, 2, 0xa8, 0x06, 5];
    let today = encode(&value(newest), &Bytes::new());
    for (version, bytes) in files.versions(name, newest, &today) {
        let read = decode(&bytes.clone().into()).unwrap();
        assert_eq!(read, Loaded { value: value(version), unknown: Bytes::new() }, "{name}");
        let read = decode(&[&bytes[..], &newer].concat().into()).unwrap();
        assert_eq!(read.value, value(version), "{name} with newer fields");
        assert!(encode(&read.value, &read.unknown).ends_with(&newer), "{name} rewritten");
    }
}

#[test]
fn golden_values_are_read_for_ever() {
    let mut files = Golden::of(env!("CARGO_MANIFEST_DIR"));
    let agent = |bytes: &Bytes| agents::decode(&Key::agent(&UID), bytes);
    table(&mut files, ("agent", 9), record, agents::encode, agent);
    let new = |_| AgentRecord::new(UID, Timestamp(1_700_000_000_000));
    table(&mut files, ("agent-new", 1), new, agents::encode, agent);
    table(&mut files, ("config", 2), config, configs::encode, |bytes| {
        configs::decode(&Key::config("collector"), bytes)
    });
    table(&mut files, ("assignments", 3), assignments, intent::encode, |bytes| {
        intent::decode(&Key::intent(), bytes)
    });
    let none = |_| Assignments::default();
    table(&mut files, ("assignments-none", 1), none, intent::encode, |bytes| {
        intent::decode(&Key::intent(), bytes)
    });
    table(
        &mut files,
        ("labels", 1),
        |_| agent_labels(),
        labels::encode,
        |bytes| labels::decode(&Key::labels(&UID), bytes),
    );
    table(
        &mut files,
        ("lease", 1),
        |_| "muster-1".to_owned(),
        |holder, unknown| leases::encode(holder, unknown),
        |bytes| leases::decode(&Key::lease("control"), bytes),
    );

    table(
        &mut files,
        ("quarantined", 1),
        |_| quarantined(),
        quarantine::encode,
        |bytes| quarantine::decode(&crate::quarantine::place(&Key::config("collector")), bytes),
    );

    table(&mut files, ("command", 2), command, commands::encode, |bytes| {
        commands::decode(&command(1).key(), bytes)
    });

    table(
        &mut files,
        ("settings", 1),
        |_| kept(),
        settings::encode,
        |bytes| settings::decode(&settings::key("backend"), bytes),
    );
    table(
        &mut files,
        ("settings-sealed", 1),
        |_| sealed(),
        settings::encode_sealed,
        |bytes| settings::decode_sealed(&settings::sealed_key("backend", &sealed().hash), bytes),
    );
    let token = |bytes: &Bytes| enrollment::decode(&Key::enrollment_token("ci"), bytes);
    table(&mut files, ("enrollment-token", 2), enrollment_token, enrollment::encode, token);

    issued(&mut files);
    packages_and_sets(&mut files);

    let presence = Presence {
        instance_uid: UID,
        epoch: 3,
        sequence_num: 250,
        seen: Timestamp(1_700_000_000_003),
    };
    for (_, bytes) in files.versions("presence", 1, &layout::presence(&presence)) {
        assert_eq!(layout::presence_of(UID, &bytes), Some(presence));
    }
    for (_, bytes) in files.versions("versioned", 1, &layout::join(Version(300), b"value")) {
        assert_eq!(layout::split(&bytes), Some((Version(300), &b"value"[..])));
    }
    files.finish();
}

/// Keys carry the shard: moved, a record is lost.
#[test]
fn golden_shards_stay() {
    assert_eq!(Key::agent(&UID).shard(), 53);
    assert_eq!(Key::config("collector").shard(), 24);
    assert_eq!(Key::intent().shard(), 25);
    assert_eq!(Key::labels(&UID).shard(), 53);
}

/// Version 2 knows the version of the labels, and tokens; version 3 the store's generation,
/// version 4 the session that was reaped, version 5 custom messages, version 6 commands that wait
/// for polls, version 7 lists of components, version 8 packages and connection settings.
fn record(version: u32) -> AgentRecord {
    AgentRecord {
        instance_uid: UID,
        epoch: 3,
        owner: Some(Owner { gateway: GatewayId::new("gateway-1"), session: SessionId([1; 16]) }),
        last_gateway: Some(GatewayId::new("gateway-2")),
        n: 4,
        sequence_num: Some(0),
        full_state: FullState {
            wanted: true,
            asked: 2,
            ignores_sequence: true,
            components_asked: 1,
        },
        capabilities: 0x1803,
        reported: reported(),
        offered: Offered { config: Some(revision_ref()), decision: 11 },
        delivered: Some(Delivered {
            hash: ConfigHash([9; 32]),
            epoch: 3,
            n: 4,
            at: Timestamp(1_700_000_000_001),
        }),
        failed: vec![ConfigHash([4; 32]), ConfigHash([5; 32])],
        recent_sessions: vec![SessionId([2; 16])],
        duplicate: Duplicate { told: 1, last: Timestamp(1_700_000_000_002) },
        polls: true,
        remote_address: "192.0.2.7:40000".to_owned(),
        token_name: if version < 2 { String::new() } else { "collectors".to_owned() },
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        admission: (version > 8).then(|| Box::new(admission())),
        labels_version: if version < 2 { 0 } else { 6 },
        generation: if version < 3 { 0 } else { 1_700_000_000_004 },
        reaped: (version > 3).then_some(SessionId([3; 16])),
        packages: if version < 8 { Track::default() } else { packages() },
        settings: if version < 8 { Track::default() } else { settings() },
        opamp_told: (version > 7).then_some(OpAmpTold {
            hash: SettingsHash([12; 32]),
            start_time_unix_nano: 1_700_000_000_000_000_000,
            times: 1,
            epoch: 3,
            n: 4,
        }),
        components: (version > 6).then_some(ListHash([6; 32])),
        commands: if version < 6 { Vec::new() } else { vec![polled_command(version)] },
        signs: match version {
            1..6 => model::record::Signs::default(),
            _ => seen_signs(version, 2, 3),
        },
        custom: match version {
            1..5 => CustomMessages::default(),
            _ => CustomMessages {
                taken: 7,
                number: 40,
                digest: 0x0102_0304_0506_0708,
                spent_until: Timestamp(1_700_000_000_005),
            },
        },
        first_seen: Timestamp(1_700_000_000_000),
        last_seen: Timestamp(1_700_000_000_003),
    }
}

fn track<T>(offered: T) -> Track<T> {
    let at = Timestamp(1_700_000_000_007);
    Track {
        offered: Some(offered),
        decision: 12,
        delivered: Some(Delivered { hash: [10; 32], epoch: 3, n: 4, at }),
        failed: vec![[11; 32]],
    }
}

fn packages() -> Track<PackagesOffer> {
    let packages =
        vec![(String::new(), PackageHash([1; 32])), ("collector".to_owned(), PackageHash([2; 32]))];
    let hash = PackagesHash::of(&packages);
    track(PackagesOffer { set: "edge".to_owned(), revision: 3, hash, packages })
}

fn settings() -> Track<SettingsOffer> {
    let settings = |class| (class, settings_ref());
    let classes = [Class::OpAmp, Class::OwnLogs, Class::Other("kafka".to_owned())];
    let classes = classes
        .map(settings)
        .map(|(class, it): (Class, SettingsRef)| (class.clone(), SettingsRef { class, ..it }));
    track(SettingsOffer { classes: classes.into(), credential: 2 })
}

fn settings_ref() -> SettingsRef {
    let settings = "backend".to_owned();
    SettingsRef { settings, revision: 4, class: Class::OwnLogs, hash: SettingsHash([5; 32]) }
}

fn seen_signs(version: u32, restarts: u64, full_reports: u64) -> model::record::Signs {
    let restarted = Timestamp(if version < 8 { 0 } else { 1_700_000_000_008 });
    model::record::Signs { restarts, restarted, full_reports }
}

fn polled_command(version: u32) -> PolledCommand {
    PolledCommand {
        id: CommandId([8; 16]),
        message: vec![0x4a, 0],
        not_after: Timestamp(1_700_000_000_006),
        progress: Progress::Replied,
        number: 41,
        told: seen_signs(version, 1, 2),
        doubtful: true,
        restarts: version > 7,
    }
}

fn reported() -> Reported {
    let pair = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    };
    let name = any_value::Value::StringValue("otelcol".to_owned());
    let file = AgentConfigFile {
        body: Bytes::from_static(b"receivers: {}\n"),
        content_type: "text/yaml".to_owned(),
        ..Default::default()
    };
    let map = AgentConfigMap { config_map: [(String::new(), file)].into() };
    let package = PackageStatus {
        name: "otelcol".to_owned(),
        agent_has_version: "0.150.0".to_owned(),
        ..Default::default()
    };
    Reported {
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![pair("service.name", name)],
            non_identifying_attributes: vec![pair("cores", any_value::Value::IntValue(-2))],
        }),
        health: Some(ComponentHealth {
            healthy: true,
            status: "up".to_owned(),
            start_time_unix_nano: 1_700_000_000_000_000_000,
            component_health_map: [("pipeline".to_owned(), ComponentHealth::default())].into(),
            ..Default::default()
        }),
        effective_config: Some(EffectiveConfig { config_map: Some(map) }),
        remote_config_status: Some(RemoteConfigStatus {
            last_remote_config_hash: vec![9; 32],
            status: RemoteConfigStatuses::Applied as i32,
            error_message: String::new(),
        }),
        package_statuses: Some(PackageStatuses {
            packages: [("otelcol".to_owned(), package)].into(),
            ..Default::default()
        }),
        custom_capabilities: Some(CustomCapabilities {
            capabilities: vec!["org.example.profile".to_owned()],
        }),
        available_components: Some(AvailableComponents { hash: vec![6; 32], ..Default::default() }),
        connection_settings_status: Some(ConnectionSettingsStatus {
            last_connection_settings_hash: vec![8; 32],
            ..Default::default()
        }),
    }
}

fn revision_ref() -> RevisionRef {
    RevisionRef { config: "collector".to_owned(), revision: 2, hash: ConfigHash([9; 32]) }
}

/// Version 2 knows who.
fn actor(version: u32) -> String {
    if version < 2 { String::new() } else { "alice".to_owned() }
}

fn config(version: u32) -> Config {
    let revision = |number, hash, keys: &[&str]| Revision {
        number,
        hash: ConfigHash([hash; 32]),
        created: Timestamp(1_700_000_000_000 + number),
        size_bytes: 14,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        actor: actor(version),
    };
    let revisions = vec![revision(1, 3, &[""]), revision(2, 9, &["", "extra.yaml"])];
    Config { name: "collector".to_owned(), revisions }
}

/// Version 2 knows brakes and the hold, version 3 package sets and connection settings.
fn assignments(version: u32) -> Assignments {
    let brake = |stage| match version {
        1 => Brake::default(),
        _ => Brake { max_in_flight: 7, max_failures: 8, stage },
    };
    let assignment = |name: &str, selector: &str, stage| Assignment {
        name: name.to_owned(),
        selector: Selector::parse(selector).unwrap(),
        content: Content::Config(revision_ref()),
        priority: -3,
        updated: Timestamp(1_700_000_000_005),
        brake: brake(stage),
        actor: actor(version),
    };
    let mut list = vec![
        assignment("all", "", Stage::Releasing(u64::MAX - 1)),
        assignment("prod", "env in (prod,staging),!canary", Stage::Released),
        assignment("edge", "service.name=otelcol", Stage::Done),
        assignment("bad", "env=bad", Stage::Stopped { failed: 9 }),
    ];
    if version > 2 {
        let variant = |selector: &str, hash| Variant {
            selector: Selector::parse(selector).unwrap(),
            hash: PackageHash([hash; 32]),
        };
        let packages = vec![PackageChoice {
            package: "collector".to_owned(),
            version: "0.150.0".to_owned(),
            variants: vec![variant("os.type=linux", 1), variant("", 2)],
        }];
        let set = PackageSetRef { set: "edge".to_owned(), revision: 3, packages };
        for content in [Content::Packages(set), Content::Settings(settings_ref())] {
            list.push(Assignment { content, ..assignment("new", "", Stage::Done) });
        }
    }
    let hold = Hold {
        since: Timestamp(1_700_000_000_006),
        reason: "incident 42".to_owned(),
        actor: actor(version),
    };
    Assignments { list, hold: (version > 1).then_some(hold) }
}

fn quarantined() -> quarantine::Quarantined {
    quarantine::Quarantined {
        table: "configs".to_owned(),
        id: Bytes::from_static(b"collector"),
        version: Version(12),
        found: Timestamp(1_700_000_000_008),
        reason: "configs/collector cannot be read: format 9 is unknown".to_owned(),
        size: 70_000,
        value: Bytes::from_static(&[8, 9]),
    }
}

fn kept() -> Kept {
    let revision = |number, certificate| KeptRevision {
        number,
        hash: SettingsHash([7; 32]),
        created: Timestamp(1_700_000_000_014),
        actor: "alice".to_owned(),
        shown: vec![0x0a, 1, b'h'],
        certificate,
    };
    let certificate = Certificate {
        subject: "collectors".to_owned(),
        not_before: -1,
        not_after: 1_800_000_000,
        sha256: [1; 32],
        key_sha256: [2; 32],
    };
    let (name, class) = ("backend".to_owned(), Class::Other("kafka".to_owned()));
    Kept { name, class, revisions: vec![revision(1, None), revision(2, Some(certificate))] }
}

fn sealed() -> settings::Sealed {
    settings::Sealed { hash: SettingsHash([7; 32]), sealed: Bytes::from_static(b"sealed") }
}

fn packages_and_sets(files: &mut Golden) {
    let file = PackageFile {
        selector: Selector::parse("os.type=linux").unwrap(),
        url: "https://example.org/collector.tar.gz".to_owned(),
        sha256: [8; 32],
        signature: vec![1, 2, 3],
    };
    let version = PackageVersion {
        package: "collector".to_owned(),
        version: "0.141.0".to_owned(),
        kind: PackageKind::Addon,
        files: vec![file],
        created: Timestamp(1_700_000_000_026),
        actor: "alice".to_owned(),
    };
    let read = |bytes: &Bytes| packages::decode(&packages::key("collector", "0.141.0"), bytes);
    table(files, ("package-version", 1), |_| version.clone(), packages::encode, read);
    let revision = SetRevision {
        number: 2,
        packages: vec![("collector".to_owned(), "0.141.0".to_owned())],
        created: Timestamp(1_700_000_000_027),
        actor: "bob".to_owned(),
    };
    let set = PackageSet { name: "edge".to_owned(), revisions: vec![revision] };
    let read = |bytes: &Bytes| packages::decode_set(&packages::set_key("edge"), bytes);
    table(files, ("package-set", 1), |_| set.clone(), packages::encode_set, read);
}

fn admission() -> Admission {
    let standing =
        Standing { serial: 5, below: 4, proven: 3, refused: true, waits: true, version: 9 };
    Admission { by: "enrollmentTokens/ci".to_owned(), shown: 2, standing }
}

fn issued(files: &mut Golden) {
    let credential = AgentCredential {
        uid: UID,
        enrollment: "enrollmentTokens/ci".to_owned(),
        asked: Timestamp(1_700_000_000_022),
        proven: 3,
        serial: 4,
        below: 5,
        expires_unix: 1_800_000_000,
        older_unix: 1_800_000_001,
        issued: Timestamp(1_700_000_000_023),
        issued_by: "alice".to_owned(),
        revoked: Some((Timestamp(1_700_000_000_024), "bob".to_owned())),
    };
    let read = |bytes: &Bytes| credentials::decode(&Key::credential(&UID), bytes);
    table(files, ("credential", 1), |_| credential.clone(), credentials::encode, read);
    let revocation = credential.revocation().unwrap();
    let read = |bytes: &Bytes| credentials::decode_revocation(&Key::revocation(&UID), bytes);
    table(files, ("revocation", 1), |_| revocation, credentials::encode_revocation, read);
    let sealed_seed = Bytes::from_static(b"sealed");
    let created = Timestamp(1_700_000_000_025);
    let key = credentials::FleetKey { sealed_seed, public_key: [3; 32], created };
    let read = |bytes: &Bytes| credentials::decode_key(&Key::fleet_key(), bytes);
    table(files, ("fleet-key", 1), |_| key.clone(), credentials::encode_key, read);
}

fn enrollment_token(version: u32) -> EnrollmentToken {
    EnrollmentToken {
        name: "ci".to_owned(),
        digest: TokenDigest([9; 32]),
        labels: [("env".to_owned(), "ci".to_owned())].into(),
        approval: Approval::Manual,
        expires: Some(Timestamp(1_700_000_000_021)),
        uses_max: Some(100),
        uses: 3,
        arrived: if version < 2 { 0 } else { 2 },
        created: Timestamp(1_700_000_000_020),
        actor: "alice".to_owned(),
        revoked: Some((Timestamp(1_700_000_000_022), "bob".to_owned())),
    }
}

fn agent_labels() -> AgentLabels {
    let labels = [("env", "prod"), ("canary", "")];
    let labels: BTreeMap<_, _> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    AgentLabels { labels, updated: Timestamp(1_700_000_000_007) }
}

/// Version 2 knows what an answer looks like, and what was answered.
fn command(version: u32) -> commands::Part {
    let known = version > 1;
    let (id, created) = (CommandId([6; 16]), Timestamp(1_700_000_000_008));
    let custom = Custom {
        capability: "com.example".to_owned(),
        kind: "go".to_owned(),
        data: vec![1, 2, 3],
        reply: Some(match known {
            true => Expected { kind: "gone".to_owned(), key: "id".to_owned() },
            false => Expected::default(),
        }),
    };
    let order = Order {
        id,
        action: Action::Custom(custom),
        actor: "alice".to_owned(),
        created,
        expires: Timestamp(1_700_000_030_008),
        queue: true,
        selector: "env=prod".to_owned(),
        max_per_second: 50,
        confirm_ms: 30_000,
        digest: [8; 32],
        driver: "muster-1".to_owned(),
        targets: 9,
    };
    let target = |state| Target {
        uid: UID,
        state,
        gateway: Some(GatewayId::new("gateway-1")),
        epoch: 3,
        attempts: 2,
        reason: "why".to_owned(),
        before: Signs {
            restarts: 4,
            full_reports: 5,
            version: if known { 6 } else { 0 },
            ..Signs::default()
        },
        routed: Timestamp(1_700_000_000_009),
        changed: Timestamp(1_700_000_000_010),
        again: Timestamp(1_700_000_000_011),
        reply: (known && state == State::Confirmed).then(|| Reply {
            data: vec![4, 5],
            size: 2,
            at: Timestamp(1_700_000_000_012),
            version: 1_700_000_000_013,
        }),
    };
    let targets = State::ALL.map(target).to_vec();
    commands::Part { id, number: 0, created, order: Some(order), targets }
}
