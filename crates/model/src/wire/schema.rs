//! The messages of OpAMP by number: which fields there are, and what is inside them. A test holds
//! this in step with the protocol's own files.

/// One kind of message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

/// One field of it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    /// The message in it, if it holds messages.
    pub(super) inner: Option<&'static Message>,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

macro_rules! messages {
    ($($message:ident { $($number:literal $name:ident $(: $inner:ident)?),* $(,)? })*) => {
        $(pub(super) static $message: Message = Message {
            fields: &[$(Field {
                number: $number,
                name: stringify!($name),
                inner: messages!(@ $($inner)?),
            }),*],
        };)*

        /// All of them, by name.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &Message)] = &[$((stringify!($message), &$message)),*];
    };
    (@) => { None };
    (@ $inner:ident) => { Some(&$inner) };
}

messages! {
    AGENT_TO_SERVER {
        1 instance_uid, 2 sequence_num, 3 agent_description: AGENT_DESCRIPTION, 4 capabilities,
        5 health: COMPONENT_HEALTH, 6 effective_config: EFFECTIVE_CONFIG,
        7 remote_config_status: REMOTE_CONFIG_STATUS, 8 package_statuses: PACKAGE_STATUSES,
        9 agent_disconnect: AGENT_DISCONNECT, 10 flags,
        11 connection_settings_request: CONNECTION_SETTINGS_REQUEST,
        12 custom_capabilities: CUSTOM_CAPABILITIES, 13 custom_message: CUSTOM_MESSAGE,
        14 available_components: AVAILABLE_COMPONENTS,
        15 connection_settings_status: CONNECTION_SETTINGS_STATUS,
    }
    AGENT_DISCONNECT {}
    CONNECTION_SETTINGS_REQUEST { 1 opamp: OP_AMP_CONNECTION_SETTINGS_REQUEST }
    OP_AMP_CONNECTION_SETTINGS_REQUEST { 1 certificate_request: CERTIFICATE_REQUEST }
    CERTIFICATE_REQUEST { 1 csr }
    AVAILABLE_COMPONENTS { 1 components: COMPONENTS, 2 hash }
    COMPONENTS { 1 key, 2 value: COMPONENT_DETAILS }
    COMPONENT_DETAILS { 1 metadata: KEY_VALUE, 2 sub_component_map: COMPONENTS }
    AGENT_DESCRIPTION {
        1 identifying_attributes: KEY_VALUE, 2 non_identifying_attributes: KEY_VALUE,
    }
    KEY_VALUE { 1 key, 2 value: ANY_VALUE }
    ANY_VALUE {
        1 string_value, 2 bool_value, 3 int_value, 4 double_value, 5 array_value: ARRAY_VALUE,
        6 kvlist_value: KEY_VALUE_LIST, 7 bytes_value,
    }
    ARRAY_VALUE { 1 values: ANY_VALUE }
    KEY_VALUE_LIST { 1 values: KEY_VALUE }
    COMPONENT_HEALTH {
        1 healthy, 2 start_time_unix_nano, 3 last_error, 4 status, 5 status_time_unix_nano,
        6 component_health_map: HEALTHS, 7 attributes: KEY_VALUE,
    }
    HEALTHS { 1 key, 2 value: COMPONENT_HEALTH }
    EFFECTIVE_CONFIG { 1 config_map: AGENT_CONFIG_MAP }
    REMOTE_CONFIG_STATUS { 1 last_remote_config_hash, 2 status, 3 error_message }
    CONNECTION_SETTINGS_STATUS { 1 last_connection_settings_hash, 2 status, 3 error_message }
    PACKAGE_STATUSES {
        1 packages: STATUSES, 2 server_provided_all_packages_hash, 3 error_message,
    }
    STATUSES { 1 key, 2 value: PACKAGE_STATUS }
    PACKAGE_STATUS {
        1 name, 2 agent_has_version, 3 agent_has_hash, 4 server_offered_version,
        5 server_offered_hash, 6 status, 7 error_message,
        8 download_details: PACKAGE_DOWNLOAD_DETAILS,
    }
    PACKAGE_DOWNLOAD_DETAILS { 1 download_percent, 2 download_bytes_per_second }
    SERVER_TO_AGENT {
        1 instance_uid, 2 error_response: SERVER_ERROR_RESPONSE,
        3 remote_config: AGENT_REMOTE_CONFIG, 4 connection_settings: CONNECTION_SETTINGS_OFFERS,
        5 packages_available: PACKAGES_AVAILABLE, 6 flags, 7 capabilities,
        8 agent_identification: AGENT_IDENTIFICATION, 9 command: SERVER_TO_AGENT_COMMAND,
        10 custom_capabilities: CUSTOM_CAPABILITIES, 11 custom_message: CUSTOM_MESSAGE,
    }
    SERVER_ERROR_RESPONSE { 1 type, 2 error_message, 3 retry_info: RETRY_INFO }
    RETRY_INFO { 1 retry_after_nanoseconds }
    AGENT_IDENTIFICATION { 1 new_instance_uid }
    SERVER_TO_AGENT_COMMAND { 1 type }
    AGENT_REMOTE_CONFIG { 1 config: AGENT_CONFIG_MAP, 2 config_hash }
    AGENT_CONFIG_MAP { 1 config_map: FILES }
    FILES { 1 key, 2 value: AGENT_CONFIG_FILE }
    AGENT_CONFIG_FILE { 1 body, 2 content_type, 3 role }
    CONNECTION_SETTINGS_OFFERS {
        1 hash, 2 opamp: OP_AMP_CONNECTION_SETTINGS, 3 own_metrics: TELEMETRY_CONNECTION_SETTINGS,
        4 own_traces: TELEMETRY_CONNECTION_SETTINGS, 5 own_logs: TELEMETRY_CONNECTION_SETTINGS,
        6 other_connections: OTHERS,
    }
    OTHERS { 1 key, 2 value: OTHER_CONNECTION_SETTINGS }
    OP_AMP_CONNECTION_SETTINGS {
        1 destination_endpoint, 2 headers: HEADERS, 3 certificate: TLS_CERTIFICATE,
        4 heartbeat_interval_seconds, 5 tls: TLS_CONNECTION_SETTINGS,
        6 proxy: PROXY_CONNECTION_SETTINGS,
    }
    TELEMETRY_CONNECTION_SETTINGS {
        1 destination_endpoint, 2 headers: HEADERS, 3 certificate: TLS_CERTIFICATE,
        4 tls: TLS_CONNECTION_SETTINGS, 5 proxy: PROXY_CONNECTION_SETTINGS,
    }
    OTHER_CONNECTION_SETTINGS {
        1 destination_endpoint, 2 headers: HEADERS, 3 certificate: TLS_CERTIFICATE,
        4 other_settings: SETTINGS, 5 tls: TLS_CONNECTION_SETTINGS,
        6 proxy: PROXY_CONNECTION_SETTINGS,
    }
    SETTINGS { 1 key, 2 value }
    TLS_CONNECTION_SETTINGS {
        1 ca_pem_contents, 2 include_system_ca_certs_pool, 3 insecure_skip_verify, 4 min_version,
        5 max_version, 6 cipher_suites,
    }
    PROXY_CONNECTION_SETTINGS { 1 url, 2 connect_headers: HEADERS }
    HEADERS { 1 headers: HEADER }
    HEADER { 1 key, 2 value }
    TLS_CERTIFICATE { 1 cert, 2 private_key, 3 ca_cert }
    PACKAGES_AVAILABLE { 1 packages: PACKAGES, 2 all_packages_hash }
    PACKAGES { 1 key, 2 value: PACKAGE_AVAILABLE }
    PACKAGE_AVAILABLE { 1 type, 2 version, 3 file: DOWNLOADABLE_FILE, 4 hash }
    DOWNLOADABLE_FILE { 1 download_url, 2 content_hash, 3 signature, 4 headers: HEADERS }
    CUSTOM_CAPABILITIES { 1 capabilities }
    CUSTOM_MESSAGE { 1 capability, 2 type, 3 data }
}
