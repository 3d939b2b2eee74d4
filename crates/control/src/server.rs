//! Control as a value: made, served, stopped.

use std::sync::Arc;

use bus::Client;
use model::Clock;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::api::Api;
use crate::ledger::Ledger;
use crate::reconcile::Reconciler;
use crate::v1::agents_server::AgentsServer;
use crate::v1::assignments_server::AssignmentsServer;
use crate::v1::configs_server::ConfigsServer;
use crate::view::{Feed, View};
use crate::{Error, Limits, v1};

/// How control is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    /// What it allows itself and operators.
    pub limits: Limits,
}

/// The operators' side of a fleet.
#[derive(Debug)]
pub struct Control {
    api: Api,
    rebuilt: Arc<Notify>,
}

impl Control {
    /// Control on this bus, these records and this ledger.
    pub fn new(
        config: Config,
        bus: Client,
        records: Arc<dyn Store>,
        ledger: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limits = config.limits;
        let view = Arc::new(View::new(limits, clock.clone()));
        let ledger = Ledger { limits, store: ledger, clock };
        let api = Api { limits, view, records, ledger, bus };
        Self { api, rebuilt: Arc::default() }
    }

    /// Whether the fleet is in memory.
    pub fn ready(&self) -> bool {
        self.api.view.ready()
    }

    /// Serves operators until told to stop, then finishes the requests in hand.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let tasks = TaskTracker::new();
        let Api { limits, view, records, ledger, bus } = self.api.clone();
        let rebuilt = self.rebuilt.clone();
        let feed = Feed {
            limits,
            view: view.clone(),
            bus: bus.clone(),
            records,
            rebuilt: rebuilt.clone(),
        };
        tasks.spawn(feed.clone().events(shutdown.clone()));
        tasks.spawn(feed.presence(shutdown.clone()));
        let reconciler = Reconciler { limits, view, ledger, bus, rebuilt };
        tasks.spawn(reconciler.run(shutdown.clone()));
        tasks.close();

        let result = self.grpc(listener, shutdown.clone()).await;
        shutdown.cancel();
        let _ = tokio::time::timeout(limits.stop_timeout, tasks.wait()).await;
        result
    }

    async fn grpc(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
        let broken = |error: String| Error::Unavailable(error);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| broken(error.to_string()))?;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<AgentsServer<Api>>().await;
        reporter.set_serving::<ConfigsServer<Api>>().await;
        reporter.set_serving::<AssignmentsServer<Api>>().await;
        let message_max = self.api.limits.config_bytes_max + (1 << 20);
        let configs = ConfigsServer::new(self.api.clone())
            .max_decoding_message_size(message_max)
            .max_encoding_message_size(message_max);
        let serving = Server::builder()
            .add_service(reflection)
            .add_service(health)
            .add_service(AgentsServer::new(self.api.clone()))
            .add_service(configs)
            .add_service(AssignmentsServer::new(self.api.clone()))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                shutdown.clone().cancelled_owned(),
            );
        let stop = async {
            shutdown.cancelled().await;
            tokio::time::sleep(self.api.limits.stop_timeout).await;
        };
        tokio::select! {
            biased;
            result = serving => result.map_err(|error| broken(error.to_string())),
            // Whoever holds a connection open may not hold up the end.
            () = stop => Ok(()),
        }
    }
}
