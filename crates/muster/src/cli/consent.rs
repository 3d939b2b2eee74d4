//! What a change does to agents, said before it is done, and whether to go on with it.

use std::io::{BufRead as _, IsTerminal as _};

use control::v1::Impact;
use control::v1::impact::{DeletedPackage, Kind};

use super::output::note;
use crate::exit::Failure;

/// Kinds of agents named before "and others".
const KINDS_SHOWN: usize = 5;

/// How much may be done without asking.
#[derive(Debug, clap::Args)]
pub(super) struct Consent {
    /// Do not ask, however many agents change
    #[arg(short, long)]
    yes: bool,
    /// Ask if more agents than this change
    #[arg(long, value_name = "N", default_value_t = 10, env = "MUSTER_ASK_ABOVE")]
    ask_above: u64,
}

impl Consent {
    /// Says what will happen to agents, and stops here if whoever typed the command does not want
    /// it. A script cannot be asked: it says `--yes` beforehand.
    pub(super) fn ask(&self, agents: i64, what: &str) -> anyhow::Result<()> {
        note(what);
        if self.yes || u64::try_from(agents).unwrap_or(0) <= self.ask_above {
            return Ok(());
        }
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            let above = self.ask_above;
            let text = format!("{agents} agents, more than {above}: --yes does it without asking");
            return Err(Failure::usage(text));
        }
        note("Go on? [y/N]");
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(crate::exit::Code::Error, "nothing was changed").into()),
        }
    }
}

/// An impact in a sentence: how many agents, which kinds, how many of them are away.
pub(super) fn sentence(impact: &Impact) -> String {
    let agents = match impact.agents {
        0 => "no agent is offered anything else".to_owned(),
        1 => "1 agent is offered something else".to_owned(),
        many => format!("{} are offered something else", agents(many)),
    };
    agents + &kinds(impact) + &packages(impact)
}

/// What becomes of agents' packages, where anything does.
fn packages(impact: &Impact) -> String {
    let deleted = impact.deleted_packages.iter().take(KINDS_SHOWN);
    let one = |it: &DeletedPackage| format!("{:?} at {}", it.package, agents(it.agents));
    let deleted = deleted.map(one).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    if !deleted.is_empty() {
        text += &format!("; packages that are deleted: {deleted}");
    }
    if impact.incomplete_agents > 0 {
        let agents = agents(impact.incomplete_agents);
        text += &format!("; {agents} are left out: a package has no variant for them");
    }
    text
}

/// Which kinds of agents, and how many of them are away; to follow what happens to them.
pub(super) fn kinds(impact: &Impact) -> String {
    let mut kinds: Vec<String> = impact.kinds.iter().take(KINDS_SHOWN).map(kind).collect();
    if impact.kinds.len() > KINDS_SHOWN {
        let shown: i64 = impact.kinds.iter().take(KINDS_SHOWN).map(|kind| kind.agents).sum();
        kinds.push(format!("{} others", impact.agents - shown));
    }
    let away = match impact.disconnected_agents {
        0 => String::new(),
        away => format!("; {away} of them once they are connected"),
    };
    let colon = if kinds.is_empty() { "" } else { ": " };
    format!("{colon}{}{away}", kinds.join(", "))
}

/// So many agents, in words.
pub(super) fn agents(count: i64) -> String {
    if count == 1 { "1 agent".to_owned() } else { format!("{count} agents") }
}

fn kind(kind: &Kind) -> String {
    let name = if kind.service_name.is_empty() { "unnamed" } else { &kind.service_name };
    let text = format!("{} {name} {}", kind.agents, kind.service_version);
    // What agents say must not steer a terminal.
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(agents: &[(&str, &str, i64)]) -> Impact {
        let kind = |(name, version, agents): &(&str, &str, i64)| Kind {
            service_name: (*name).to_owned(),
            service_version: (*version).to_owned(),
            agents: *agents,
        };
        Impact {
            agents: agents.iter().map(|(.., n)| n).sum(),
            kinds: agents.iter().map(kind).collect(),
            ..Impact::default()
        }
    }

    #[test]
    fn an_impact_reads_as_a_sentence() {
        assert_eq!(sentence(&Impact::default()), "no agent is offered anything else");
        let mut impact = kinds(&[("otelcol", "0.98", 40), ("", "", 2)]);
        impact.disconnected_agents = 3;
        assert_eq!(
            sentence(&impact),
            "42 agents are offered something else: 40 otelcol 0.98, 2 unnamed; \
             3 of them once they are connected"
        );
        let many = kinds(&[
            ("a", "", 7),
            ("b", "", 6),
            ("c", "", 5),
            ("d", "", 4),
            ("e", "", 3),
            ("f", "", 2),
            ("g", "", 1),
        ]);
        assert!(sentence(&many).ends_with("3 e, 3 others"), "{}", sentence(&many));
    }

    #[test]
    fn few_agents_need_no_consent_and_scripts_must_give_it() {
        let consent = Consent { yes: false, ask_above: 10 };
        consent.ask(10, "ten").unwrap();
        // Tests have no terminal.
        if !std::io::stdin().is_terminal() {
            assert!(consent.ask(11, "eleven").unwrap_err().to_string().contains("--yes"));
        }
        Consent { yes: true, ask_above: 0 }.ask(11, "eleven").unwrap();
    }
}
