//! A settings file: what an agent is to be told of a connection, with secrets named by where they
//! are. No error repeats a value: it may be a secret that was written in the wrong place.

use std::path::{Path, PathBuf};

use control::v1::apply_connection_settings_request::Settings;
use opamp::v1::{
    Header, Headers, OpAmpConnectionSettings, OtherConnectionSettings, ProxyConnectionSettings,
    TelemetryConnectionSettings, TlsCertificate, TlsConnectionSettings,
};
use serde_json::{Map, Value};

use super::super::{files, yaml};
use crate::exit::Failure;

/// What a file says.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) class: String,
    pub(super) settings: Settings,
}

/// What the specification recommends: nothing said would be no heartbeats at all.
const HEARTBEAT_SECONDS: u64 = 30;

type Said<T> = Result<T, String>;

/// Reads a file; `-` is standard input. Files that it names lie beside it.
pub(super) fn read(path: &str) -> anyhow::Result<Read> {
    let wrong = |reason: String| Failure::usage(format!("{path}: {reason}"));
    let body = files::body(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(body).map_err(|_| wrong("is not text".to_owned()))?;
    let beside = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
    let value = match Path::new(path).extension().is_some_and(|it| it == "toml") {
        true => toml(&text),
        false => yaml::parse(&text),
    };
    let read = value.and_then(|value| Section::of("", value, &beside)?.settings());
    read.map_err(wrong)
}

fn toml(text: &str) -> Said<Value> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        format!("not TOML at line {}", before.matches('\n').count() + 1)
    })?;
    serde_json::to_value(table).map_err(|_| "holds what is no setting".to_owned())
}

/// A map of the file, taken apart key by key: what is left over is a mistake.
struct Section<'a> {
    path: String,
    left: Map<String, Value>,
    beside: &'a PathBuf,
}

impl<'a> Section<'a> {
    fn of(path: &str, value: Value, beside: &'a PathBuf) -> Said<Self> {
        match value {
            Value::Object(left) => Ok(Self { path: path.to_owned(), left, beside }),
            _ => Err(format!("{} must be a map", if path.is_empty() { "it" } else { path })),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn below(&mut self, key: &str) -> Said<Option<Section<'a>>> {
        let (path, beside) = (self.at(key), self.beside);
        self.left.remove(key).map(|value| Self::of(&path, value, beside)).transpose()
    }

    fn text(&mut self, key: &str) -> Said<String> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(format!("{} must be text: put it in quotes", self.at(key))),
        }
    }

    fn flag(&mut self, key: &str) -> Said<bool> {
        match self.left.remove(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(format!("{} must be true or false", self.at(key))),
        }
    }

    fn list(&mut self, key: &str) -> Said<Vec<String>> {
        let wrong = format!("{} must be a list of texts", self.at(key));
        let list = match self.left.remove(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(wrong),
        };
        let text = |value: Value| value.as_str().map(str::to_owned).ok_or(wrong.clone());
        list.into_iter().map(text).collect()
    }

    /// The bytes of a file that is named.
    fn file(&mut self, key: &str) -> Said<Vec<u8>> {
        let (name, at) = (self.text(key)?, self.at(key));
        match name.is_empty() {
            true => Ok(Vec::new()),
            false => load(&at, &self.beside.join(name)),
        }
    }

    /// All keys with their values, which may lie elsewhere.
    fn pairs(mut self) -> Said<Vec<(String, String)>> {
        let left = std::mem::take(&mut self.left);
        left.into_iter()
            .map(|(key, value)| {
                let at = self.at(&key);
                Ok((key, secret(&at, value, self.beside)?))
            })
            .collect()
    }

    fn end(self) -> Said<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{} is no setting here", self.at(key))),
        }
    }

    fn settings(mut self) -> Said<Read> {
        let class = self.text("class")?;
        let destination_endpoint = self.text("endpoint")?;
        let headers = self.below("headers")?.map(headers).transpose()?;
        let certificate = self.below("certificate")?.map(certificate).transpose()?;
        let tls = self.below("tls")?.map(tls).transpose()?;
        let proxy = self.below("proxy")?.map(proxy).transpose()?;
        let settings = match class.as_str() {
            "opamp" => Settings::Opamp(OpAmpConnectionSettings {
                destination_endpoint,
                headers,
                certificate,
                heartbeat_interval_seconds: heartbeat(&self.text("heartbeat")?)?,
                tls,
                proxy,
            }),
            "own-metrics" | "own-traces" | "own-logs" => {
                Settings::Telemetry(TelemetryConnectionSettings {
                    destination_endpoint,
                    headers,
                    certificate,
                    tls,
                    proxy,
                })
            }
            other if other.starts_with("other/") => {
                let pairs = self.below("settings")?.map(Section::pairs).transpose()?;
                Settings::Other(OtherConnectionSettings {
                    destination_endpoint,
                    headers,
                    certificate,
                    other_settings: pairs.into_iter().flatten().collect(),
                    tls,
                    proxy,
                })
            }
            _ => {
                let known = "opamp, own-metrics, own-traces, own-logs or other/NAME";
                return Err(format!("class must be {known}"));
            }
        };
        self.end()?;
        Ok(Read { class, settings })
    }
}

fn headers(section: Section<'_>) -> Said<Headers> {
    let pairs = section.pairs()?.into_iter();
    Ok(Headers { headers: pairs.map(|(key, value)| Header { key, value }).collect() })
}

fn certificate(mut section: Section<'_>) -> Said<TlsCertificate> {
    let certificate = TlsCertificate {
        cert: section.file("cert_file")?,
        private_key: section.file("key_file")?,
        ca_cert: section.file("ca_file")?,
    };
    section.end()?;
    Ok(certificate)
}

fn tls(mut section: Section<'_>) -> Said<TlsConnectionSettings> {
    let ca = section.file("ca_file")?;
    let settings = TlsConnectionSettings {
        ca_pem_contents: String::from_utf8(ca).map_err(|_| "tls.ca_file is not PEM".to_owned())?,
        include_system_ca_certs_pool: section.flag("include_system_ca")?,
        insecure_skip_verify: section.flag("insecure_skip_verify")?,
        min_version: section.text("min_version")?,
        max_version: section.text("max_version")?,
        cipher_suites: section.list("cipher_suites")?,
    };
    section.end()?;
    Ok(settings)
}

fn proxy(mut section: Section<'_>) -> Said<ProxyConnectionSettings> {
    let url = match section.left.remove("url") {
        // With a password in it, it is a secret like others.
        Some(value) => secret("proxy.url", value, section.beside)?,
        None => String::new(),
    };
    let connect_headers = section.below("headers")?.map(headers).transpose()?;
    section.end()?;
    Ok(ProxyConnectionSettings { url, connect_headers })
}

fn heartbeat(text: &str) -> Said<u64> {
    if text.is_empty() {
        return Ok(HEARTBEAT_SECONDS);
    }
    let time = humantime::parse_duration(text).ok().filter(|time| time.subsec_nanos() == 0);
    time.map(|time| time.as_secs()).ok_or_else(|| "heartbeat must be a time, as 30s".to_owned())
}

/// Text as it is, or from where it is said to be.
fn secret(at: &str, value: Value, beside: &PathBuf) -> Said<String> {
    if let Value::String(text) = value {
        return Ok(text);
    }
    let wrong = || {
        format!("{at} must be text in quotes, or have value_file or value_env, and maybe a prefix")
    };
    let mut section = Section::of(at, value, beside).map_err(|_| wrong())?;
    let (file, variable) = (section.text("value_file")?, section.text("value_env")?);
    let prefix = section.text("prefix")?;
    section.end()?;
    let found = match (file.as_str(), variable.as_str()) {
        ("", "") => return Err(wrong()),
        (file, "") => {
            let bytes = load(at, &beside.join(file))?;
            let text = String::from_utf8(bytes).map_err(|_| format!("{at}: it is not text"))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        ("", variable) => {
            #[expect(clippy::disallowed_methods, reason = "the operator names the variable")]
            let found = std::env::var(variable);
            found.map_err(|_| format!("{at}: {variable} is not set"))?
        }
        _ => return Err(format!("{at}: value_file and value_env are two places: give one")),
    };
    match found.is_empty() {
        true => Err(format!("{at}: it is empty")),
        false => Ok(prefix + &found),
    }
}

fn load(at: &str, path: &Path) -> Said<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("{at}: {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
