//! The rules as data.

/// Our crates, and which of ours each may depend on outside its tests.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("opamp", &[]),
    ("model", &["opamp"]),
    ("bus", &["model", "opamp"]),
    ("store", &["model", "opamp"]),
    ("trust", &[]),
    ("gateway", &["bus", "model", "opamp", "trust"]),
    ("fleet", &["bus", "store", "model", "opamp", "trust"]),
    ("control", &["bus", "store", "model", "opamp", "trust"]),
    (
        "muster",
        &["agent", "bus", "control", "fleet", "gateway", "model", "opamp", "store", "trust"],
    ),
    ("agent", &["opamp"]),
    ("services", &[]),
    ("sim", &["agent", "bus", "control", "fleet", "gateway", "model", "opamp", "store"]),
    ("proxy", &[]),
    ("chaos", &["agent", "control", "opamp", "proxy", "services"]),
    ("xtask", &["agent", "chaos", "opamp", "proxy", "services", "trust"]),
    ("muster-loadtest", &["agent"]),
    ("tests", &["agent", "services"]),
];

/// Crates of others, and which of ours may use them outside tests.
pub(super) const FENCES: &[(&str, &[&str])] = &[
    ("async-nats", &["bus"]),
    ("redis", &["store"]),
    ("deadpool-redis", &["store"]),
    ("redb", &["store"]),
    ("tonic", &["chaos", "control", "muster", "sim"]),
    ("tonic-health", &["control"]),
    ("tonic-prost", &["control"]),
    ("tonic-reflection", &["control"]),
    ("axum", &["gateway", "muster"]),
    ("hyper", &["gateway", "agent"]),
    ("clap", &["muster", "xtask", "muster-loadtest"]),
    ("clap_complete", &["muster"]),
    ("similar", &["muster"]),
    ("anyhow", &["muster", "xtask", "muster-loadtest", "services", "chaos"]),
    ("opentelemetry", &["bus", "muster"]),
    ("opentelemetry_sdk", &["muster"]),
    ("opentelemetry-otlp", &["muster"]),
    ("tracing-opentelemetry", &["bus", "muster"]),
    ("tracing-subscriber", &["muster"]),
    ("metrics-exporter-prometheus", &["muster"]),
    ("rand", &["agent", "muster", "proxy"]),
    ("aws-lc-rs", &["trust"]),
    ("zeroize", &["trust"]),
    ("rustls", &["agent", "muster", "trust"]),
    ("tokio-rustls", &["agent", "trust"]),
    ("saphyr-parser", &["control", "muster"]),
    ("toml", &["control", "muster"]),
];

/// All that the pure crates may depend on: nothing here waits, reads a clock or draws lots.
pub(super) const PURE: &[(&str, &[&str])] = &[
    ("opamp", &["base64", "bytes", "prost", "sha1", "thiserror", "uuid"]),
    ("model", &["http", "opamp", "sha2", "thiserror"]),
];

/// Crates that must be there in one version only: two would not speak to each other, or would
/// weigh twice.
pub(super) const ONCE: &[&str] = &[
    "async-nats",
    "axum",
    "bytes",
    "h2",
    "http",
    "hyper",
    "hyper-util",
    "opentelemetry",
    "prost",
    "redis",
    "rustls",
    "serde",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tower",
    "tracing",
];

/// Licences that may be linked into an Apache-2.0 binary without conditions of their own.
pub(super) const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What lies at the top, beside dotfiles.
pub(super) const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "deploy",
    "docker-compose.yml",
    "docs",
    "loadtest",
    "proto",
    "rustfmt.toml",
    "tests",
];

/// Lines of a Rust file at most, tests included.
pub(super) const FILE_LINES_MAX: usize = 600;
/// Columns of a line at most.
pub(super) const LINE_COLUMNS_MAX: usize = 100;
