//! Packages: what is offered to whom, what it is named by, and what is heard of it.

use std::sync::{Arc, Mutex};

use control::v1::agent_packages::Status as Standing;
use opamp::v1::*;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Code;

use super::conn::{next, taking};
use crate::fleet::{Fleet, PATIENCE, file};
use crate::messages::*;

const URL: &str = "https://releases.example.org/collector.tar.gz";

/// Adds the version of a package with one file for everybody.
async fn version(fleet: &Fleet, case: &str, package: &str, version: &str) -> String {
    let name = format!("packages/{case}-{package}/versions/{version}");
    fleet.try_package(&name, vec![file("", URL, [7; 32])]).await.unwrap();
    name
}

/// A word about an offer.
fn said(
    before: &AgentToServer,
    offer: &PackagesAvailable,
    status: PackageStatusEnum,
) -> AgentToServer {
    let one = |(name, package): (&String, &PackageAvailable)| {
        let status = PackageStatus {
            name: name.clone(),
            server_offered_version: package.version.clone(),
            server_offered_hash: package.hash.clone(),
            status: status.into(),
            error_message: "no space".to_owned(),
            ..Default::default()
        };
        (name.clone(), status)
    };
    let package_statuses = Some(PackageStatuses {
        packages: offer.packages.iter().map(one).collect(),
        server_provided_all_packages_hash: offer.all_packages_hash.clone(),
        error_message: String::new(),
    });
    AgentToServer { package_statuses, ..next(before) }
}

async fn answer(fleet: &Fleet, message: &AgentToServer) -> Option<PackagesAvailable> {
    fleet.poll(message).await.packages_available
}

pub(crate) async fn pkg_01_who_takes_packages_is_told_all_of_them_with_their_hashes(fleet: &Fleet) {
    let case = "pkg-01";
    let collector = version(fleet, case, "collector", "0.141.0").await;
    let addon = version(fleet, case, "addon", "1").await;
    fleet.give_packages(case, &[&collector, &addon]).await;
    assert_eq!(answer(fleet, &taking(fleet, case, 0)).await, None, "it has no bit");
    let offer = answer(fleet, &taking(fleet, case, PACKAGES)).await.unwrap();
    assert_eq!(offer.packages.len(), 2, "complete");
    assert_eq!(offer.all_packages_hash.len(), 32);
    let package = &offer.packages["pkg-01-collector"];
    assert_eq!((&*package.version, package.hash.len()), ("0.141.0", 32));
    let file = package.file.as_ref().unwrap();
    assert_eq!((&*file.download_url, &file.content_hash[..]), (URL, &[7; 32][..]));
    assert_eq!(file.signature, b"of the publisher");
    assert_ne!(package.hash, offer.packages["pkg-01-addon"].hash, "the name counts");
    let other = answer(fleet, &taking(fleet, case, PACKAGES)).await.unwrap();
    assert_eq!(other, offer, "the same for the same, on every gateway");
}

pub(crate) async fn pkg_03_a_stale_hash_brings_the_offer_and_the_right_one_does_not(fleet: &Fleet) {
    let case = "pkg-03";
    let first = version(fleet, case, "collector", "1").await;
    fleet.give_packages(case, &[&first]).await;
    let mut socket = fleet.connect().await;
    let mut message = taking(fleet, case, PACKAGES);
    let ask = async |socket: &mut agent::link::WebSocket, message: &AgentToServer| {
        socket.send(message).await.unwrap();
        socket.receive(PATIENCE).await.unwrap().packages_available
    };
    let offer = ask(&mut socket, &message).await.unwrap();
    message = said(&message, &offer, PackageStatusEnum::Installed);
    assert_eq!(ask(&mut socket, &message).await, None);
    message = next(&message);
    assert_eq!(ask(&mut socket, &message).await, None, "unchanged");
    // Up and down again, each pushed to an idle socket.
    let second = version(fleet, case, "collector", "2").await;
    fleet.give_packages(case, &[&second]).await;
    let pushed = socket.receive(PATIENCE).await.unwrap().packages_available.unwrap();
    assert_ne!(pushed.all_packages_hash, offer.all_packages_hash);
    message = said(&next(&message), &pushed, PackageStatusEnum::Installed);
    assert_eq!(ask(&mut socket, &message).await, None);
    fleet.give_packages(case, &[&first]).await;
    let down = socket.receive(PATIENCE).await.unwrap().packages_available.unwrap();
    assert_eq!(down.all_packages_hash, offer.all_packages_hash, "the same content, the same name");
}

pub(crate) async fn pkg_04_files_fit_the_agent_and_a_set_is_whole_or_not_offered(fleet: &Fleet) {
    let case = "pkg-04";
    let name = format!("packages/{case}-collector/versions/1");
    let files = vec![
        file("os.type=linux", "https://h/linux", [1; 32]),
        file("os.type=windows", "https://h/windows", [2; 32]),
    ];
    fleet.try_package(&name, files).await.unwrap();
    let addon = version(fleet, case, "addon", "1").await;
    let on = |os: &str| {
        let mut message = taking(fleet, case, PACKAGES);
        let description = message.agent_description.as_mut().unwrap();
        description.non_identifying_attributes.push(text("os.type", os));
        message
    };
    fleet.apply_set(case, &[&name, &addon]).await;
    fleet.assign_packages(case).await;
    let known = async { while answer(fleet, &on("linux")).await.is_none() {} };
    tokio::time::timeout(PATIENCE, known).await.expect("the decision is known");
    let offers = [answer(fleet, &on("linux")).await, answer(fleet, &on("windows")).await];
    for (offer, url) in offers.into_iter().zip(["https://h/linux", "https://h/windows"]) {
        let offer = offer.unwrap();
        assert_eq!(offer.packages.len(), 2);
        let file = offer.packages["pkg-04-collector"].file.as_ref().unwrap();
        assert_eq!(file.download_url, url);
    }
    assert_eq!(answer(fleet, &on("plan9")).await, None, "it would delete the collector");
}

pub(crate) async fn pkg_14_statuses_are_shown_and_what_failed_is_not_offered_again(fleet: &Fleet) {
    let case = "pkg-14";
    let first = version(fleet, case, "collector", "1").await;
    fleet.give_packages(case, &[&first]).await;
    let mut message = taking(fleet, case, PACKAGES);
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    let offer = answer(fleet, &message).await.unwrap();
    let standing = |agent: &control::v1::Agent| agent.packages.clone().unwrap_or_default();
    let mut loading = said(&message, &offer, PackageStatusEnum::Downloading);
    for status in loading.package_statuses.as_mut().unwrap().packages.values_mut() {
        let (download_percent, download_bytes_per_second) = (42.0, f64::NAN);
        let details = PackageDownloadDetails { download_percent, download_bytes_per_second };
        status.download_details = Some(details);
    }
    message = loading;
    assert_eq!(answer(fleet, &message).await, None);
    let seen = fleet.until(uid, |agent| standing(agent).download_percent.is_some()).await;
    assert_eq!(standing(&seen).status(), Standing::Installing);
    message = said(&message, &offer, PackageStatusEnum::InstallFailed);
    assert_eq!(answer(fleet, &message).await, None);
    let failed = fleet.until(uid, |agent| standing(agent).status() == Standing::Failed).await;
    assert!(standing(&failed).error_message.contains("no space"));
    for _ in 0..3 {
        message = next(&message);
        assert_eq!(answer(fleet, &message).await, None, "it failed on this");
    }
    let second = version(fleet, case, "collector", "2").await;
    fleet.give_packages(case, &[&second]).await;
    message = next(&message);
    let offer = answer(fleet, &message).await.unwrap();
    let mut done = said(&message, &offer, PackageStatusEnum::Installed);
    let packages = &mut done.package_statuses.as_mut().unwrap().packages;
    let local = PackageStatus { name: "local".to_owned(), ..Default::default() };
    packages.insert("local".to_owned(), local);
    assert_eq!(answer(fleet, &done).await, None);
    fleet.until(uid, |agent| standing(agent).status() == Standing::Installed).await;
    // What another offer would do to it.
    let addon = version(fleet, case, "addon", "1").await;
    fleet.apply_set(case, &[&addon]).await;
    let impact = fleet.preview_packages(case).await;
    let deleted: Vec<&str> =
        impact.deleted_packages.iter().map(|deleted| deleted.package.as_str()).collect();
    assert_eq!(deleted, ["local", "pkg-14-collector"]);
}

pub(crate) async fn pkg_17_broken_statuses_are_acknowledged(fleet: &Fleet) {
    let message = taking(fleet, "pkg-17", PACKAGES);
    let status = PackageStatus { name: "another".to_owned(), ..Default::default() };
    let package_statuses = Some(PackageStatuses {
        packages: [("one".to_owned(), status)].into(),
        server_provided_all_packages_hash: vec![1; 7],
        error_message: "cannot write".to_owned(),
    });
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    let message = AgentToServer { package_statuses: package_statuses.clone(), ..message };
    assert_eq!(error_type(&fleet.poll(&message).await), None);
    let shown = fleet.until(uid, |agent| agent.report.is_some()).await;
    assert_eq!(shown.report.unwrap().package_statuses, package_statuses, "as it was said");
}

pub(crate) async fn pkg_20_what_makes_no_sense_is_refused_with_its_field(fleet: &Fleet) {
    let good = file("", URL, [1; 32]);
    for (name, files, field) in [
        ("packages/Bad/versions/1", vec![good.clone()], "package_version.name"),
        ("packages/pkg-20/versions/", vec![good.clone()], "version"),
        ("packages/pkg-20/versions/1", vec![], "files"),
        ("packages/pkg-20/versions/1", vec![file("a in", URL, [1; 32])], "package_version.files"),
        ("packages/pkg-20/versions/1", vec![file("", "h/x", [1; 32])], "files.download_url"),
    ] {
        let error = fleet.try_package(name, files).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{name}");
        assert!(error.message().starts_with(field), "{error}");
    }
    let name = "packages/pkg-20/versions/1";
    let made = fleet.try_package(name, vec![good.clone()]).await.unwrap();
    assert_eq!(fleet.try_package(name, vec![good]).await.unwrap(), made, "the same again");
    let error = fleet.try_package(name, vec![file("", URL, [2; 32])]).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("never changes"), "{error}");
}

/// The bytes of a version, as a release server has them.
fn content(version: u8) -> Vec<u8> {
    let size = 1_500_000 + usize::from(version);
    (0..size).map(|at| u8::try_from(at % 251).unwrap() ^ version).collect()
}

/// A release server: `/N` is the content of version N. It breaks off in the middle of the first
/// answer, and tells what was asked for.
struct Releases {
    url: String,
    ranges: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Releases {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ranges = Arc::<Mutex<Vec<String>>>::default();
        let (mut serving, seen) = (JoinSet::new(), ranges.clone());
        serving.spawn(async move {
            let mut breaks_off = true;
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                answer_get(socket, std::mem::take(&mut breaks_off), &seen).await;
            }
        });
        Self { url, ranges, _serving: serving }
    }

    async fn version(&self, fleet: &Fleet, name: &str, number: u8, sha256: [u8; 32]) -> String {
        let name = format!("packages/{name}/versions/{number}");
        let url = format!("{}/{number}", self.url);
        fleet.try_package(&name, vec![file("", &url, sha256)]).await.unwrap();
        name
    }
}

async fn answer_get(mut socket: TcpStream, breaks_off: bool, ranges: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let whole = content(path.trim_start_matches('/').parse().unwrap());
    let range = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from = range.as_ref().map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    ranges.lock().unwrap().extend(range);
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let rest = &whole[from..];
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    let told = if breaks_off { &rest[..rest.len() / 2] } else { rest };
    socket.write_all(told).await.unwrap();
    socket.shutdown().await.unwrap();
}

fn sha256(version: u8) -> [u8; 32] {
    Sha256::digest(content(version)).into()
}

/// A real agent fetches what it is offered, takes it up again where that broke off, looks if it
/// is the right one, and puts it in place: up, not up where it is wrong, down again, and away.
pub(crate) async fn pkg_09_an_agent_swaps_its_files_for_real(fleet: &Fleet) {
    let (case, releases) = ("pkg-09", Releases::open().await);
    let folder = tempfile::tempdir().unwrap();
    let settings = agent::Settings {
        capabilities: agent::core::CAPABILITIES | PACKAGES,
        heartbeat_ms: 500,
        description: AgentDescription {
            non_identifying_attributes: vec![text("case", case)],
            ..Default::default()
        },
        ..agent::Settings::new(fleet.uid())
    };
    let uid = settings.instance_uid;
    let here = folder.path().to_owned();
    let agent = agent::start_installing(settings, fleet.endpoint(false), here.clone());
    let standing = |agent: &control::v1::Agent| agent.packages.clone().unwrap_or_default();
    let runs = |version: u8| std::fs::read(here.join("pkg-09")).unwrap() == content(version);
    let give = async |name: &str| {
        fleet.give_packages(case, &[name]).await;
        let revision = fleet.set_revision(case).await;
        let done = |agent: &control::v1::Agent| {
            let at = standing(agent);
            let ended = [Standing::Installed, Standing::Failed].contains(&at.status());
            at.offered_revision == revision && ended
        };
        standing(&fleet.until(uid, done).await)
    };
    let first = releases.version(fleet, case, 1, sha256(1)).await;
    assert_eq!(give(&first).await.status(), Standing::Installed);
    assert!(runs(1));
    let resumed = releases.ranges.lock().unwrap().clone();
    assert!(matches!(&resumed[..], [from] if from.ends_with('-') && from != "0-"), "{resumed:?}");
    let second = releases.version(fleet, case, 2, sha256(2)).await;
    assert_eq!(give(&second).await.status(), Standing::Installed);
    assert!(runs(2));
    let wrong = releases.version(fleet, case, 3, sha256(4)).await;
    let failed = give(&wrong).await;
    assert_eq!(failed.status(), Standing::Failed);
    assert!(failed.error_message.contains("SHA-256"), "{}", failed.error_message);
    assert!(runs(2), "what was there stays");
    let offers = agent.see(|agent| agent.ledger.package_offers);
    let heard = agent.see(|agent| agent.ledger.received);
    assert!(agent.until(PATIENCE, |agent| agent.ledger.received > heard + 2).await);
    assert_eq!(agent.see(|agent| agent.ledger.package_offers), offers, "not offered again");
    assert_eq!(give(&first).await.status(), Standing::Installed);
    assert!(runs(1), "down again");
    let other = format!("packages/{case}-other/versions/1");
    let url = format!("{}/1", releases.url);
    fleet.try_package(&other, vec![file("", &url, sha256(1))]).await.unwrap();
    assert_eq!(give(&other).await.status(), Standing::Installed);
    let left: Vec<_> =
        std::fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["pkg-09-other"], "what is not offered goes, and nothing is left beside");
}
