//! Control as a value: made, served, stopped.

use std::sync::Arc;
use std::time::Duration;

use bus::Client;
use model::{Clock, Random};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use trust::{Door, Vault};

use crate::actor::Doorkeeper;
use crate::api::Api;
use crate::balance::Balancer;
use crate::commands::{Adopter, CommandWatches, Commands, Driver, Sights, Told};
use crate::components::Lists;
use crate::governor::Governor;
use crate::keeper::Keeper;
use crate::leader::{Leader, Leads};
use crate::ledger::Ledger;
use crate::processes::Processes;
use crate::reaper::Reaper;
use crate::reconcile::{Decided, Reconciler};
use crate::registrar::{self, Registrar};
use crate::roll::Rolls;
use crate::stream::Streams;
use crate::trace::Traces;
use crate::v1::agents_server::{Agents, AgentsServer};
use crate::v1::assignments_server::{Assignments, AssignmentsServer};
use crate::v1::commands_server::{Commands as CommandsService, CommandsServer};
use crate::v1::components_server::ComponentsServer;
use crate::v1::configs_server::{Configs, ConfigsServer};
use crate::v1::connection_settings_server::ConnectionSettingsServer;
use crate::v1::credentials_server::CredentialsServer;
use crate::v1::custom_messages_server::CustomMessagesServer;
use crate::v1::fleet_server::{Fleet, FleetServer};
use crate::v1::packages_server::PackagesServer;
use crate::view::{Feed, View};
use crate::watch::Watches;
use crate::{Error, Limits, incoming, v1};

/// How control is set up.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Its name, unique among the living: one of them at a time keeps house.
    pub name: String,
    /// What it allows itself and operators.
    pub limits: Limits,
    /// How long an agent may be away before it is forgotten; for ever without it.
    pub forget_after: Option<Duration>,
    /// Connections that a gateway with more than its share gives away in a second; 0 for none.
    pub shed_per_second: u32,
    /// How operators come in, and who they must be.
    pub door: Door,
    /// How long settled commands are kept; a week if not given.
    pub keep_commands: Option<Duration>,
    /// Seals what is secret before it is stored; without it that is refused.
    pub vault: Option<Arc<Vault>>,
    /// How long credentials of agents are good; 90 days if not given.
    pub credential_lifetime: Option<Duration>,
}

/// The operators' side of a fleet.
#[derive(Debug)]
pub struct Control {
    limits: Limits,
    name: String,
    forget_after: Option<Duration>,
    shed_per_second: u32,
    door: Door,
    view: Arc<View>,
    processes: Arc<Processes>,
    records: Arc<dyn Store>,
    ledger: Ledger,
    decided: Decided,
    bus: Client,
    random: Arc<dyn Random>,
    keep_commands: Duration,
    credential_lifetime: Duration,
}

impl Control {
    /// Control on this bus, these records and this ledger.
    pub fn new(
        config: Config,
        bus: Client,
        records: Arc<dyn Store>,
        ledger: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let Config { name, limits, forget_after, shed_per_second, door, .. } = config;
        let Config { keep_commands, vault, credential_lifetime, .. } = config;
        let view = Arc::new(View::new(limits, clock.clone()));
        let processes = Arc::new(Processes::new(limits, clock.clone()));
        let quarantine = Arc::default();
        let ledger = Ledger { limits, store: ledger, clock, quarantine, vault };
        Self {
            limits,
            name,
            forget_after,
            shed_per_second,
            door,
            view,
            processes,
            records,
            ledger,
            decided: Decided::new(),
            bus,
            random,
            keep_commands: keep_commands.unwrap_or(limits.command_expire_max),
            credential_lifetime: credential_lifetime.unwrap_or(registrar::LIFETIME),
        }
    }

    /// Whether the fleet is in memory.
    pub fn ready(&self) -> bool {
        self.view.ready()
    }

    /// Serves operators until told to stop, then finishes the requests in hand.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        // Stops the tasks even if this future is dropped or the port fails; the token that was
        // given belongs to somebody else.
        let stop = shutdown.child_token();
        let _stop_at_end = stop.clone().drop_guard();
        let tasks = TaskTracker::new();
        let (reporter, health) = tonic_health::server::health_reporter();
        let (commands, told) = Commands::new(self.limits);
        self.start(&tasks, &stop, &commands, told);
        tasks.spawn(report_health(reporter, self.view.clone(), stop.clone()));

        let incoming =
            incoming::accept(listener, self.door.clone(), &self.limits, &tasks, stop.clone());
        let serving = self
            .router(self.api(&tasks, &stop, commands))?
            .add_service(health)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(self.limits.stop_timeout).await;
        };
        let result = tokio::select! {
            biased;
            result = serving => result.map_err(broken),
            // Whoever holds a connection open may not hold up the end.
            () = overdue => Ok(()),
        };
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        result
    }

    /// Starts what control does without a port, and returns the services for who calls them
    /// without one. Each task stops at its next wait once `stop` is cancelled.
    pub fn work(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> impl Agents + Assignments + CommandsService + Configs + Fleet + Clone + use<> {
        let (commands, told) = Commands::new(self.limits);
        self.start(tasks, stop, &commands, told);
        self.api(tasks, stop, commands)
    }

    /// What the services work with. Watches are tasks beside the requests that started them.
    fn api(&self, tasks: &TaskTracker, stop: &CancellationToken, commands: Commands) -> Api {
        let (limits, view, bus) = (self.limits, self.view.clone(), self.bus.clone());
        let watches = Watches::new(limits, view.clone(), bus.clone(), tasks.clone(), stop.clone());
        let (records, ledger) = (self.records.clone(), self.ledger.clone());
        let processes = self.processes.clone();
        let traces = self.traces(tasks, stop);
        let (task, end) = (tasks.clone(), stop.clone());
        let command_watches =
            CommandWatches::new(limits, ledger.clone(), commands.clone(), task, end);
        Api {
            lists: Lists::new(limits, self.records.clone()),
            limits,
            view,
            processes,
            records,
            ledger,
            decided: self.decided.clone(),
            bus,
            watches,
            traces,
            door: self.door.clone(),
            name: self.name.clone(),
            random: self.random.clone(),
            commands,
            command_watches,
            credential_lifetime: self.credential_lifetime,
        }
    }

    fn traces(&self, tasks: &TaskTracker, stop: &CancellationToken) -> Traces {
        Traces {
            limits: self.limits,
            name: self.name.clone(),
            view: self.view.clone(),
            ledger: self.ledger.clone(),
            processes: self.processes.clone(),
            bus: self.bus.clone(),
            clock: self.ledger.clock.clone(),
            streams: Streams::new(Traces::bounds(&self.limits), tasks.clone(), stop.clone()),
            numbers: Arc::default(),
        }
    }

    /// Starts what works beside the services. Each stops at its next wait.
    fn start(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        commands: &Commands,
        told: mpsc::Receiver<Told>,
    ) {
        let (limits, view, bus) = (self.limits, self.view.clone(), self.bus.clone());
        let (ledger, decided, rebuilt) =
            (self.ledger.clone(), self.decided.clone(), Arc::new(Notify::new()));
        let leads = Leads::default();
        let feed = Feed {
            limits,
            view: view.clone(),
            bus: bus.clone(),
            records: self.records.clone(),
            processes: self.processes.clone(),
            leads: leads.clone(),
            rebuilt: rebuilt.clone(),
            outdated: Arc::default(),
        };
        let governor = Governor {
            limits,
            view: view.clone(),
            ledger: ledger.clone(),
            bus: bus.clone(),
            decided: decided.clone(),
        };
        let listen = self.processes.clone().listen(bus.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(listen));
        let reconciler = Reconciler { limits, view: view.clone(), ledger, bus, rebuilt, decided };
        tasks.spawn(stop.clone().run_until_cancelled_owned(feed.clone().events()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(feed.clone().generations()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(feed.presence()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(reconciler.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(governor.run()));
        let rolls = Rolls::new(limits, self.ledger.clone(), self.bus.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(rolls.run()));
        self.carry_out(tasks, stop, commands, told, leads.clone());
        self.lead(tasks, stop, leads);
        self.reseal(tasks, stop);
    }

    /// Starts what carries out commands.
    fn carry_out(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        commands: &Commands,
        told: mpsc::Receiver<Told>,
        leads: Leads,
    ) {
        let driver = Driver {
            limits: self.limits,
            name: self.name.clone(),
            ledger: self.ledger.clone(),
            bus: self.bus.clone(),
            sights: Sights { view: self.view.clone() },
            told,
            changes: commands.sender(),
        };
        let adopter = Adopter {
            limits: self.limits,
            name: self.name.clone(),
            keep: self.keep_commands,
            ledger: self.ledger.clone(),
            processes: self.processes.clone(),
            commands: commands.clone(),
            leads,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(driver.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(adopter.run()));
    }

    /// Seals anew what an older key sealed, so that the older key can be taken away. Whichever
    /// controls do it at the same time, each value is written once.
    fn reseal(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let (ledger, random) = (self.ledger.clone(), self.random.clone());
        let Some(vault) = ledger.vault.clone() else { return };
        let pause = self.limits.reconcile_interval;
        let reseal = async move {
            loop {
                let resealed = async {
                    let key = ledger.reseal_fleet_key(&*random).await?;
                    Ok::<_, Error>(ledger.reseal_settings(&*random).await? + usize::from(key))
                };
                match resealed.await {
                    Ok(0) => return,
                    Ok(sealed) => {
                        tracing::info!(sealed, key = vault.ids()[0], "secrets sealed anew");
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "secrets not sealed anew yet"),
                }
                tokio::time::sleep(pause).await;
            }
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(reseal));
    }

    /// Starts what one control at a time does.
    fn lead(&self, tasks: &TaskTracker, stop: &CancellationToken, leads: Leads) {
        let (limits, view, bus) = (self.limits, self.view.clone(), self.bus.clone());
        let leader = Leader {
            limits,
            name: self.name.clone(),
            records: self.records.clone(),
            clock: self.ledger.clock.clone(),
            leads: leads.clone(),
        };
        let keeper = Keeper {
            limits,
            forget_after: self.forget_after,
            view: view.clone(),
            ledger: self.ledger.clone(),
            bus: bus.clone(),
            leads: leads.clone(),
        };
        let reaper = Reaper { limits, view, bus: bus.clone(), leads: leads.clone() };
        let registrar = Registrar {
            limits,
            lifetime: self.credential_lifetime,
            view: self.view.clone(),
            ledger: self.ledger.clone(),
            bus: bus.clone(),
            random: self.random.clone(),
            leads: leads.clone(),
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(registrar.run()));
        let balancer = Balancer {
            limits,
            shed_per_second: self.shed_per_second,
            processes: self.processes.clone(),
            bus,
            leads,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(leader.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeper.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(reaper.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(balancer.run()));
    }

    fn router(&self, api: Api) -> Result<Router, Error> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(v1::DESCRIPTOR)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let limits = self.limits;
        let message_max = limits.config_bytes_max + (1 << 20);
        let configs = ConfigsServer::new(api.clone())
            .max_decoding_message_size(message_max)
            .max_encoding_message_size(message_max);
        let said = CustomMessagesServer::new(api.clone());
        let commands = CommandsServer::new(api.clone());
        let components = ComponentsServer::new(api.clone());
        let settings = ConnectionSettingsServer::new(api.clone());
        let credentials = CredentialsServer::new(api.clone());
        let packages = PackagesServer::new(api.clone());
        // Whether it serves is everybody's to know; all else is for operators.
        let door = Doorkeeper(self.door.clone());
        let v1 = reflection().build_v1().map_err(broken)?;
        // Older clients know no other.
        let v1alpha = reflection().build_v1alpha().map_err(broken)?;
        Ok(Server::builder()
            .timeout(limits.request_timeout)
            .max_concurrent_streams(limits.streams_max)
            .http2_keepalive_interval(Some(limits.keepalive))
            .http2_keepalive_timeout(Some(limits.keepalive))
            .add_service(InterceptedService::new(v1, door.clone()))
            .add_service(InterceptedService::new(v1alpha, door.clone()))
            .add_service(InterceptedService::new(AgentsServer::new(api.clone()), door.clone()))
            .add_service(InterceptedService::new(FleetServer::new(api.clone()), door.clone()))
            .add_service(InterceptedService::new(said, door.clone()))
            .add_service(InterceptedService::new(commands, door.clone()))
            .add_service(InterceptedService::new(components, door.clone()))
            .add_service(InterceptedService::new(configs, door.clone()))
            .add_service(InterceptedService::new(settings, door.clone()))
            .add_service(InterceptedService::new(credentials, door.clone()))
            .add_service(InterceptedService::new(packages, door.clone()))
            .add_service(InterceptedService::new(AssignmentsServer::new(api), door)))
    }
}

/// Says that the services serve once the fleet is in memory, until they stop.
async fn report_health(reporter: HealthReporter, view: Arc<View>, stop: CancellationToken) {
    let services = [
        "",
        AgentsServer::<Api>::NAME,
        ConfigsServer::<Api>::NAME,
        AssignmentsServer::<Api>::NAME,
        CustomMessagesServer::<Api>::NAME,
        CommandsServer::<Api>::NAME,
        CredentialsServer::<Api>::NAME,
        PackagesServer::<Api>::NAME,
    ];
    // It answers from the start: it is asked when something is amiss.
    reporter.set_service_status(FleetServer::<Api>::NAME, ServingStatus::Serving).await;
    let say = async |status: ServingStatus| {
        for service in services {
            reporter.set_service_status(service, status).await;
        }
    };
    say(ServingStatus::NotServing).await;
    if stop.run_until_cancelled(view.until_ready()).await.is_some() {
        say(ServingStatus::Serving).await;
        stop.cancelled().await;
    }
    say(ServingStatus::NotServing).await;
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("the operators' port: {error}"))
}
