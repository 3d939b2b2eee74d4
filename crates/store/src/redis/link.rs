//! The way to the server: one multiplexed connection for everything hot, a small pool for the
//! rest. Nothing waits for ever, and no error says more of the URL than host and port.

use std::fmt;

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline,
    RedisError, RedisResult, cmd,
};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use tokio::time::timeout;

use super::hot::Hot;
use super::{RedisConfig, access};
use crate::Error;
use crate::limits::{CALL_TIMEOUT, CONNECT_TIMEOUT, POOL_MAX, RESPONSE_TIMEOUT};

/// The functions every write goes through.
const LIBRARY: &str = include_str!("muster_v3.lua");

/// One server.
pub(super) struct Link {
    address: String,
    hot: Hot,
    cold: Pool,
}

impl Link {
    /// Connects and loads the functions.
    pub(super) async fn connect(config: &RedisConfig) -> Result<Self, Error> {
        let info = config.access.info(&config.url)?;
        let address = info.addr().to_string();
        let failed =
            |error: &dyn fmt::Display| Error::Unavailable(format!("redis at {address}: {error}"));
        let cold = pool(info.clone()).map_err(|error| failed(&error))?;
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let connecting = async { Hot::connect(Client::open(info)?).await };
        let hot = timeout(CALL_TIMEOUT, connecting)
            .await
            .map_err(|_| {
                failed(&format!("no connection in {CALL_TIMEOUT:?}{}", access::hint(tls, None)))
            })?
            .map_err(|error| match config.access.refusal(&error) {
                Some(reason) => Error::Refused(format!("redis at {address}: {reason}")),
                None => failed(&format!("{error}{}", access::hint(tls, Some(&error)))),
            })?;
        let link = Self { address, hot, cold };
        link.load().await?;
        Ok(link)
    }

    /// Sends a pipeline of reads or repeatable writes; any error in it fails it.
    pub(super) async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Error> {
        let mut connection = self.hot.get();
        let asked = async {
            match pipeline.query_async(&mut connection).await {
                // The connection was found dead and nothing was sent: the next one is being made.
                Err(error) if error.is_connection_refusal() => {
                    pipeline.query_async(&mut connection).await
                }
                answered => answered,
            }
        };
        match timeout(CALL_TIMEOUT, asked).await {
            Ok(answered) => answered.map_err(|error| {
                self.hot.note(&error);
                self.said(&error)
            }),
            Err(_) => Err(self.failed(&format!("no answer in {CALL_TIMEOUT:?}"))),
        }
    }

    /// Calls functions in one pipeline, for what each of them answers. Those that the server
    /// did not know (it was restarted empty, or flushed) are loaded and called again.
    pub(super) async fn call<T>(&self, calls: &[Cmd]) -> Result<Vec<T>, Error>
    where
        T: FromRedisValue + Clone + Default,
    {
        let mut answered = vec![T::default(); calls.len()];
        let mut left: Vec<usize> = (0..calls.len()).collect();
        for again in [false, true] {
            if again {
                self.load().await?;
            }
            let mut pipeline = Pipeline::with_capacity(left.len());
            pipeline.ignore_errors();
            for index in &left {
                pipeline.add_command(calls[*index].clone());
            }
            let answers: Vec<RedisResult<T>> = self.ask(&pipeline).await?;
            let mut unknown = Vec::new();
            for (index, answer) in left.into_iter().zip(answers) {
                match answer {
                    Ok(answer) => answered[index] = answer,
                    Err(error) if is_unknown_function(&error) => unknown.push(index),
                    Err(error) => {
                        self.hot.note(&error);
                        return Err(self.said(&error));
                    }
                }
            }
            left = unknown;
            if left.is_empty() {
                return Ok(answered);
            }
        }
        Err(self.failed(&"the functions vanish as soon as they are loaded"))
    }

    /// One command on a connection of its own.
    pub(super) async fn apart<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Apart> {
        let asked = async {
            let mut connection = self.cold.get().await.map_err(|error| match error {
                PoolError::Backend(error) => self.said(&error),
                other => self.failed(&other),
            })?;
            command.query_async(&mut connection).await.map_err(Apart::Refused)
        };
        timeout(CALL_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(self.failed(&format!("no answer in {CALL_TIMEOUT:?}")).into()))
    }

    /// What the server's word means for who asked.
    pub(super) fn said(&self, error: &RedisError) -> Error {
        let Some((code, passes, reason)) = access::state(error) else {
            return self.failed(error);
        };
        metrics::counter!("muster_redis_refusals_total", "code" => code).increment(1);
        match passes {
            true => self.failed(&format_args!("{reason} ({code})")),
            false => Error::Refused(format!("redis at {}: {reason} ({code})", self.address)),
        }
    }

    pub(super) fn failed(&self, error: &dyn fmt::Display) -> Error {
        Error::Unavailable(format!("redis at {}: {error}", self.address))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    async fn load(&self) -> Result<(), Error> {
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(LIBRARY);
        match self.apart::<String>(&load).await {
            Ok(_) => Ok(()),
            Err(Apart::Away(error)) => Err(error),
            Err(Apart::Refused(error)) if access::state(&error).is_some() => Err(self.said(&error)),
            Err(Apart::Refused(error)) => Err(self.failed(&format!(
                "the functions cannot be loaded (Redis 7 or newer is needed): {error}"
            ))),
        }
    }
}

/// Why a command apart failed.
pub(super) enum Apart {
    /// No connection or no answer.
    Away(Error),
    /// The server's word, or a connection lost on the way.
    Refused(RedisError),
}

impl From<Error> for Apart {
    fn from(error: Error) -> Self {
        Self::Away(error)
    }
}

fn pool(info: ConnectionInfo) -> Result<Pool, Box<dyn std::error::Error>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let pool = Pool::builder(Manager::new_with_config(info, config)?)
        .max_size(POOL_MAX)
        .wait_timeout(Some(CALL_TIMEOUT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .recycle_timeout(Some(RESPONSE_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()?;
    Ok(pool)
}

fn is_unknown_function(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}
