//! Connection settings, as operators give them.

use control::v1::apply_connection_settings_request::Settings;
use control::v1::assignments_client::AssignmentsClient;
use control::v1::connection_settings_client::ConnectionSettingsClient;
use control::v1::*;
use opamp::v1::{AgentToServer, ConnectionSettingsOffers};
use tonic::Status;

use super::{Fleet, PATIENCE};
use crate::messages::{CAPABILITIES, SETTINGS, full};

/// As with configs.
const KNOWN_IN_A_ROW: usize = 8;

impl Fleet {
    /// Stores settings of a class under a name.
    pub(crate) async fn try_settings(
        &self,
        name: &str,
        class: &str,
        settings: Settings,
    ) -> Result<ConnectionSettingsRevision, Status> {
        let request = ApplyConnectionSettingsRequest {
            name: format!("connectionSettings/{name}"),
            class: class.to_owned(),
            settings: Some(settings),
            allow_http: false,
        };
        let mut client = ConnectionSettingsClient::new(self.channel.clone());
        Ok(client.apply_connection_settings(request).await?.into_inner())
    }

    /// What is told of settings.
    pub(crate) async fn settings(&self, name: &str) -> NamedConnectionSettings {
        let request = GetConnectionSettingsRequest { name: format!("connectionSettings/{name}") };
        let mut client = ConnectionSettingsClient::new(self.channel.clone());
        client.get_connection_settings(request).await.unwrap().into_inner()
    }

    /// Stores settings of a class and assigns them to the agents of a case, beside those of other
    /// classes. Returns once every worker knows: when each new agent is offered something else
    /// than before, and the same as the others.
    pub(crate) async fn give_settings(&self, case: &str, class: &str, settings: Settings) {
        let before = self.newcomer(case).await;
        self.assign_settings(case, class, settings).await;
        let known = async {
            let mut in_a_row = 0;
            while in_a_row < KNOWN_IN_A_ROW {
                let other = self.newcomer(case).await != before;
                in_a_row = if other { in_a_row + 1 } else { 0 };
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the decision is known");
    }

    /// The same, without looking who knows.
    pub(crate) async fn assign_settings(&self, case: &str, class: &str, settings: Settings) {
        let name = format!("{case}-{}", class.replace('/', "-"));
        self.try_settings(&name, class, settings).await.unwrap();
        let assignment = Assignment {
            name: format!("assignments/{name}"),
            selector: format!("case={case}"),
            settings_revision: format!("connectionSettings/{name}"),
            ..Default::default()
        };
        let request = SetAssignmentRequest { assignment: Some(assignment), validate_only: false };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// What a new agent of a case that takes everything is offered.
    async fn newcomer(&self, case: &str) -> Option<ConnectionSettingsOffers> {
        let capabilities = CAPABILITIES | SETTINGS;
        let message = AgentToServer { capabilities, ..full(self.uid(), 0, case) };
        self.poll(&message).await.connection_settings
    }

    /// Takes an assignment of settings away.
    pub(crate) async fn take_settings_away(&self, case: &str, class: &str) {
        let name = format!("assignments/{case}-{}", class.replace('/', "-"));
        let request = DeleteAssignmentRequest { name };
        AssignmentsClient::new(self.channel.clone()).delete_assignment(request).await.unwrap();
    }
}
