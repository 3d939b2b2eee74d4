//! What is said where, and what wins.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    target: Target,
}

struct Home(tempfile::TempDir);

impl Home {
    fn new(contexts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("contexts"), contexts).unwrap();
        std::fs::write(dir.path().join("token"), "0123456789abcdef\n").unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn resolve(&self, flags: &[&str]) -> anyhow::Result<Resolved> {
        let contexts = self.path("contexts");
        let line = ["muster", "--contexts", &contexts].into_iter().chain(flags.iter().copied());
        Line::parse_from(line).target.resolve()
    }

    fn refused(&self, flags: &[&str]) -> String {
        format!("{:#}", self.resolve(flags).unwrap_err())
    }
}

const TWO: &str = r#"
current = "one"
[contexts.one]
server = "http://127.0.0.1:1"
[contexts.two]
server = "http://127.0.0.2:2"
"#;

#[test]
fn flags_win_over_the_context_and_the_context_over_the_default() {
    let home = Home::new(TWO);
    assert_eq!(home.resolve(&[]).unwrap().server, "http://127.0.0.1:1");
    assert_eq!(home.resolve(&["--context", "two"]).unwrap().server, "http://127.0.0.2:2");
    let flag = home.resolve(&["--context", "two", "--server", "h:3"]).unwrap();
    assert_eq!(flag.server, "http://h:3");
    assert!(home.refused(&["--context", "three"]).contains("\"three\""));
    assert_eq!(Home::new("").resolve(&[]).unwrap().server, DEFAULT_SERVER);
}

#[test]
fn a_token_is_shown_where_nobody_can_read_it() {
    let home = Home::new("");
    let token = home.path("token");
    let with = |server: &str| home.resolve(&["--token-file", &token, "--server", server]);
    assert_eq!(with("http://localhost:1").unwrap().token.as_deref(), Some("0123456789abcdef"));
    assert_eq!(with("http://[::1]:1").unwrap().token.as_deref(), Some("0123456789abcdef"));
    let error = format!("{:#}", with("http://muster.example:1").unwrap_err());
    assert!(error.contains("https://") && !error.contains("0123456789"), "{error}");
}

#[test]
fn what_cannot_work_is_said_beforehand() {
    let home = Home::new("");
    let token = home.path("token");
    assert!(home.refused(&["--token-file", "/nowhere"]).starts_with("--token-file /nowhere: "));
    assert!(home.refused(&["--ca-file", &token]).contains("https://"));
    let alone = ["--server", "https://h", "--cert-file", &token];
    assert!(home.refused(&alone).contains("belong together"));
    assert!(home.refused(&["--server", "http://"]).contains("--server"));
}
