//! The connection of a worker, and the one of the store's own thread for all other callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Mutex, oneshot};
use tracing::{error, info, warn};

use super::call::Call;
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

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

/// The connection, made when it is needed and made anew when it broke.
pub(super) struct Link {
    pub(super) route: Arc<Route>,
    pub(super) scripts: Arc<Scripts>,
    slot: Mutex<Slot>,
    /// Whether the last connection could not be made, so that an outage is two lines in the log.
    down: AtomicBool,
    /// The number of the connection over which no function can be had, and scripts do.
    plain: AtomicU64,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Counts connections, so that a late error does not close the next one.
    number: u64,
}

impl Link {
    pub(super) fn new(route: Arc<Route>, scripts: Arc<Scripts>) -> Arc<Self> {
        Arc::new(Self {
            route,
            scripts,
            slot: Mutex::default(),
            down: AtomicBool::new(false),
            plain: AtomicU64::new(0),
        })
    }

    /// Sends the command; if its answer is lost, or the server is no primary any more, once again by a new
    /// connection. Only for what may be done twice: every step is such, by its nonce or grant id.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        let value = self.twice(command, false).await?.unwrap_or(Value::Nil);
        Ok(redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    /// The same for a step: by a function if it is one, and where the server has functions and lets us call them; else
    /// as a script.
    pub(super) async fn step(&self, step: &Call) -> Result<Value, LinkError> {
        if let Some(function) = self.scripts.function(step)
            && let Some(answer) = self.twice(&function, true).await?
        {
            return Ok(answer);
        }
        Ok(self.twice(&self.scripts.alone(step), false).await?.unwrap_or(Value::Nil))
    }

    /// Several steps in one call, each with its answer. Those that are refused as a whole, because of one that must not
    /// be done perhaps, are done one by one.
    pub(super) async fn steps(&self, steps: &[Call]) -> Result<Vec<Result<Value, LinkError>>, LinkError> {
        let answers = match self.twice(&self.scripts.batch(steps, true), true).await {
            Ok(None) => self.twice(&self.scripts.batch(steps, false), false).await,
            answers => answers,
        };
        match answers {
            Ok(Some(Value::Array(answers))) if answers.len() == steps.len() => {
                let answer = |answer| match answer {
                    Value::ServerError(error) => Err(LinkError::Redis(error.into())),
                    answer => Ok(answer),
                };
                Ok(answers.into_iter().map(answer).collect())
            }
            Err(error) if error.is_broken() => Err(error),
            _ => Ok(join_all(steps.iter().map(|step| self.step(step))).await),
        }
    }

    /// `None`: it is a function, and that is not to be had.
    async fn twice(&self, command: &Cmd, function: bool) -> Result<Option<Value>, LinkError> {
        match self.once(command, function).await {
            Err(error) if error.is_broken() => self.once(command, function).await,
            answer => answer,
        }
    }

    async fn once(&self, command: &Cmd, function: bool) -> Result<Option<Value>, LinkError> {
        let (mut connection, number) = self.connection().await?;
        let answer = match function {
            true if self.plain.load(Ordering::Relaxed) == number => return Ok(None),
            true => self.by_function(&mut connection, command).await,
            false => self.by_script(&mut connection, command).await.map(Some),
        };
        if let Ok(None) = answer {
            self.plain.store(number, Ordering::Relaxed);
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

    async fn by_script(&self, connection: &mut Connection, script: &Cmd) -> Result<Value, RedisError> {
        let answer = connection.ask(script).await;
        match &answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // Nothing was done: the server was emptied of scripts, or a cluster has a new primary.
                self.load(connection).await?;
                connection.ask(script).await
            }
            _ => answer,
        }
    }

    /// `None`: the server has no functions, or its user may not load or call them. Then nothing was done.
    async fn by_function(
        &self,
        connection: &mut Connection,
        function: &Cmd,
    ) -> Result<Option<Value>, RedisError> {
        match connection.ask(function).await {
            Err(error) if said(&error, "Function not found") => {}
            Err(error) if is_no_function(&error) => return Ok(None),
            answer => return answer.map(Some),
        }
        match connection.ask(&self.scripts.load_library()).await {
            Ok(_) => {}
            // By another process meanwhile, or at the other nodes of a cluster.
            Err(error) if said(&error, "already exists") => {}
            Err(error) if is_no_function(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        connection.ask(function).await.map(Some)
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
            connection.ask(&load).await?;
        }
        Ok(())
    }
}

/// Whether functions are what the server does not have, or its user must not use.
fn is_no_function(error: &RedisError) -> bool {
    let about = |words: &[&str]| words.iter().any(|word| said(error, word));
    (error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) || said(error, "unknown command"))
        && about(&["fcall", "FCALL", "function", "FUNCTION"])
}

fn said(error: &RedisError, words: &str) -> bool {
    matches!(error.kind(), ErrorKind::Server(_))
        && error.detail().is_some_and(|detail| detail.contains(words))
}
