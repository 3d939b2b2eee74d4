//! The command line: what can be typed, and who does it. Words and help texts live here, the
//! work in the modules; nothing here knows how the server is built.

mod agents;
mod assignments;
mod backup;
mod call;
mod commands;
mod completion;
mod components;
mod config_check;
mod configs;
mod consent;
mod context;
mod contexts;
mod credentials;
mod custom;
mod enrollment;
mod files;
mod following;
mod gateways;
mod help;
mod json;
mod names;
mod offers;
mod output;
mod package_sets;
mod packages;
mod restore;
mod settings;
mod status;
mod target;
mod time;
mod yaml;

use clap::{Parser, Subcommand};
pub(crate) use output::print;

use crate::config::ServeArgs;
use crate::{demo, limits, serve};

/// One place to see and configure a fleet of OpAMP agents.
#[derive(Debug, Parser)]
#[command(name = "muster", version, max_term_width = 100, after_help = help::EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: every role in one process, or one role of a cluster
    ///
    /// Without flags it is a whole control plane on this machine that needs no other service. It
    /// prints where it listens, and ends when it is interrupted or told to (SIGTERM), after its
    /// agents were sent elsewhere. A second signal ends it at once.
    #[command(after_help = help::SERVE)]
    Serve(Box<ServeArgs>),
    /// Check what `serve` would run with, and show where each setting comes from
    ///
    /// Takes the flags of `muster serve`. Ends with 2 if the server would not start: a setting
    /// that cannot be, settings that do not go together, a file that cannot be read. Asks nobody
    /// on the network. Passwords are masked.
    #[command(after_help = help::CONFIG_CHECK)]
    ConfigCheck(Box<config_check::Args>),
    /// Run a server with a few agents of its own, to try things out
    #[command(after_help = help::DEMO)]
    Demo(Box<demo::Args>),
    /// See the agents of the fleet
    ///
    /// What agents reported, whether they can be reached, and how they stand with the config that
    /// they are offered.
    Agents(agents::Args),
    /// Keep configs for agents, as numbered revisions
    ///
    /// A config is a named set of files. Applying other files adds a revision, which never
    /// changes again. No agent gets a config that is not assigned: see `muster assign`.
    Config(configs::Args),
    /// Keep connection settings for agents, with their secrets, as numbered revisions
    ///
    /// Where agents send their own telemetry, how they connect to this server or another one, and
    /// what else they connect to. No agent gets settings that are not assigned.
    Settings(settings::Args),
    /// Keep versions of packages for agents
    ///
    /// What there is to install: files for each kind of agent, by where they are and their SHA-256.
    Packages(packages::Args),
    /// Keep sets of packages, as numbered revisions
    ///
    /// A set is all that an agent is to have. No agent gets a set that is not assigned.
    PackageSets(package_sets::Args),
    /// Make and revoke the tokens that agents show the first time they come
    ///
    /// A token is shown once, when it is made.
    EnrollmentTokens(enrollment::Args),
    /// See and decide which agents have credentials of their own
    ///
    /// An agent that comes with an enrollment token is given one over its connection, or waits
    /// for an operator.
    Credentials(credentials::Args),
    /// Decide which agents run which config
    ///
    /// An assignment gives the agents that a selector selects one revision of a config. Where
    /// several select an agent, the highest priority wins.
    Assign(assignments::Args),
    /// See what agents say in custom messages
    ///
    /// Custom capabilities are agreed on by an agent and whoever knows it; Muster carries their
    /// messages and does not look into them.
    Custom(custom::Args),
    /// Restart agents
    ///
    /// Only agents that say that they can be restarted. Each is told once at most: what may have
    /// been sent is never sent again, and the command says what is known of it.
    #[command(after_help = help::RESTART)]
    Restart(commands::give::Args),
    /// Have agents report their full state
    #[command(after_help = help::REFRESH)]
    Refresh(commands::give::Args),
    /// Close the connections of agents; they come back by themselves
    #[command(after_help = help::DISCONNECT)]
    Disconnect(commands::give::Args),
    /// Have an agent go by another instance uid, with the labels it has
    #[command(after_help = help::REIDENTIFY)]
    Reidentify(commands::give::OneArgs),
    /// See what became of commands
    ///
    /// QUEUED waits, ROUTED is on its way, SENT is on the agent's socket, DELIVERED has a proof,
    /// CONFIRMED had its effect. REFUSED, EXPIRED and CANCELLED were not sent. UNKNOWN may have
    /// been: the reason names what was lost.
    Commands(commands::Args),
    /// Show how the control plane itself is doing
    ///
    /// Processes and their roles, gateways and their sessions, whether the bus and the stores
    /// answer, and how far the control that is asked lags behind. A process that fell silent is
    /// shown as SILENT for ten minutes.
    #[command(after_help = help::STATUS)]
    Status(status::Args),
    /// See what agents are made of
    Components(components::Args),
    /// See the gateways that agents connect to
    Gateways(gateways::Args),
    /// Copy configs, assignments and labels into one file
    ///
    /// Everything that operators decided: configs with all their revisions and files, assignments
    /// and how far they are, the hold, labels. What agents reported is not in it: they report it
    /// again. A Redis ledger is read while its servers run; a data directory belongs to its server
    /// while that runs. The file is read back and checked before it takes its name. Configs may
    /// hold secrets, so only its owner may read it.
    #[command(after_help = help::BACKUP)]
    Backup(backup::Args),
    /// Put a backup back, after the ledger was lost
    ///
    /// The file is checked from end to end first: a damaged one changes nothing. The decision is
    /// given a number above all that agents know of, so that they take what is decided afterwards
    /// for newer. If agents know of newer decisions than the backup does, offers are put on hold:
    /// look at what would change, then `muster resume`. What was written is compared with the file.
    #[command(after_help = help::RESTORE)]
    Restore(restore::Args),
    /// Keep servers under names
    ///
    /// A context holds what the connection flags would say: server, token file, certificates. The
    /// one in use is taken where the flags and the environment are silent.
    Context(context::Args),
    /// Print a script that completes this command line in a shell
    #[command(after_help = help::COMPLETION)]
    Completion(completion::Args),
    /// Stop all offers to all agents, at once
    ///
    /// Agents that have an offer already go on with it; nobody else gets one, whatever is decided,
    /// until offers are resumed.
    #[command(after_help = help::HOLD)]
    Hold(offers::HoldArgs),
    /// Let offers out again
    #[command(after_help = help::RESUME)]
    Resume(offers::ResumeArgs),
}

/// Where the server is and how its answers are shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection and output")]
struct Client {
    #[command(flatten)]
    target: target::Target,
    /// How answers are shown
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: output::Format,
    /// Seconds that the whole command may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = limits::CALL_SECS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Does what was typed.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(args.resolve()?).await,
        Command::ConfigCheck(args) => config_check::run(*args),
        Command::Demo(args) => demo::run(*args).await,
        Command::Agents(args) => agents::run(args).await,
        Command::Config(args) => configs::run(args).await,
        Command::Settings(args) => settings::run(args).await,
        Command::Assign(args) => assignments::run(args).await,
        Command::Packages(args) => packages::run(args).await,
        Command::PackageSets(args) => package_sets::run(args).await,
        Command::EnrollmentTokens(args) => enrollment::run(args).await,
        Command::Credentials(args) => credentials::run(args).await,
        Command::Custom(args) => custom::run(args).await,
        Command::Restart(args) => commands::give::restart(args).await,
        Command::Refresh(args) => commands::give::refresh(args).await,
        Command::Disconnect(args) => commands::give::disconnect(args).await,
        Command::Reidentify(args) => commands::give::reidentify(args).await,
        Command::Commands(args) => commands::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Components(args) => components::run(args).await,
        Command::Gateways(args) => gateways::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Context(args) => context::run(args),
        Command::Completion(args) => completion::run(&args),
        Command::Hold(args) => offers::hold(args).await,
        Command::Resume(args) => offers::resume(args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn client_flags_stand_on_either_side_of_the_verb() {
        for line in [
            "muster agents --server http://h:1 list -o json -l env=prod",
            "muster agents list -o json --server http://h:1 --timeout 3",
            "muster agents get 018bcfe5-6800-7007-8707-070707070707",
            "muster agents watch -l env=prod -o json --from 1.2.3",
            "muster config apply collector -f a.yaml -f b=b.json",
            "muster assign set all -l app=x --config collector@3 --priority -1",
            "muster agents label -l env=dev canary=yes old- --yes",
            "muster restart -l env=prod --wait --yes -o json",
            "muster commands list --open --state unknown",
            "muster hold incident -o json",
            "muster demo --agents 3 --opamp-listen 127.0.0.1:0",
            "muster serve --role gateway --role control --bus nats://h --log json",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
        for line in ["muster", "muster agents list -o xml", "muster assign set x --config c"] {
            Cli::try_parse_from(line.split(' ')).expect_err(line);
        }
    }
}
