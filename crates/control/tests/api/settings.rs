//! Connection settings: kept in revisions, refused by field, and never told again.

use std::sync::Arc;
use std::time::Duration;

use control::v1::apply_connection_settings_request::Settings as Asked;
use control::v1::connection_settings_client::ConnectionSettingsClient;
use control::v1::connection_settings_revision::Settings as Told;
use control::v1::*;
use model::connection::SEAL_PURPOSE;
use opamp::v1::{
    Header, Headers, OpAmpConnectionSettings, TelemetryConnectionSettings, TlsCertificate,
};
use services::Authority;
use store::{Cursor, SHARDS, Store as _, Stored, Table, tables};
use tonic::Code;
use tonic::transport::Channel;
use trust::Vault;

use crate::rig::{Rig, Watched, until};
use crate::set;

const SECRET: &str = "hunter2";
const NEW: [u8; 32] = [2; 32];
const OLD: [u8; 32] = [1; 32];

async fn rig(ledger: Watched, vault: Option<Vault>) -> Rig {
    let config = control::Config { vault: vault.map(Arc::new), ..Default::default() };
    let records = Watched::default();
    let rig =
        Rig::configured(Default::default(), Default::default(), records, ledger, config).await;
    until("the view is ready", async || rig.control.ready()).await;
    rig
}

async fn sealing() -> Rig {
    rig(Watched::default(), Some(Vault::from_key(&OLD))).await
}

fn client(rig: &Rig) -> ConnectionSettingsClient<Channel> {
    ConnectionSettingsClient::new(rig.channel.clone())
}

fn metrics(token: &str) -> TelemetryConnectionSettings {
    let header = Header { key: "authorization".to_owned(), value: token.to_owned() };
    TelemetryConnectionSettings {
        destination_endpoint: "https://otel:4318/v1/metrics".to_owned(),
        headers: Some(Headers { headers: vec![header] }),
        ..Default::default()
    }
}

fn telemetry(settings: TelemetryConnectionSettings) -> ApplyConnectionSettingsRequest {
    ApplyConnectionSettingsRequest {
        name: "connectionSettings/backend".to_owned(),
        class: "own-metrics".to_owned(),
        settings: Some(Asked::Telemetry(settings)),
        allow_http: false,
    }
}

fn opamp(certificate: TlsCertificate) -> ApplyConnectionSettingsRequest {
    let settings = OpAmpConnectionSettings {
        destination_endpoint: "wss://muster:4320/v1/opamp".to_owned(),
        certificate: Some(certificate),
        ..Default::default()
    };
    ApplyConnectionSettingsRequest {
        name: "connectionSettings/here".to_owned(),
        class: "opamp".to_owned(),
        settings: Some(Asked::Opamp(settings)),
        allow_http: false,
    }
}

/// Everything in the table.
async fn stored(ledger: &Watched) -> Vec<(store::Key, Stored)> {
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        let page = ledger.inner.scan(Table::Settings, shard, Cursor::default()).await.unwrap();
        found.extend(page.entries);
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn other_content_is_another_revision_and_secrets_are_in_no_answer_and_no_store() {
    let rig = sealing().await;
    let mut client = client(&rig);
    let apply = async |settings| {
        let mut client = client.clone();
        client.apply_connection_settings(telemetry(settings)).await.unwrap().into_inner()
    };
    let first = apply(metrics("Bearer hunter2")).await;
    let same = apply(metrics("Bearer hunter2")).await;
    let second = apply(metrics("Bearer hunter2-too")).await;
    assert_eq!((first.revision, same.revision, second.revision), (1, 1, 2));
    assert_ne!(first.hash, second.hash);
    let Some(Told::Telemetry(shown)) = &second.settings else { panic!("{:?}", second.settings) };
    assert_eq!(shown.destination_endpoint, "https://otel:4318/v1/metrics");
    let header = &shown.headers.as_ref().unwrap().headers[0];
    assert_eq!((header.key.as_str(), header.value.as_str()), ("authorization", "[redacted]"));
    let name = "connectionSettings/backend".to_owned();
    let read = client.get_connection_settings(GetConnectionSettingsRequest { name }).await.unwrap();
    assert_eq!((read.get_ref().revisions.len(), read.get_ref().class.as_str()), (2, "own-metrics"));
    let all = client.list_connection_settings(ListConnectionSettingsRequest::default()).await;
    let all = all.unwrap().into_inner();
    assert_eq!(all.connection_settings, [read.into_inner()]);
    assert!(!format!("{all:?}").contains(SECRET));
    let stored = stored(&rig.ledger).await;
    assert_eq!(stored.len(), 3, "one of each content, and one that names them");
    assert!(!stored.iter().any(|(_, it)| holds(&it.value, SECRET)));
}

#[tokio::test]
async fn what_agents_could_not_use_is_refused_by_its_field() {
    let rig = sealing().await;
    let authority = Authority::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let pair = authority.client(name).unwrap();
        [pair.certificate, pair.key].map(|path| std::fs::read(path).unwrap())
    });
    let ca = std::fs::read(authority.file()).unwrap();
    let good = TlsCertificate { cert: one[0].clone(), private_key: one[1].clone(), ca_cert: ca };
    let mut client = client(&rig);
    let kept = client.apply_connection_settings(opamp(good.clone())).await.unwrap().into_inner();
    let facts = kept.certificate.unwrap();
    assert_eq!((facts.subject.as_str(), facts.sha256.len()), ("one", 32));
    assert!(facts.not_after.unwrap().seconds > facts.not_before.unwrap().seconds);
    let ledger = stored(&rig.ledger).await;
    assert!(!ledger.iter().any(|(_, it)| holds(&it.value, "PRIVATE KEY")));

    let unsigned = TlsCertificate { ca_cert: Vec::new(), ..good.clone() };
    let other_key = TlsCertificate { private_key: two[1].clone(), ..good };
    let plain = TelemetryConnectionSettings {
        destination_endpoint: "http://user:hunter2@otel:4318/v1/metrics".to_owned(),
        ..metrics(SECRET)
    };
    let class = ApplyConnectionSettingsRequest {
        class: "own-logs".to_owned(),
        ..telemetry(metrics(SECRET))
    };
    client.apply_connection_settings(telemetry(metrics(SECRET))).await.unwrap();
    for (request, field) in [
        (opamp(unsigned), "certificate.ca_cert: "),
        (opamp(other_key), "certificate.private_key: "),
        (telemetry(plain), "destination_endpoint: "),
        (class, "class: "),
    ] {
        let refused = client.apply_connection_settings(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{refused}");
        assert!(!refused.message().contains(SECRET), "{refused}");
    }
}

#[tokio::test]
async fn nothing_is_stored_without_a_key() {
    let rig = rig(Watched::default(), None).await;
    let refused = client(&rig).apply_connection_settings(telemetry(metrics(SECRET))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--secrets-key"), "{refused}");
    assert!(stored(&rig.ledger).await.is_empty());
}

#[tokio::test]
async fn settings_that_are_assigned_stay_and_others_go_with_their_secrets() {
    let mut rig = sealing().await;
    let mut client = client(&rig);
    client.apply_connection_settings(telemetry(metrics(SECRET))).await.unwrap();
    let mut request = set("all", "", "none", 0);
    let assignment = request.assignment.as_mut().unwrap();
    assignment.config_revision = String::new();
    assignment.settings_revision = "connectionSettings/backend/revisions/1".to_owned();
    let set = rig.assignments.set_assignment(request).await.unwrap().into_inner();
    let pinned = set.assignment.unwrap().settings_revision;
    assert_eq!(pinned, "connectionSettings/backend/revisions/1");

    let name = "connectionSettings/backend".to_owned();
    let delete = DeleteConnectionSettingsRequest { name: name.clone() };
    let refused = client.delete_connection_settings(delete.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("assignments/all"), "{refused}");
    let remove = DeleteAssignmentRequest { name: "assignments/all".to_owned() };
    rig.assignments.delete_assignment(remove).await.unwrap();
    client.delete_connection_settings(delete.clone()).await.unwrap();
    assert!(stored(&rig.ledger).await.is_empty());
    let gone = client.delete_connection_settings(delete).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn what_an_older_key_sealed_is_sealed_anew() {
    let first = sealing().await;
    client(&first).apply_connection_settings(telemetry(metrics(SECRET))).await.unwrap();
    let ledger = first.ledger.clone();
    let sealed = async || {
        let stored = stored(&ledger).await;
        let mut sealed = stored.iter().filter(|(key, _)| tables::settings::is_sealed(key));
        let (key, stored) = sealed.next().unwrap();
        tables::settings::decode_sealed(key, &stored.value).unwrap().value.sealed
    };
    let before = sealed().await;
    let vault = Vault::from_key(&NEW);
    assert!(vault.open(SEAL_PURPOSE, &before).is_err());
    let _second = rig(ledger.clone(), Some(Vault::from_key(&NEW).with_older(&OLD))).await;
    let anew = async || vault.open(SEAL_PURPOSE, &sealed().await).is_ok();
    tokio::time::timeout(Duration::from_secs(5), async {
        until("it is sealed with the new key", anew).await;
    })
    .await
    .unwrap();
}
