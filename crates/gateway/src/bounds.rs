//! What an agent's message may look like. Pure. The bounds only refuse the absurd: what a real
//! agent sends stays far below them.

use opamp::Message;
use opamp::v1::{
    AgentConfigMap, AgentToServer, AnyValue, ComponentDetails, ComponentHealth, KeyValue,
    PackageStatuses, any_value,
};

use crate::Limits;

/// What is wrong with a message, said to whoever maintains the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("{what}: {count} entries, at most {max} are taken")]
    Count { what: &'static str, count: usize, max: usize },
    #[error("{what}: {bytes} bytes, at most {max} are taken")]
    Length { what: &'static str, bytes: usize, max: usize },
    #[error("{what}: nested more than {max} levels deep")]
    Depth { what: &'static str, max: usize },
}

/// Checks a decoded message.
pub(crate) fn check(message: &AgentToServer, limits: &Limits) -> Result<(), Invalid> {
    let bounds = Bounds { limits };
    bounds.sizes(message)?;
    if let Some(description) = &message.agent_description {
        let what = "agent_description.identifying_attributes";
        bounds.attributes(what, &description.identifying_attributes)?;
        let what = "agent_description.non_identifying_attributes";
        bounds.attributes(what, &description.non_identifying_attributes)?;
    }
    if let Some(health) = &message.health {
        bounds.health(health, 1)?;
        bounds.entries("health.component_health_map", descendants(health))?;
    }
    if let Some(config) = message.effective_config.as_ref() {
        bounds.files(config.config_map.as_ref())?;
    }
    if let Some(status) = &message.remote_config_status {
        let hash = &status.last_remote_config_hash;
        bounds.hash("remote_config_status.last_remote_config_hash", hash)?;
        bounds.text("remote_config_status.error_message", &status.error_message)?;
    }
    if let Some(status) = &message.connection_settings_status {
        let hash = &status.last_connection_settings_hash;
        bounds.hash("connection_settings_status.hash", hash)?;
        let text = &status.error_message;
        bounds.text("connection_settings_status.error_message", text)?;
    }
    if let Some(packages) = &message.package_statuses {
        bounds.packages(packages)?;
    }
    bounds.custom(message)?;
    if let Some(available) = &message.available_components {
        bounds.hash("available_components.hash", &available.hash)?;
        bounds.entries("available_components.components", available.components.len())?;
        for (name, details) in &available.components {
            bounds.key("available_components.components", name)?;
            bounds.component(details, 1)?;
        }
        let all = available.components.values().map(|details| 1 + parts(details)).sum();
        bounds.entries("available_components.components", all)?;
    }
    Ok(())
}

struct Bounds<'a> {
    limits: &'a Limits,
}

impl Bounds<'_> {
    /// What is stored of an agent has a size as a whole, not only piece by piece. Effective config
    /// is bounded by the message alone.
    fn sizes(&self, message: &AgentToServer) -> Result<(), Invalid> {
        let (description, inventory) =
            (self.limits.description_bytes_max, self.limits.inventory_bytes_max);
        size("agent_description", message.agent_description.as_ref(), description)?;
        size("health", message.health.as_ref(), inventory)?;
        size("package_statuses", message.package_statuses.as_ref(), inventory)?;
        size("custom_capabilities", message.custom_capabilities.as_ref(), inventory)?;
        size("available_components", message.available_components.as_ref(), inventory)
    }

    fn custom(&self, message: &AgentToServer) -> Result<(), Invalid> {
        if let Some(custom) = &message.custom_capabilities {
            let what = "custom_capabilities";
            self.entries(what, custom.capabilities.len())?;
            for capability in &custom.capabilities {
                self.key(what, capability)?;
            }
        }
        if let Some(custom) = &message.custom_message {
            self.key("custom_message.capability", &custom.capability)?;
            self.key("custom_message.type", &custom.r#type)?;
        }
        let request = message.connection_settings_request.as_ref();
        let opamp = request.and_then(|request| request.opamp.as_ref());
        if let Some(request) = opamp.and_then(|opamp| opamp.certificate_request.as_ref()) {
            let what = "connection_settings_request.opamp.certificate_request.csr";
            length(what, request.csr.len(), self.limits.text_bytes_max)?;
        }
        Ok(())
    }

    fn packages(&self, statuses: &PackageStatuses) -> Result<(), Invalid> {
        let what = "package_statuses.packages";
        self.entries(what, statuses.packages.len())?;
        let hash = &statuses.server_provided_all_packages_hash;
        self.hash("package_statuses.server_provided_all_packages_hash", hash)?;
        self.text("package_statuses.error_message", &statuses.error_message)?;
        for (name, status) in &statuses.packages {
            let keys =
                [name, &status.name, &status.agent_has_version, &status.server_offered_version];
            keys.into_iter().try_for_each(|key| self.key(what, key))?;
            self.hash(what, &status.agent_has_hash)?;
            self.hash(what, &status.server_offered_hash)?;
            self.text(what, &status.error_message)?;
        }
        Ok(())
    }

    fn files(&self, files: Option<&AgentConfigMap>) -> Result<(), Invalid> {
        let Some(files) = files else { return Ok(()) };
        let what = "effective_config.config_map";
        self.entries(what, files.config_map.len())?;
        for (name, file) in &files.config_map {
            self.key(what, name)?;
            self.key(what, &file.content_type)?;
            self.key(what, &file.role)?;
        }
        Ok(())
    }

    fn health(&self, health: &ComponentHealth, depth: usize) -> Result<(), Invalid> {
        let what = "health";
        self.depth(what, depth)?;
        self.text("health.last_error", &health.last_error)?;
        self.key("health.status", &health.status)?;
        self.attributes("health.attributes", &health.attributes)?;
        self.entries("health.component_health_map", health.component_health_map.len())?;
        for (name, component) in &health.component_health_map {
            self.key("health.component_health_map", name)?;
            self.health(component, depth + 1)?;
        }
        Ok(())
    }

    fn component(&self, details: &ComponentDetails, depth: usize) -> Result<(), Invalid> {
        let what = "available_components.components";
        self.depth(what, depth)?;
        self.attributes(what, &details.metadata)?;
        self.entries(what, details.sub_component_map.len())?;
        for (name, component) in &details.sub_component_map {
            self.key(what, name)?;
            self.component(component, depth + 1)?;
        }
        Ok(())
    }

    fn attributes(&self, what: &'static str, list: &[KeyValue]) -> Result<(), Invalid> {
        count(what, list.len(), self.limits.attributes_max)?;
        list.iter().try_for_each(|entry| self.pair(what, entry, 1))
    }

    fn pair(&self, what: &'static str, entry: &KeyValue, depth: usize) -> Result<(), Invalid> {
        self.key(what, &entry.key)?;
        let value = entry.value.as_ref();
        value.map_or(Ok(()), |value| self.value(what, value, depth))
    }

    fn value(&self, what: &'static str, value: &AnyValue, depth: usize) -> Result<(), Invalid> {
        self.depth(what, depth)?;
        match &value.value {
            Some(any_value::Value::StringValue(text)) => self.text(what, text),
            Some(any_value::Value::BytesValue(bytes)) => {
                length(what, bytes.len(), self.limits.text_bytes_max)
            }
            Some(any_value::Value::ArrayValue(array)) => {
                count(what, array.values.len(), self.limits.attributes_max)?;
                let mut values = array.values.iter();
                values.try_for_each(|value| self.value(what, value, depth + 1))
            }
            Some(any_value::Value::KvlistValue(list)) => {
                count(what, list.values.len(), self.limits.attributes_max)?;
                let mut pairs = list.values.iter();
                pairs.try_for_each(|pair| self.pair(what, pair, depth + 1))
            }
            Some(
                any_value::Value::BoolValue(_)
                | any_value::Value::IntValue(_)
                | any_value::Value::DoubleValue(_),
            )
            | None => Ok(()),
        }
    }

    fn depth(&self, what: &'static str, depth: usize) -> Result<(), Invalid> {
        let max = self.limits.depth_max;
        if depth > max {
            return Err(Invalid::Depth { what, max });
        }
        Ok(())
    }

    fn entries(&self, what: &'static str, entries: usize) -> Result<(), Invalid> {
        count(what, entries, self.limits.entries_max)
    }

    fn key(&self, what: &'static str, key: &str) -> Result<(), Invalid> {
        length(what, key.len(), self.limits.key_bytes_max)
    }

    fn text(&self, what: &'static str, text: &str) -> Result<(), Invalid> {
        length(what, text.len(), self.limits.text_bytes_max)
    }

    fn hash(&self, what: &'static str, hash: &[u8]) -> Result<(), Invalid> {
        length(what, hash.len(), self.limits.hash_bytes_max)
    }
}

/// Components below one in a health tree.
fn descendants(health: &ComponentHealth) -> usize {
    health.component_health_map.values().map(|below| 1 + descendants(below)).sum()
}

/// Components below an available one.
fn parts(details: &ComponentDetails) -> usize {
    details.sub_component_map.values().map(|below| 1 + parts(below)).sum()
}

fn size(what: &'static str, section: Option<&impl Message>, max: usize) -> Result<(), Invalid> {
    section.map_or(Ok(()), |section| length(what, section.encoded_len(), max))
}

fn count(what: &'static str, count: usize, max: usize) -> Result<(), Invalid> {
    if count > max {
        return Err(Invalid::Count { what, count, max });
    }
    Ok(())
}

fn length(what: &'static str, bytes: usize, max: usize) -> Result<(), Invalid> {
    if bytes > max {
        return Err(Invalid::Length { what, bytes, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
