//! `muster demo`: a server with a few agents of its own, in one process, to try things out.

use agent::core::ECHO;
use agent::swarm::Swarm;

use crate::cli::print;
use crate::config::{Layer, ServeArgs};
use crate::exit::Failure;
use crate::limits;
use crate::serve::{Server, Signals};

/// Flags of `muster demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Agents to start
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::DEMO_AGENTS_MAX)))]
    agents: u16,
    #[command(flatten)]
    serve: ServeArgs,
}

/// Runs until a signal. Without `--data-dir` nothing stays behind.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let settings = args.serve.resolve_over(Layer {
        data_dir: Some(scratch.path().to_owned()),
        log_level: Some("warn".to_owned()),
        ..Layer::default()
    })?;
    if settings.doors.opamp != trust::Files::default() {
        let text = "the demo's agents have no certificate and no token: leave out \
                    --opamp-tls-cert, --opamp-client-ca and --agent-token-file";
        return Err(Failure::usage(text));
    }
    let mut signals = Signals::listen()?;
    let Some(server) = Server::start_unless(&mut signals, settings).await? else {
        return Ok(());
    };
    let listening = server.listening();
    let (Some(opamp), Some(control)) = (listening.opamp_url(), listening.control_url()) else {
        return Err(Failure::usage("the demo needs every role: leave out --role"));
    };
    let _swarm = swarm(&opamp, args.agents)?;
    print(format!("{listening}{}", invitation(args.agents, &control)))?;
    server.until_told(&mut signals).await
}

/// Agents of the process itself: those of another start on the same data are the same ones.
fn swarm(opamp: &str, agents: u16) -> anyhow::Result<Vec<agent::Handle>> {
    let swarm = Swarm {
        components: true,
        agents: agents.into(),
        first: 1,
        urls: vec![opamp.to_owned()],
        heartbeat: limits::DEMO_HEARTBEAT,
        connects_per_second: 0,
        custom_capabilities: vec![ECHO.to_owned()],
        keeps_entries: false,
        trust: Default::default(),
    };
    Ok(swarm.start()?)
}

fn invitation(agents: u16, server: &str) -> String {
    let server = match server {
        "http://127.0.0.1:4321" => String::new(),
        other => format!(" --server {other}"),
    };
    format!(
        "\n{agents} agents connect. Try, in another terminal:\n\n  \
         muster agents list{server}\n  \
         echo 'receivers: {{}}' > demo.yaml\n  \
         muster config apply collector -f demo.yaml{server}\n  \
         muster assign set everyone -l '' --config collector{server}\n  \
         muster agents list{server}\n  \
         muster agents get INSTANCE_UID{server}\n  \
         muster custom send -l '*' --capability {ECHO} --type ping -d hello \
         --reply-type pong --wait{server}\n\n\
         Ctrl-C ends server and agents.\n"
    )
}
