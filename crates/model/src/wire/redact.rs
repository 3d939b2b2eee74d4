//! Every field of every message: shown, masked or replaced. Each message is taken apart by name,
//! so that a field that is new in the schema has to be judged here before this compiles.

use std::collections::BTreeMap;

use opamp::v1::any_value::Value as Any;
use opamp::v1::server_error_response::Details;
use opamp::v1::*;
use sha2::{Digest as _, Sha256};

use super::{Bodies, REDACTED, hex, text};

/// Bytes shown of a custom message's data.
const DATA_BYTES_MAX: usize = 4 << 10;

/// Redacts a message of an agent.
pub(super) fn from_agent(message: &mut AgentToServer, bodies: Bodies) {
    let AgentToServer {
        instance_uid: _,
        sequence_num: _,
        agent_description,
        capabilities: _,
        health: root,
        effective_config,
        remote_config_status,
        package_statuses,
        agent_disconnect: _,
        flags: _,
        connection_settings_request,
        custom_capabilities: capabilities,
        custom_message: custom,
        available_components,
        connection_settings_status,
    } = message;
    if let Some(AgentDescription { identifying_attributes, non_identifying_attributes }) =
        agent_description
    {
        attributes(identifying_attributes);
        attributes(non_identifying_attributes);
    }
    root.iter_mut().for_each(health);
    if let Some(EffectiveConfig { config_map }) = effective_config {
        files(config_map, bodies);
    }
    if let Some(status) = remote_config_status {
        let RemoteConfigStatus { last_remote_config_hash: _, status: _, error_message } = status;
        said(error_message);
    }
    package_statuses.iter_mut().for_each(statuses);
    if let Some(ConnectionSettingsRequest { opamp: Some(asked) }) = connection_settings_request {
        let OpAmpConnectionSettingsRequest { certificate_request } = asked;
        if let Some(CertificateRequest { csr }) = certificate_request {
            measured(csr);
        }
    }
    capabilities.iter_mut().for_each(custom_capabilities);
    custom.iter_mut().for_each(|custom| custom_message(custom, bodies));
    if let Some(AvailableComponents { components: all, hash: _ }) = available_components {
        components(all);
    }
    connection_settings_status.iter_mut().for_each(settings_status);
}

fn settings_status(whole: &mut ConnectionSettingsStatus) {
    let ConnectionSettingsStatus { last_connection_settings_hash: _, status: _, error_message } =
        whole;
    said(error_message);
}

/// Redacts a message to an agent.
pub(super) fn to_agent(message: &mut ServerToAgent, bodies: Bodies) {
    let ServerToAgent {
        instance_uid: _,
        error_response,
        remote_config,
        connection_settings,
        packages_available,
        flags: _,
        capabilities: _,
        agent_identification,
        command,
        custom_capabilities: capabilities,
        custom_message: custom,
    } = message;
    if let Some(ServerErrorResponse { r#type: _, error_message, details }) = error_response {
        said(error_message);
        if let Some(Details::RetryInfo(RetryInfo { retry_after_nanoseconds: _ })) = details {}
    }
    if let Some(AgentRemoteConfig { config, config_hash: _ }) = remote_config {
        files(config, bodies);
    }
    connection_settings.iter_mut().for_each(offers);
    packages_available.iter_mut().for_each(packages);
    if let Some(AgentIdentification { new_instance_uid: _ }) = agent_identification {}
    if let Some(ServerToAgentCommand { r#type: _ }) = command {}
    capabilities.iter_mut().for_each(custom_capabilities);
    custom.iter_mut().for_each(|custom| custom_message(custom, bodies));
}

/// Redacts connection settings.
pub(super) fn offers(offers: &mut ConnectionSettingsOffers) {
    let ConnectionSettingsOffers {
        hash: _,
        opamp,
        own_metrics,
        own_traces,
        own_logs,
        other_connections,
    } = offers;
    if let Some(settings) = opamp {
        let OpAmpConnectionSettings {
            destination_endpoint,
            headers,
            certificate,
            heartbeat_interval_seconds: _,
            tls,
            proxy,
        } = settings;
        connection(destination_endpoint, headers, certificate, tls, proxy);
    }
    for settings in [own_metrics, own_traces, own_logs].into_iter().flatten() {
        let TelemetryConnectionSettings { destination_endpoint, headers, certificate, tls, proxy } =
            settings;
        connection(destination_endpoint, headers, certificate, tls, proxy);
    }
    keys(other_connections);
    for settings in other_connections.values_mut() {
        let OtherConnectionSettings {
            destination_endpoint,
            headers,
            certificate,
            other_settings,
            tls,
            proxy,
        } = settings;
        connection(destination_endpoint, headers, certificate, tls, proxy);
        keys(other_settings);
        other_settings.values_mut().for_each(secret);
    }
}

fn connection(
    destination_endpoint: &mut String,
    headers: &mut Option<Headers>,
    certificate: &mut Option<TlsCertificate>,
    tls: &mut Option<TlsConnectionSettings>,
    proxy: &mut Option<ProxyConnectionSettings>,
) {
    said(destination_endpoint);
    headers.iter_mut().for_each(masked_headers);
    if let Some(TlsCertificate { cert, private_key, ca_cert }) = certificate {
        // People put the key into the file of the certificate.
        measured(cert);
        measured(ca_cert);
        if !private_key.is_empty() {
            *private_key = REDACTED.into();
        }
    }
    if let Some(settings) = tls {
        let TlsConnectionSettings {
            ca_pem_contents,
            include_system_ca_certs_pool: _,
            insecure_skip_verify: _,
            min_version,
            max_version,
            cipher_suites,
        } = settings;
        let mut pem = std::mem::take(ca_pem_contents).into_bytes();
        measured(&mut pem);
        *ca_pem_contents = String::from_utf8_lossy(&pem).into_owned();
        said(min_version);
        said(max_version);
        cipher_suites.iter_mut().for_each(said);
    }
    if let Some(ProxyConnectionSettings { url, connect_headers }) = proxy {
        said(url);
        connect_headers.iter_mut().for_each(masked_headers);
    }
}

fn packages(available: &mut PackagesAvailable) {
    let PackagesAvailable { packages, all_packages_hash: _ } = available;
    keys(packages);
    for package in packages.values_mut() {
        let PackageAvailable { r#type: _, version, file, hash: _ } = package;
        said(version);
        if let Some(file) = file {
            let DownloadableFile { download_url, content_hash: _, signature: _, headers } = file;
            said(download_url);
            headers.iter_mut().for_each(masked_headers);
        }
    }
}

fn statuses(statuses: &mut PackageStatuses) {
    let PackageStatuses { packages, server_provided_all_packages_hash: _, error_message } =
        statuses;
    said(error_message);
    keys(packages);
    for package in packages.values_mut() {
        let PackageStatus {
            name,
            agent_has_version,
            agent_has_hash: _,
            server_offered_version,
            server_offered_hash: _,
            status: _,
            error_message,
            download_details,
        } = package;
        [name, agent_has_version, server_offered_version, error_message].into_iter().for_each(said);
        if let Some(details) = download_details {
            let PackageDownloadDetails { download_percent: _, download_bytes_per_second: _ } =
                details;
        }
    }
}

fn health(root: &mut ComponentHealth) {
    let ComponentHealth {
        healthy: _,
        start_time_unix_nano: _,
        last_error,
        status,
        status_time_unix_nano: _,
        component_health_map,
        attributes: own,
    } = root;
    said(last_error);
    said(status);
    attributes(own);
    keys(component_health_map);
    component_health_map.values_mut().for_each(health);
}

fn components(all: &mut BTreeMap<String, ComponentDetails>) {
    keys(all);
    for ComponentDetails { metadata, sub_component_map } in all.values_mut() {
        attributes(metadata);
        components(sub_component_map);
    }
}

fn attributes(list: &mut [KeyValue]) {
    for KeyValue { key, value } in list {
        let is_secret = text::names_a_secret(key);
        said(key);
        if let Some(value) = value {
            if is_secret {
                value.value = Some(Any::StringValue(REDACTED.to_owned()));
            } else {
                any(value);
            }
        }
    }
}

fn any(value: &mut AnyValue) {
    let AnyValue { value } = value;
    match value {
        Some(Any::StringValue(text)) => said(text),
        Some(Any::ArrayValue(ArrayValue { values })) => values.iter_mut().for_each(any),
        Some(Any::KvlistValue(KeyValueList { values })) => attributes(values),
        Some(Any::BytesValue(bytes)) => {
            *value = Some(Any::StringValue(format!("[{} bytes]", bytes.len())));
        }
        Some(Any::BoolValue(_) | Any::IntValue(_) | Any::DoubleValue(_)) | None => {}
    }
}

fn files(map: &mut Option<AgentConfigMap>, bodies: Bodies) {
    let Some(AgentConfigMap { config_map }) = map else { return };
    keys(config_map);
    for AgentConfigFile { body, content_type, role } in config_map.values_mut() {
        said(content_type);
        said(role);
        if body.is_empty() {
            continue;
        }
        *body = match std::str::from_utf8(body) {
            Ok(shown) if bodies == Bodies::Shown => text::mask(shown).into(),
            _ => {
                let mut whole = body.to_vec();
                measured(&mut whole);
                whole.into()
            }
        };
    }
}

fn custom_capabilities(list: &mut CustomCapabilities) {
    let CustomCapabilities { capabilities } = list;
    capabilities.iter_mut().for_each(said);
}

fn custom_message(message: &mut CustomMessage, bodies: Bodies) {
    let CustomMessage { capability, r#type, data } = message;
    said(capability);
    said(r#type);
    if data.is_empty() {
        return;
    }
    *data = match (bodies, std::str::from_utf8(data)) {
        (Bodies::Hidden, _) => format!("[{} bytes]", data.len()).into_bytes(),
        (Bodies::Shown, Ok(shown)) => {
            let mut masked = text::mask(shown);
            masked.truncate(masked.floor_char_boundary(DATA_BYTES_MAX));
            masked.into_bytes()
        }
        (Bodies::Shown, Err(_)) => {
            data.truncate(DATA_BYTES_MAX);
            return;
        }
    };
}

fn masked_headers(headers: &mut Headers) {
    let Headers { headers } = headers;
    for Header { key, value } in headers {
        said(key);
        secret(value);
    }
}

fn secret(value: &mut String) {
    if !value.is_empty() {
        REDACTED.clone_into(value);
    }
}

/// Anybody's words.
fn said(words: &mut String) {
    if !words.is_empty() {
        *words = text::mask(words);
    }
}

/// Names that agents and operators give.
fn keys<T>(map: &mut BTreeMap<String, T>) {
    let named = std::mem::take(map).into_iter();
    *map = named.map(|(key, value)| (text::mask(&key), value)).collect();
}

/// In place of content: what shows whether it is the same as another.
fn measured(content: &mut Vec<u8>) {
    if !content.is_empty() {
        let hash = hex(&Sha256::digest(&content));
        *content = format!("[{} bytes, sha256 {hash}]", content.len()).into_bytes();
    }
}
