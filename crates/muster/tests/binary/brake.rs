//! What keeps a bad decision from the whole fleet, with agents that answer for real.

use serde_json::Value;

use crate::process::{Server, stderr, wait};

const AGENTS: usize = 30;
/// What the demo's agents refuse to run.
const BAD: &str = "# muster-agent: fail\n";

fn fleet() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let agents = AGENTS.to_string();
    let server =
        Server::start(&["demo", "--agents", &agents, "--data-dir", data.to_str().unwrap()]);
    server.wait_ready();
    wait_for(&server, AGENTS, "connected", |agent| agent["status"] == "CONNECTED");
    for (name, body) in [("good", "receivers: {}\n"), ("bad", BAD)] {
        let path = dir.path().join(name);
        std::fs::write(&path, body).unwrap();
        server.ok(&["config", "apply", name, "-f", path.to_str().unwrap()]);
    }
    (server, dir)
}

fn count(server: &Server, holds: impl Fn(&Value) -> bool) -> usize {
    server.agents().iter().filter(|agent| holds(agent)).count()
}

fn wait_for(server: &Server, wanted: usize, what: &str, holds: impl Fn(&Value) -> bool) {
    wait(what, || match count(server, &holds) {
        found if found == wanted => Ok(()),
        found => Err(format!("{found} of {wanted}")),
    });
}

fn state(server: &Server) -> (String, Value) {
    let list: Value = serde_json::from_str(&server.ok(&["assign", "list", "-o", "json"])).unwrap();
    let progress = list[0]["progress"].clone();
    (progress["state"].as_str().unwrap_or_default().to_owned(), progress)
}

fn has(agent: &Value, config: &str, status: &str) -> bool {
    agent["config"]["offered"] == config && agent["config"]["status"] == status
}

#[test]
fn a_bad_config_stops_after_a_few_agents() {
    let (server, _dir) = fleet();
    let line = "assign set all -l = --config bad --max-in-flight 3 --max-failures 2 --yes";
    let words: Vec<&str> =
        line.split(' ').map(|word| if word == "=" { "" } else { word }).collect();
    let set = server.client(&words);
    assert!(set.status.success(), "{}", stderr(&set));
    assert!(stderr(&set).contains("30 agents are offered something else"), "{}", stderr(&set));
    wait("stopped", || match state(&server) {
        (state, _) if state == "STOPPED" => Ok(()),
        (state, progress) => Err(format!("{state} {progress}")),
    });
    let failed = count(&server, |agent| has(agent, "bad@1", "FAILED"));
    assert!((2..=5).contains(&failed), "{failed} agents got it");
    let offered =
        count(&server, |agent| !agent["config"]["offered"].as_str().unwrap_or("").is_empty());
    assert!(offered <= 5, "{offered} agents were offered it");
    assert!(server.ok(&["assign", "list"]).contains("STOPPED"));
    // Another config goes out to all, also to those that failed.
    server.ok(&["assign", "set", "all", "-l", "", "--config", "good", "--yes"]);
    wait_for(&server, AGENTS, "applied", |agent| has(agent, "good@1", "APPLIED"));
}

#[test]
fn offers_wait_while_they_are_held_and_a_script_must_say_yes() {
    let (server, _dir) = fleet();
    let set = ["assign", "set", "all", "-l", "", "--config", "good"];
    let refused = server.client(&set);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--yes"), "{}", stderr(&refused));
    let tried = server.ok(&[&set[..], &["--dry-run"]].concat());
    assert!(tried.contains("nothing was changed"), "{tried}");
    assert_eq!(server.ok(&["assign", "list", "-o", "name"]), "");

    server.ok(&["hold", "incident"]);
    server.ok(&[&set[..], &["--yes"]].concat());
    let listed = server.client(&["assign", "list"]);
    assert!(stderr(&listed).contains("held: incident"), "{}", stderr(&listed));
    assert_eq!(count(&server, |agent| has(agent, "good@1", "APPLIED")), 0);
    let resumed = server.ok(&["resume"]);
    assert!(resumed.contains("waiting: 30 agents"), "{resumed}");
    wait_for(&server, AGENTS, "applied", |agent| has(agent, "good@1", "APPLIED"));
}

#[test]
fn labels_select_and_last_and_the_connected_are_not_deleted() {
    let (server, dir) = fleet();
    let uid = server.agents()[0]["instance_uid"].as_str().unwrap().to_owned();
    let labelled = server.ok(&["agents", "label", &uid, "ring=canary", "env=mine"]);
    assert_eq!(labelled, "1 agent labelled\n");
    server.ok(&["assign", "set", "canary", "-l", "ring=canary", "--config", "good"]);
    wait_for(&server, 1, "applied", |agent| has(agent, "good@1", "APPLIED"));
    let refused = server.client(&["agents", "delete", &uid]);
    assert!(stderr(&refused).contains("is connected"), "{}", stderr(&refused));
    assert_eq!(refused.status.code(), Some(1));

    // With its agents the server ends; what is known of them stays, until it is deleted.
    server.signal("TERM");
    server.ended();
    let server = Server::serve(&dir.path().join("data"));
    server.wait_ready();
    let selected = || server.ok(&["agents", "list", "-l", "env=mine", "-o", "name"]);
    assert_eq!(selected().trim(), uid);
    assert_eq!(server.ok(&["agents", "delete", &uid]), "1 agent forgotten\n");
    wait("forgotten", || match selected() {
        gone if gone.is_empty() => Ok(()),
        there => Err(there),
    });
    assert_eq!(server.client(&["agents", "get", &uid]).status.code(), Some(3));
    assert_eq!(server.client(&["agents", "delete", &uid]).status.code(), Some(3));
}
