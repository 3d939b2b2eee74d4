//! What the server's words mean to the agent.

use opamp::InstanceUid;
use opamp::v1::*;

use super::{Agent, Outcome, Parts};
use crate::ledger::Entry;

impl Agent {
    /// Takes a message of the server. Returns how long to stay away, in milliseconds, if it asks
    /// for that. `now_unix_nano` is the time of day, for a restart.
    pub fn hear(&mut self, message: &ServerToAgent, now_unix_nano: u64) -> Option<u64> {
        self.ledger.received += 1;
        self.unheard = false;
        self.proof.heard(message);
        self.words.answered(message.error_response.is_some());
        if let Some(error) = &message.error_response {
            return self.refused(error);
        }
        if message.command.is_some() {
            // A command travels alone: nothing beside it counts.
            self.restart(now_unix_nano);
            return None;
        }
        if message.flags & ServerToAgentFlags::ReportFullState as u64 != 0 {
            self.ledger.full_state_requests += 1;
            self.unsent = Parts::ALL;
        }
        if message.flags & ServerToAgentFlags::ReportAvailableComponents as u64 != 0 {
            self.list_wanted = self.components.is_some();
        }
        if let Some(identification) = &message.agent_identification
            && let Ok(uid) = InstanceUid::try_from(&identification.new_instance_uid[..])
        {
            self.uid = uid;
            self.ledger.note(|| Entry::Identified(*uid.as_bytes()));
        }
        if let Some(custom) = &message.custom_capabilities {
            self.words.server_declares(custom);
        }
        if let Some(said) = &message.custom_message {
            self.told(said);
        }
        if let Some(config) = &message.remote_config {
            self.offered(config);
        }
        if let Some(offers) = &message.connection_settings {
            self.settings_offered(offers);
        }
        if let Some(offer) = &message.packages_available {
            self.packages_offered(offer);
        }
        None
    }

    /// A word that belongs to no capability of its own is not for it.
    fn told(&mut self, said: &CustomMessage) {
        if !self.words.declares(&said.capability) {
            self.ledger.foreign_messages += 1;
            return;
        }
        self.ledger.custom_messages += 1;
        self.ledger.note(|| Entry::Told(said.clone()));
        self.words.answer(said);
    }

    fn refused(&mut self, error: &ServerErrorResponse) -> Option<u64> {
        self.ledger.errors += 1;
        self.ledger.note(|| Entry::Error(error.error_message.clone()));
        if error.r#type() != ServerErrorResponseType::Unavailable {
            return None;
        }
        // Nobody knows how much of what was said is stored.
        self.unsent = Parts::ALL;
        let details = error.details.as_ref();
        let wait = details.map(|server_error_response::Details::RetryInfo(info)| {
            info.retry_after_nanoseconds / 1_000_000
        });
        Some(wait.unwrap_or(30_000))
    }

    fn restart(&mut self, now_unix_nano: u64) {
        if !opamp::capability::has(self.capabilities, AgentCapabilities::AcceptsRestartCommand) {
            return;
        }
        self.ledger.restarts += 1;
        (self.restarting, self.unheard) = (true, true);
        self.health.start_time_unix_nano = now_unix_nano;
        self.settings.restart();
        self.next_sequence_num = 0;
        self.unsent = Parts::ALL;
        self.due = true;
    }

    fn offered(&mut self, config: &AgentRemoteConfig) {
        self.ledger.offers += 1;
        self.ledger.note(|| Entry::Offered(config.config_hash.clone()));
        if !opamp::capability::has(self.capabilities, AgentCapabilities::AcceptsRemoteConfig) {
            return;
        }
        let latest = self.outcomes.back().map_or(&self.status, |outcome| &outcome.status);
        if latest.last_remote_config_hash == config.config_hash {
            // It has it, or is at it: only the answer may have been lost.
            self.ledger.repeated_offers += 1;
            self.unsent |= Parts::STATUS;
            return;
        }
        let result = (self.apply)(config);
        let hash = &config.config_hash;
        self.ledger.note(|| Entry::Applied(hash.clone(), result.clone()));
        let status = |status: RemoteConfigStatuses, error_message: String| RemoteConfigStatus {
            last_remote_config_hash: hash.clone(),
            status: status.into(),
            error_message,
        };
        let begun = status(RemoteConfigStatuses::Applying, String::new());
        let ended = match result {
            Ok(()) => Outcome {
                status: status(RemoteConfigStatuses::Applied, String::new()),
                effective: Some(EffectiveConfig { config_map: config.config.clone() }),
            },
            Err(reason) => {
                Outcome { status: status(RemoteConfigStatuses::Failed, reason), effective: None }
            }
        };
        self.outcomes.push_back(Outcome { status: begun, effective: None });
        self.outcomes.push_back(ended);
    }
}
