//! What wins over what, and what is refused.

use clap::Parser;

use super::*;
use crate::exit::Code;

#[derive(Parser)]
struct Front {
    #[command(flatten)]
    serve: ServeArgs,
}

fn flags(list: &[&str]) -> ServeArgs {
    Front::try_parse_from(std::iter::once("muster").chain(list.iter().copied())).unwrap().serve
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// The settings, or what is said about them.
fn resolve(text: &str, list: &[&str]) -> Result<Settings, String> {
    let file = file(text);
    let mut args = flags(list);
    args.config = Some(file.path().to_owned());
    args.resolve().map_err(|error| {
        let failure = error.downcast_ref::<Failure>();
        assert_eq!(failure.map(|failure| failure.code), Some(Code::Usage));
        format!("{error:#}")
    })
}

#[test]
fn defaults_are_one_open_process_on_loopback() {
    let settings = flags(&[]).resolve().unwrap();
    assert_eq!(settings.roles.names(), ["fleet-state", "control", "gateway"]);
    let listens = settings.listens();
    let listens: Vec<_> = listens.iter().map(|(_, at)| at.to_string()).collect();
    assert_eq!(listens, ["127.0.0.1:4320", "127.0.0.1:4321", "127.0.0.1:4322"]);
    assert_eq!(settings.data_dir, Path::new("muster-data"));
    let cluster = &settings.cluster;
    assert_eq!((&cluster.bus, &cluster.store, &cluster.ledger), (&None, &None, &None));
    assert_eq!((settings.fleet.as_str(), settings.log), ("muster", LogFormat::Text));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let text = "fleet = \"from-file\"\nlog = \"json\"\nops_listen = \"127.0.0.1:9\"\n";
    let settings = resolve(text, &["--fleet", "from-flag"]).unwrap();
    assert_eq!(settings.fleet, "from-flag");
    assert_eq!(settings.log, LogFormat::Json);
    assert_eq!(settings.ops_listen.port(), 9);
    assert_eq!(settings.opamp_listen.port(), 4320);
}

#[test]
fn roles_of_the_command_line_replace_those_of_the_file() {
    let text = "role = [\"control\"]\nbus = \"nats://h\"\nstore = \"redis://h\"\n";
    let names = |list| resolve(text, list).unwrap().roles.names();
    assert_eq!(names(&[]), ["control"]);
    assert_eq!(names(&["--role", "gateway", "--role", "fleet-state"]), ["fleet-state", "gateway"]);
}

#[test]
fn an_unknown_key_is_named() {
    let error = resolve("opamp_lisen = \"127.0.0.1:1\"\n", &[]).unwrap_err();
    assert!(error.contains("`opamp_lisen`"), "{error}");
    assert!(error.contains("opamp_listen"), "says what it may be: {error}");
    let error = resolve("ops_listen = \"nowhere\"\n", &[]).unwrap_err();
    assert!(error.contains("ops_listen"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    for (list, says) in [
        (&["--role", "gateway"][..], "--bus"),
        (&["--custom-capability", "echo"], "--custom-capability: \"echo\""),
        (&["--role", "control", "--bus", "nats://h"], "--store"),
        (&["--role", "all", "--bus", "nats://h"], "--store"),
        (&["--ledger", "redis://h"], "--store"),
        (&["--bus", "http://h"], "nats://"),
        (&["--store", "h:6379"], "redis://"),
        (&["--fleet", "a.b"], "--fleet"),
        (&["--bus-replicas", "0"], "--bus-replicas"),
        (&["--gateway-id", "a b"], "--gateway-id"),
        (&["--ops-listen", "0.0.0.0:1"], "--insecure-listen"),
    ] {
        let error = resolve("", list).expect_err(says);
        assert!(error.contains(says), "{list:?}: {error}");
    }
}

#[test]
fn a_cluster_says_what_each_role_needs() {
    for list in [
        &["--role", "gateway", "--bus", "nats://h"][..],
        &["--role", "control", "--bus", "nats://h", "--store", "redis://h"],
        &["--ops-listen", "0.0.0.0:1", "--insecure-listen"],
        &["--ops-listen", "0.0.0.0:1", "--insecure-listen=true"],
        &["--bus", ""],
        // A port that this role does not open is no concern.
        &["--role", "gateway", "--bus", "nats://h", "--control-listen", "0.0.0.0:1"],
    ] {
        resolve("", list).expect("works");
    }
}

#[test]
fn keys_of_secrets_come_newest_first_and_empty_ones_not_at_all() {
    let keys = |text, list| resolve(text, list).unwrap().secrets_key;
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let text = "secrets_key = [\"file\"]\n";
    assert_eq!(keys(text, &[]), paths(&["file"]));
    assert_eq!(keys(text, &["--secrets-key", "new,old"]), paths(&["new", "old"]));
    assert_eq!(keys("secrets_key = [\"\"]\n", &[]), paths(&[]));
}

#[test]
fn secrets_in_urls_are_not_repeated() {
    let error = resolve("", &["--store", "https://user:hunter2@h"]).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn agents_are_forgotten_after_an_hour_at_the_least() {
    let of = |text: &str| {
        let layer = Layer { forget_after: Some(text.to_owned()), ..Layer::default() };
        Settings::check(layer).map(|settings| settings.forget_after)
    };
    assert_eq!(of("12h").unwrap(), Some(std::time::Duration::from_secs(12 * 3600)));
    assert_eq!(of("never").unwrap(), None);
    for text in ["", "30", "59m", "-1d"] {
        assert!(of(text).unwrap_err().to_string().contains("--forget-after"), "{text}");
    }
}

#[test]
fn commands_are_kept_for_an_hour_at_the_least() {
    let of = |text: &str| {
        let layer = Layer { keep_commands: Some(text.to_owned()), ..Layer::default() };
        Settings::check(layer).map(|settings| settings.keep_commands.as_secs())
    };
    assert_eq!(of("12h").unwrap(), 12 * 3600);
    assert!(of("59m").unwrap_err().to_string().contains("--keep-commands"));
}

#[test]
fn credentials_are_good_for_an_hour_at_the_least_and_lead_to_a_url() {
    let of = |layer: Layer| Settings::check(layer).map_err(|error| error.to_string());
    let long =
        |text: &str| Layer { credential_lifetime: Some(text.to_owned()), ..Layer::default() };
    assert_eq!(of(long("30d")).unwrap().credential_lifetime.as_secs(), 30 * 86_400);
    assert!(of(long("1m")).unwrap_err().contains("--credential-lifetime"));
    let url = |text: &str| Layer { agent_url: Some(text.to_owned()), ..Layer::default() };
    assert!(of(url("muster:4320")).unwrap_err().contains("--agent-url"));
    let settings = of(url("wss://m.example/v1/opamp")).unwrap();
    assert_eq!(settings.agent_url.as_deref(), Some("wss://m.example/v1/opamp"));
    let default = of(Layer::default()).unwrap();
    assert_eq!(default.listened_url().unwrap(), "ws://127.0.0.1:4320/v1/opamp");
    let everywhere = "0.0.0.0:4320".parse().ok();
    let open = Layer { opamp_listen: everywhere, insecure_listen: Some(true), ..Layer::default() };
    assert_eq!(of(open).unwrap().listened_url(), None);
}

#[test]
fn a_door_beyond_this_machine_needs_tls_and_asks_who_comes() {
    let tls = |door: &str| {
        ["cert", "key"].map(|part| format!("--{door}-tls-{part}=/{part}.pem")).to_vec()
    };
    for (door, tokens) in [("opamp", "agent-token-file"), ("control", "operator-token-file")] {
        let listen = format!("--{door}-listen=0.0.0.0:1");
        let tokens = format!("--{tokens}=/tokens");
        let authority = format!("--{door}-client-ca=/ca.pem");
        let said = |more: &[&String]| {
            let list: Vec<&str> =
                std::iter::once(&listen).chain(more.iter().copied()).map(String::as_str).collect();
            resolve("", &list).err().unwrap_or_default()
        };
        let [cert, key] = &tls(door)[..] else { unreachable!() };
        assert_eq!(said(&[cert, key, &tokens]), "");
        assert_eq!(said(&[cert, key, &authority]), "");
        let nothing = said(&[]);
        assert!(nothing.contains(&format!("--{door}-listen 0.0.0.0:1")), "{nothing}");
        assert!(nothing.contains("-tls-cert") && nothing.contains("-token-file"), "{nothing}");
        let no_tls = said(&[&tokens]);
        assert!(no_tls.contains("-tls-cert") && !no_tls.contains("anybody"), "{no_tls}");
        let anybody = said(&[cert, key]);
        assert!(anybody.contains("anybody") && !anybody.contains("TLS is"), "{anybody}");
        assert!(said(&[cert]).contains("-tls-key"), "half of a pair");
        assert!(said(&[key, &tokens]).contains("-tls-cert"), "the other half");
        assert!(said(&[&authority, &tokens]).contains("-tls-cert"), "no TLS to ask in");
    }
    let error = resolve("", &["--ops-listen", "0.0.0.0:1"]).unwrap_err();
    assert!(error.contains("--ops-listen") && error.contains("neither TLS nor tokens"), "{error}");
}

#[test]
fn a_door_that_stands_open_is_spoken_of() {
    let notices = |list: &[&str]| {
        let settings = resolve("", list).unwrap();
        settings.doors.notices(&[("opamp", settings.opamp_listen)]).join("")
    };
    assert!(notices(&[]).contains("every user of this machine"));
    let beyond = ["--opamp-listen=0.0.0.0:1", "--insecure-listen"];
    assert!(notices(&beyond).starts_with("OPEN DOOR"));
    let tokens = "--agent-token-file=/tokens";
    assert!(notices(&[beyond[0], beyond[1], tokens]).contains("no TLS"));
    assert_eq!(notices(&[tokens]), "");
}
