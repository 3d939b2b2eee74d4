//! Roles in processes of their own, on a NATS and two Redis that only speak TLS and ask for a
//! password.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use services::{Authority, Lock, PASSWORD, USER};

use crate::cluster::poll;
use crate::process::{Server, run, stderr, wait};

/// The three services, and the flags that lead to them.
struct Locked {
    nats: services::Server,
    records: services::Server,
    ledger: services::Server,
    authority: Authority,
    password: PathBuf,
}

impl Locked {
    fn start() -> Self {
        let authority = Authority::new().unwrap();
        let lock = Lock::new(&authority).unwrap();
        let password = authority.dir().join("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        Self {
            nats: services::Server::locked_nats(&lock).unwrap(),
            records: services::Server::locked_redis(&lock).unwrap(),
            ledger: services::Server::locked_redis(&lock).unwrap(),
            authority,
            password,
        }
    }

    fn flags(&self, role: &str) -> Vec<String> {
        let mut line = ["serve", "--role", role, "--log-level", "warn"].map(str::to_owned).to_vec();
        let services = [
            ("bus", "tls", &self.nats),
            ("store", "rediss", &self.records),
            ("ledger", "rediss", &self.ledger),
        ];
        let needed = if role == "gateway" { &services[..1] } else { &services };
        for (name, scheme, server) in needed {
            let url = format!("{scheme}://{USER}@{}", server.address());
            let (ca, password) = (self.authority.file(), &self.password);
            let (ca, password) = (ca.display().to_string(), password.display().to_string());
            line.extend([format!("--{name}"), url, format!("--{name}-ca-file"), ca]);
            line.extend([format!("--{name}-password-file"), password]);
        }
        line
    }
}

#[test]
fn roles_find_each_other_inside_tls() {
    let locked = Locked::start();
    let role = |name: &str| {
        let flags = locked.flags(name);
        Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (worker, control, gateway) = (role("fleet-state"), role("control"), role("gateway"));
    for process in [&worker, &control, &gateway] {
        process.wait_ready();
    }
    poll(&gateway, [7; 16]);
    wait("listed", || match control.agents().len() {
        1 => Ok(()),
        count => Err(format!("{count} agents")),
    });
    let file = locked.authority.dir().join("config.yaml");
    std::fs::write(&file, "receivers: {}").unwrap();
    let applied = control.ok(&["config", "apply", "c", "-f", file.to_str().unwrap()]);
    assert_eq!(applied, "c@1\n", "the ledger takes it");
}

#[test]
fn a_process_that_is_not_let_in_says_why_and_ends() {
    let locked = Locked::start();
    let wrong = locked.authority.dir().join("wrong");
    std::fs::write(&wrong, "wrong-secret").unwrap();
    let wrong = wrong.display().to_string();
    let other = Authority::new().unwrap();
    let stranger = other.file().display().to_string();
    let missing = other.dir().join("missing").display().to_string();
    for (flag, value, reason) in [
        ("--bus-password-file", &wrong, "NATS refuses the user and password"),
        ("--bus-ca-file", &stranger, "not signed by the given CA"),
        ("--bus-ca-file", &missing, "No such file"),
        ("--store-password-file", &wrong, "refuses the user and password"),
        ("--store-ca-file", &stranger, "not signed by the given CA"),
        ("--ledger-password-file", &wrong, "refuses the user and password"),
        ("--ledger-ca-file", &wrong, "there is no CERTIFICATE in it"),
    ] {
        let mut flags = locked.flags("fleet-state");
        let at = flags.iter().position(|word| word == flag).unwrap();
        flags[at + 1].clone_from(value);
        flags.extend(["--ops-listen".to_owned(), "127.0.0.1:0".to_owned()]);
        let start = Instant::now();
        let output = run(&flags);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flag}: {said}");
        assert!(start.elapsed() < Duration::from_secs(10), "{flag}: {:?}", start.elapsed());
        let service = flag.trim_start_matches('-').split('-').next().unwrap();
        let last = said.lines().last().unwrap();
        assert!(last.contains(reason) && last.contains(&format!("--{service}")), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("wrong-secret"), "{said}");
    }
}
