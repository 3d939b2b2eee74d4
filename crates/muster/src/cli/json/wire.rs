//! Messages of OpAMP as JSON: what is set in them, under its own name. Flags and capabilities are
//! names, hashes hex, uids UUIDs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opamp::InstanceUid;
use opamp::v1::server_error_response::Details;
use opamp::v1::*;
use serde_json::{Map, Value, json};

use super::{DEPTH_MAX, attributes, components, files, health, hex};

/// A message of an agent.
pub(crate) fn from_agent(message: &AgentToServer) -> Value {
    let AgentToServer { sequence_num, capabilities, flags, .. } = message;
    let description = message.agent_description.as_ref();
    let config = message.effective_config.as_ref().map(|config| self::config(&config.config_map));
    let flag = |bit| name(AgentToServerFlags::try_from(bit).ok()?.as_str_name());
    set([
        ("instance_uid", uid(&message.instance_uid)),
        ("sequence_num", (*sequence_num).into()),
        ("agent_description", description.map(description_of).into()),
        ("capabilities", bits(*capabilities, capability)),
        ("health", message.health.as_ref().map(|root| pruned(health(root, DEPTH_MAX))).into()),
        ("effective_config", config.into()),
        (
            "remote_config_status",
            message
                .remote_config_status
                .as_ref()
                .map(|status| {
                    set([
                        ("hash", hex(&status.last_remote_config_hash).into()),
                        ("status", name(status.status().as_str_name()).into()),
                        ("error", text(&status.error_message)),
                    ])
                })
                .into(),
        ),
        ("package_statuses", message.package_statuses.as_ref().map(statuses).into()),
        ("agent_disconnect", message.agent_disconnect.as_ref().map(|_| true).into()),
        ("flags", bits(*flags, flag)),
        ("connection_settings_request", request(message)),
        ("custom_capabilities", capabilities_of(message.custom_capabilities.as_ref())),
        ("custom_message", message.custom_message.as_ref().map(custom).into()),
        (
            "available_components",
            message
                .available_components
                .as_ref()
                .map(|available| {
                    set([
                        ("hash", hex(&available.hash).into()),
                        ("components", components(&available.components, DEPTH_MAX)),
                    ])
                })
                .into(),
        ),
        (
            "connection_settings_status",
            message
                .connection_settings_status
                .as_ref()
                .map(|status| {
                    set([
                        ("hash", hex(&status.last_connection_settings_hash).into()),
                        ("status", name(status.status().as_str_name()).into()),
                        ("error", text(&status.error_message)),
                    ])
                })
                .into(),
        ),
    ])
}

/// A message to an agent.
pub(crate) fn to_agent(message: &ServerToAgent) -> Value {
    let config = message.remote_config.as_ref();
    let flag = |bit| name(ServerToAgentFlags::try_from(bit).ok()?.as_str_name());
    let capability = |bit| name(ServerCapabilities::try_from(bit).ok()?.as_str_name());
    let identification = message.agent_identification.as_ref();
    set([
        ("instance_uid", uid(&message.instance_uid)),
        ("error_response", message.error_response.as_ref().map(error).into()),
        (
            "remote_config",
            config
                .map(|config| {
                    set([
                        ("hash", hex(&config.config_hash).into()),
                        ("files", self::config(&config.config)),
                    ])
                })
                .into(),
        ),
        ("connection_settings", message.connection_settings.as_ref().map(offers).into()),
        ("packages_available", message.packages_available.as_ref().map(packages).into()),
        ("flags", bits(message.flags, flag)),
        ("capabilities", bits(message.capabilities, capability)),
        (
            "agent_identification",
            identification
                .map(|identification| {
                    set([("new_instance_uid", uid(&identification.new_instance_uid))])
                })
                .into(),
        ),
        (
            "command",
            message
                .command
                .as_ref()
                .map(|command| set([("type", name(command.r#type().as_str_name()).into())]))
                .into(),
        ),
        ("custom_capabilities", capabilities_of(message.custom_capabilities.as_ref())),
        ("custom_message", message.custom_message.as_ref().map(custom).into()),
    ])
}

/// Members that say something.
fn set<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !is_empty(value));
    Value::Object(members.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The same, of what was made elsewhere.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| (key, pruned(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        value => value,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn description_of(description: &AgentDescription) -> Value {
    set([
        ("identifying_attributes", attributes(&description.identifying_attributes)),
        ("non_identifying_attributes", attributes(&description.non_identifying_attributes)),
    ])
}

fn config(map: &Option<AgentConfigMap>) -> Value {
    pruned(map.as_ref().map(|map| files(&map.config_map)).into())
}

fn request(message: &AgentToServer) -> Value {
    let asked = message.connection_settings_request.as_ref();
    asked
        .map(|asked| {
            let certificate =
                asked.opamp.as_ref().and_then(|asked| asked.certificate_request.as_ref());
            set([("csr", certificate.map(|certificate| bytes(&certificate.csr)).into())])
        })
        .into()
}

fn capabilities_of(list: Option<&CustomCapabilities>) -> Value {
    list.map(|list| list.capabilities.clone()).into()
}

fn custom(message: &CustomMessage) -> Value {
    let (shown, raw) = match std::str::from_utf8(&message.data) {
        Ok(shown) => (text(shown), Value::Null),
        Err(_) => (Value::Null, BASE64_STANDARD.encode(&message.data).into()),
    };
    set([
        ("capability", text(&message.capability)),
        ("type", text(&message.r#type)),
        ("data", shown),
        ("data_base64", raw),
    ])
}

fn statuses(statuses: &PackageStatuses) -> Value {
    let package = |(name, package): (&String, &PackageStatus)| {
        let details = package.download_details.as_ref();
        let value = set([
            ("status", self::name(package.status().as_str_name()).into()),
            ("version", text(&package.agent_has_version)),
            ("hash", hex(&package.agent_has_hash).into()),
            ("offered_version", text(&package.server_offered_version)),
            ("offered_hash", hex(&package.server_offered_hash).into()),
            ("error", text(&package.error_message)),
            ("download_percent", details.map(|details| details.download_percent).into()),
            (
                "download_bytes_per_second",
                details.map(|details| details.download_bytes_per_second).into(),
            ),
        ]);
        (name.clone(), value)
    };
    set([
        ("hash", hex(&statuses.server_provided_all_packages_hash).into()),
        ("error", text(&statuses.error_message)),
        ("packages", Value::Object(statuses.packages.iter().map(package).collect())),
    ])
}

fn packages(available: &PackagesAvailable) -> Value {
    let package = |(name, package): (&String, &PackageAvailable)| {
        let file = package.file.as_ref().map(|file| {
            set([
                ("url", text(&file.download_url)),
                ("hash", hex(&file.content_hash).into()),
                ("signature", hex(&file.signature).into()),
                ("headers", headers(file.headers.as_ref())),
            ])
        });
        let value = set([
            ("type", self::name(package.r#type().as_str_name()).into()),
            ("version", text(&package.version)),
            ("hash", hex(&package.hash).into()),
            ("file", file.into()),
        ]);
        (name.clone(), value)
    };
    set([
        ("hash", hex(&available.all_packages_hash).into()),
        ("packages", Value::Object(available.packages.iter().map(package).collect())),
    ])
}

fn error(error: &ServerErrorResponse) -> Value {
    let Some(Details::RetryInfo(RetryInfo { retry_after_nanoseconds })) = error.details else {
        return set([
            ("type", name(error.r#type().as_str_name()).into()),
            ("message", text(&error.error_message)),
        ]);
    };
    set([
        ("type", name(error.r#type().as_str_name()).into()),
        ("message", text(&error.error_message)),
        ("retry_after_seconds", retry_after_nanoseconds.div_ceil(1_000_000_000).into()),
    ])
}

fn offers(offers: &ConnectionSettingsOffers) -> Value {
    let own = |settings: &Option<TelemetryConnectionSettings>| -> Value {
        let settings = settings.as_ref().map(|settings| {
            let TelemetryConnectionSettings {
                destination_endpoint, certificate, tls, proxy, ..
            } = settings;
            let headers = headers(settings.headers.as_ref());
            connection(destination_endpoint, headers, certificate, tls, proxy)
        });
        settings.into()
    };
    let opamp = offers.opamp.as_ref().map(|settings| {
        let OpAmpConnectionSettings { destination_endpoint, certificate, tls, proxy, .. } =
            settings;
        let headers = headers(settings.headers.as_ref());
        let mut value = connection(destination_endpoint, headers, certificate, tls, proxy);
        value["heartbeat_interval_seconds"] = settings.heartbeat_interval_seconds.into();
        value
    });
    let other = |(name, settings): (&String, &OtherConnectionSettings)| {
        let OtherConnectionSettings { destination_endpoint, certificate, tls, proxy, .. } =
            settings;
        let headers = headers(settings.headers.as_ref());
        let mut value = connection(destination_endpoint, headers, certificate, tls, proxy);
        if !settings.other_settings.is_empty() {
            value["other_settings"] = json!(settings.other_settings);
        }
        (name.clone(), value)
    };
    let others: Map<String, Value> = offers.other_connections.iter().map(other).collect();
    set([
        ("hash", hex(&offers.hash).into()),
        ("opamp", opamp.into()),
        ("own_metrics", own(&offers.own_metrics)),
        ("own_traces", own(&offers.own_traces)),
        ("own_logs", own(&offers.own_logs)),
        ("other_connections", (!others.is_empty()).then_some(Value::Object(others)).into()),
    ])
}

fn connection(
    endpoint: &str,
    headers: Value,
    certificate: &Option<TlsCertificate>,
    tls: &Option<TlsConnectionSettings>,
    proxy: &Option<ProxyConnectionSettings>,
) -> Value {
    let certificate = certificate.as_ref().map(|certificate| {
        set([
            ("cert", bytes(&certificate.cert)),
            ("private_key", bytes(&certificate.private_key)),
            ("ca_cert", bytes(&certificate.ca_cert)),
        ])
    });
    let tls = tls.as_ref().map(|tls| {
        set([
            ("ca_pem_contents", text(&tls.ca_pem_contents)),
            ("include_system_ca_certs_pool", tls.include_system_ca_certs_pool.into()),
            ("insecure_skip_verify", tls.insecure_skip_verify.into()),
            ("min_version", text(&tls.min_version)),
            ("max_version", text(&tls.max_version)),
            ("cipher_suites", tls.cipher_suites.clone().into()),
        ])
    });
    let proxy = proxy.as_ref().map(|proxy| {
        set([
            ("url", text(&proxy.url)),
            ("connect_headers", self::headers(proxy.connect_headers.as_ref())),
        ])
    });
    set([
        ("endpoint", text(endpoint)),
        ("headers", headers),
        ("certificate", certificate.into()),
        ("tls", tls.into()),
        ("proxy", proxy.into()),
    ])
}

/// A header may be there twice.
fn headers(headers: Option<&Headers>) -> Value {
    let all = headers.map(|headers| headers.headers.iter());
    let line = |header: &Header| format!("{}: {}", header.key, header.value);
    all.map(|all| all.map(line).collect::<Vec<_>>()).into()
}

/// Bytes of which a server left only a description.
fn bytes(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

fn text(text: &str) -> Value {
    text.into()
}

fn uid(bytes: &[u8]) -> Value {
    InstanceUid::try_from(bytes).map_or_else(|_| hex(bytes), |uid| Some(uid.to_string())).into()
}

fn capability(bit: i32) -> Option<&'static str> {
    name(AgentCapabilities::try_from(bit).ok()?.as_str_name())
}

/// Names of the bits that are set; those without a name by number.
fn bits(mask: u64, named: impl Fn(i32) -> Option<&'static str>) -> Value {
    let bits = (0..u64::BITS).map(|shift| 1_u64 << shift).filter(|bit| mask & bit != 0);
    let name = |bit: u64| {
        let known = i32::try_from(bit).ok().and_then(&named);
        known.map_or_else(|| format!("{bit:#x}"), str::to_owned)
    };
    bits.map(name).collect::<Vec<_>>().into()
}

/// A value's own name, without that of its kind.
fn name(whole: &'static str) -> Option<&'static str> {
    whole.split_once('_').map(|(_, name)| name)
}
