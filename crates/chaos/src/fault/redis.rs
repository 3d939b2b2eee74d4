//! A Redis in trouble, by its own commands.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use services::Server;
use tokio::task::block_in_place;

use super::{Heal, Injected};
use crate::campaign::Campaign;
use crate::limits::{LOOK, READY};
use crate::scenario::{RedisFault, Which};

impl Campaign {
    pub(super) fn trouble_redis(
        &mut self,
        into: &mut Injected,
        which: Which,
        fault: RedisFault,
        hold: Duration,
    ) -> anyhow::Result<()> {
        into.heals.push(Heal::Redis(which, fault));
        into.touched.records |= matches!(fault, RedisFault::Flush | RedisFault::Garble);
        let server = self.redis(which);
        let seconds = hold.as_secs_f64().to_string();
        let millis = hold.as_millis().to_string();
        let troubled = block_in_place(|| match fault {
            RedisFault::Sleep => server.tell(&["DEBUG", "SLEEP", &seconds]),
            RedisFault::Pause => server.command(&["CLIENT", "PAUSE", &millis, "ALL"]).map(drop),
            RedisFault::ReadOnly => server.command(&["REPLICAOF", "127.0.0.1", "1"]).map(drop),
            RedisFault::Full => server.command(&["CONFIG", "SET", "maxmemory", "1mb"]).map(drop),
            RedisFault::Busy => {
                server.command(&["CONFIG", "SET", "busy-reply-threshold", "100"])?;
                server.tell(&["EVAL", "while true do end", "0"])
            }
            RedisFault::HangUp => server.command(&["CLIENT", "KILL", "TYPE", "normal"]).map(drop),
            RedisFault::Flush => server.command(&["FLUSHALL"]).map(drop),
            RedisFault::Garble => garble(server),
        });
        // The other fault of a pair may keep it busy: then it is in trouble as it is.
        troubled.or_else(|error| match error.to_string().starts_with("BUSY") {
            true => Ok(()),
            false => Err(error),
        })
    }

    pub(super) async fn mend_redis(
        &mut self,
        which: Which,
        fault: RedisFault,
    ) -> anyhow::Result<()> {
        let words: &[&str] = match fault {
            RedisFault::Pause => &["CLIENT", "UNPAUSE"],
            RedisFault::ReadOnly => &["REPLICAOF", "NO", "ONE"],
            RedisFault::Full => &["CONFIG", "SET", "maxmemory", "0"],
            RedisFault::Busy => &["SCRIPT", "KILL"],
            RedisFault::Sleep | RedisFault::HangUp | RedisFault::Flush | RedisFault::Garble => {
                return Ok(());
            }
        };
        let start = Instant::now();
        loop {
            let server = self.redis(which);
            match block_in_place(|| server.command(words)) {
                Ok(_) => return Ok(()),
                // It had ended already, or was started anew by the other fault of a pair.
                Err(error) if error.to_string().contains("NOTBUSY") => return Ok(()),
                Err(_) if !self.redis(which).is_there() && start.elapsed() < READY => {}
                Err(error) if start.elapsed() > READY => {
                    return Err(error).with_context(|| format!("{words:?}"));
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn redis(&self, which: Which) -> &Server {
        match which {
            Which::Records => &self.rig.cluster.records,
            Which::Ledger => &self.rig.cluster.ledger,
        }
    }
}

/// Writes over one agent's record.
fn garble(server: &Server) -> anyhow::Result<()> {
    for _ in 0..1000 {
        let key = server.command(&["RANDOMKEY"])?.text();
        if !key.contains("agents") || server.command(&["TYPE", &key])?.text() != "hash" {
            continue;
        }
        let field = server.command(&["HRANDFIELD", &key])?.text();
        return server.command(&["HSET", &key, &field, "\u{1}nobody wrote this"]).map(drop);
    }
    anyhow::bail!("no record to garble")
}
