//! The one connection that every worker shares, on a thread of its own: a busy worker delays nobody's claim, and a
//! call that was begun is brought to its end although its caller has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Mutex, oneshot};
use tracing::{error, info, warn};

use super::route::{Connection, Route};
use super::script::Scripts;
use super::vet::Unsafe;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Said by the server, or by the way to it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The server must not be used.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// No Sentinel knows it.
    #[error("no Sentinel knows a primary for {0}")]
    Service(String),
}

impl LinkError {
    /// Whether another server may be primary by now.
    pub(super) fn is_demotion(&self) -> bool {
        match self {
            Self::Redis(error) => error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly),
            Self::Unsafe(cause) => *cause == Unsafe::Replica,
            Self::Service(_) => true,
        }
    }

    /// Whether the connection is of no further use: the server said nothing, or is no primary any more.
    fn is_broken(&self) -> bool {
        match self {
            Self::Redis(error) => !matches!(error.kind(), ErrorKind::Server(_)) || self.is_demotion(),
            Self::Unsafe(_) | Self::Service(_) => true,
        }
    }
}

/// A thread that serves until this is dropped.
pub(super) struct Thread {
    handle: Handle,
    // Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Thread {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || drop(runtime.block_on(stopped));
        thread::Builder::new().name("redis".to_owned()).spawn(serve)?;
        Ok(Self { handle, _stop: stop })
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

/// The connection, made when it is needed and made anew when it broke.
pub(super) struct Link {
    pub(super) route: Route,
    pub(super) scripts: Scripts,
    slot: Mutex<Slot>,
    /// Whether the last connection could not be made, so that an outage is two lines in the log.
    down: AtomicBool,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Counts connections, so that a late error does not close the next one.
    number: u64,
}

impl Link {
    pub(super) fn new(route: Route, scripts: Scripts) -> Arc<Self> {
        Arc::new(Self { route, scripts, slot: Mutex::default(), down: AtomicBool::new(false) })
    }

    /// Sends the command; if its answer is lost, or the server is no primary any more, once again by a new
    /// connection. Only for what may be done twice: every step is such, by its nonce or grant id.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        let value = match self.once(command).await {
            Err(error) if error.is_broken() => self.once(command).await?,
            answer => answer?,
        };
        Ok(redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    async fn once(&self, command: &Cmd) -> Result<Value, LinkError> {
        let (mut connection, number) = self.connection().await?;
        let mut answer = command.query_async(&mut connection).await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            // Nothing was done: the server was emptied of scripts, or a cluster has a new primary.
            self.load(&mut connection).await?;
            answer = command.query_async(&mut connection).await;
        }
        let answer = answer.map_err(LinkError::from);
        if answer.as_ref().is_err_and(LinkError::is_broken) {
            let mut slot = self.slot.lock().await;
            if slot.number == number {
                slot.connection = None;
            }
        }
        answer
    }

    /// The connection there is, or a new one.
    pub(super) async fn connection(&self) -> Result<(Connection, u64), LinkError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((connection.clone(), slot.number));
        }
        let made = match self.route.connect().await {
            Ok(mut connection) => {
                self.load(&mut connection).await.map(|()| connection).map_err(LinkError::from)
            }
            Err(error) => Err(error),
        };
        match made {
            Ok(connection) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    info!("the token store answers again");
                }
                slot.number += 1;
                slot.connection = Some(connection.clone());
                Ok((connection, slot.number))
            }
            Err(error) => {
                if !self.down.swap(true, Ordering::Relaxed) {
                    match &error {
                        LinkError::Unsafe(_) => error!(%error, "the token store must not be used"),
                        _ => warn!(%error, "the token store does not answer"),
                    }
                }
                Err(error)
            }
        }
    }

    async fn load(&self, connection: &mut Connection) -> Result<(), RedisError> {
        for load in self.scripts.loads() {
            load.exec_async(connection).await?;
        }
        Ok(())
    }
}
