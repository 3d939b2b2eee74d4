//! The multiplexed connection, replaced where it would not replace itself: the client library gives
//! up for good on a server that once refused it while connecting.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, RedisResult};
use tokio::time::Instant;

use super::access;
use crate::limits::{CONNECT_TIMEOUT, RECONNECT_DELAY, RENEWAL_PAUSE, RESPONSE_TIMEOUT};

/// A connection to one server.
pub(super) struct Hot {
    client: Client,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    made: Instant,
}

impl Hot {
    pub(super) async fn connect(client: Client) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        let current = Mutex::new(Current { manager, made: Instant::now() });
        Ok(Self { client, current })
    }

    /// The connection as it is now.
    pub(super) fn get(&self) -> ConnectionManager {
        self.current().manager.clone()
    }

    /// Takes note of an error. If it may be the connection's own, others get a new one.
    pub(super) fn note(&self, error: &RedisError) {
        let mut current = self.current();
        if !access::may_be_of_the_connection(error) || current.made.elapsed() < RENEWAL_PAUSE {
            return;
        }
        if let Ok(manager) = ConnectionManager::new_lazy_with_config(self.client.clone(), config())
        {
            *current = Current { manager, made: Instant::now() };
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(1)
        .set_min_delay(RECONNECT_DELAY.0)
        .set_max_delay(RECONNECT_DELAY.1)
}
