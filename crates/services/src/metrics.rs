//! What a process counts about itself, read from its ops port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// How long an answer may take. Metrics must come from a process that has little time, too.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest page taken, in bytes.
const PAGE_BYTES_MAX: u64 = 8 << 20;

/// All metrics of a process at one time.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    /// Reads them from `http://HOST:PORT`, within a bound.
    pub fn read(ops: &str) -> anyhow::Result<Self> {
        let (status, body) = get(ops.trim_start_matches("http://").parse()?, "/metrics")?;
        ensure!(status == 200, "metrics answered {status}");
        Ok(Self(body))
    }

    /// The sum under a name over all labels; 0 until it counts.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum under a name where a label has a value: `label="value"`.
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            labels.contains(label).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// The page as it came.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Status and body of a page.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("no status")?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_summed_over_its_labels_and_no_other_name() {
        let text = "# HELP a\na{x=\"1\"} 2\na{x=\"2\"} 3.5\nab 100\nb 7\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum("a"), 5.5);
        assert_eq!(metrics.sum_where("a", "x=\"2\""), 3.5);
        assert_eq!(metrics.sum("b"), 7.0);
        assert_eq!(metrics.sum("c"), 0.0);
    }
}
