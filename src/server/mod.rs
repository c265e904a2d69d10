//! The server as a value: bind every listener, build every part, run, reload, drain.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::api::Api;
use crate::audit::{self, Audit, AuditError, Event};
use crate::auth::{AuthSetupError, Authenticator};
use crate::clock::Clock;
use crate::config::{Config, TokenStore};
use crate::fleet::{Fleet, Local, Predecessor, Roster, Wish};
use crate::limits::Cap;
use crate::metrics::Metrics;
use crate::net::inherit::Heritage;
use crate::net::listen::ListenError;
use crate::net::tls::{TlsAcceptor, TlsError};
use crate::net::workers::{Handler, Workers};
use crate::once::Once;
use crate::proxy::Proxy;
use crate::relay::record::{RecordError, Recorder};
use crate::targets::{DialPolicy, RegistryError};
use crate::tokens::{
    Fingerprinter, Live, MemoryStore, Metered, Movable, RedisSetupError, RedisStore, Revoker, Store,
    TokenError,
};
use crate::web::{InvalidFrameAncestor, Web};

mod connection;
mod doors;
mod handover;
mod inventory;
mod succession;
mod upkeep;

pub use connection::http;

use connection::{Roles, Shared};
use doors::{Doors, bind_all};
use handover::{Estate, Old};
use succession::{hand_over, outlive};
use upkeep::{Next, attend, drain, stop_recorder};

pub use handover::HandOverError;

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No randomness for keys.
    #[error(transparent)]
    Random(#[from] TokenError),
    /// The store of tokens.
    #[error(transparent)]
    Store(#[from] RedisSetupError),
    /// An issuer without a proxy, or the other way round, whose tokens nobody else could see.
    #[error(
        "tokens.store: \"memory\" is this process' own: --role issuer and --role proxy need a store they share, \
         such as \"redis://host:6379/0\""
    )]
    Alone,
    /// The database of targets.
    #[error("inventory.database: {0}")]
    Inventory(#[from] RegistryError),
    /// The keys of the shared inventory.
    #[error("inventory.key_file: the keys cannot be used")]
    Seals,
    /// The process before this one knows the shared inventory, and goes on serving.
    #[error("inventory.shared: the store does not answer, and the process before this one knows its targets")]
    Unread,
    /// A page header that cannot be sent.
    #[error("proxy.frame_ancestors: {0}")]
    Pages(#[from] InvalidFrameAncestor),
    /// Credentials that cannot be checked.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The place for recordings.
    #[error(transparent)]
    Recording(#[from] RecordError),
    /// What the process before this one left.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// Threads or sockets.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// What can be asked of a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read inventory and certificates again, and open the audit log under its name.
    Reload,
    /// Take no new consoles, wait for the live ones, then end.
    Drain,
    /// Start the program in this process' place; its sessions live on here, and it ends with the last.
    HandOver,
}

/// Which of the parts a process serves; the admin listener is always there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Issuer and proxy.
    #[default]
    All,
    /// The APIs that hand out console URLs.
    Issuer,
    /// Pages and WebSockets.
    Proxy,
}

/// Bound and built, not yet running.
pub struct Server {
    config: Config,
    listeners: Vec<(TcpListener, &'static str, Roles)>,
    shared: Arc<Shared>,
    memory: Option<Memory>,
    /// Kept by a process that has sessions.
    roster: Option<Roster>,
    /// The process before this one, which waits for our word, and what we want to know of its sessions.
    before: Option<Before>,
    predecessor: Option<Predecessor>,
}

/// The store, if it is this process' own.
#[derive(Clone)]
struct Memory {
    /// What has to be swept.
    store: Arc<MemoryStore>,
    movable: Arc<Movable>,
}

/// Where a server listens, ports decided.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The issuer.
    pub api: SocketAddr,
    /// Pages and WebSockets.
    pub proxy: SocketAddr,
    /// Health.
    pub admin: SocketAddr,
}

impl Server {
    /// Binds every listener and builds every part. Nothing is accepted before [`Server::run`].
    pub fn new(config: Config) -> Result<Self, ServerError> {
        Self::with_clock(config, Role::All, Clock::system())
    }

    /// As [`Server::new`], but serves only what `role` says. A store in memory takes its time from `clock`.
    pub fn with_clock(config: Config, role: Role, clock: Clock) -> Result<Self, ServerError> {
        Self::inheriting(config, role, clock, Heritage::default())
    }

    /// As [`Server::with_clock`], with what was passed on to this process. If another one is to be followed, its
    /// tokens and files are taken over here, and it is told so by [`Server::run`].
    pub fn inheriting(
        mut config: Config,
        role: Role,
        clock: Clock,
        mut heritage: Heritage,
    ) -> Result<Self, ServerError> {
        let tls = config.tls.as_ref().map(|files| TlsAcceptor::load(files, &config.listen)).transpose()?;
        let listeners = bind_all(&mut config, role, &mut heritage)?;
        let web = Web::new(&config.proxy.frame_ancestors, config.proxy.public_url.starts_with("https:"))?;
        let (store, memory, redis) = open_store(&config, role, &clock)?;
        let authenticator =
            Authenticator::new(&config, &clock, redis.clone().map(|redis| redis as Arc<dyn Once>))?;
        let old = heritage.control().map(Old::new);
        let (registry, shared_inventory) = inventory::begin(&config, redis.as_ref(), old.is_some())?;
        // From here on what another process has: everything else that could fail is behind us.
        let (predecessor, before) = old.map(|old| take_over(old, memory.as_ref())).transpose()?.unzip();
        let (audit, recorder) = open_records(&config, role, &clock)?;
        let fingerprints = Fingerprinter::random()?;
        let registrar = inventory::registrar(&config, &registry, shared_inventory.as_ref())?;
        let fleet = Fleet::new(&config.proxy.name, redis.clone());
        let metrics = Metrics::default();
        let store: Arc<dyn Store> = Arc::new(Metered::new(store, metrics.clone()));
        let unauthenticated = Cap::new(config.limits.unauthenticated);
        let own = listeners.iter().filter_map(|(listener, ..)| listener.local_addr().ok()).collect();
        let proxy = Proxy::new(
            &config,
            Arc::clone(&store),
            Arc::clone(registry.inventory()),
            DialPolicy::new(own),
            unauthenticated.clone(),
            fingerprints.clone(),
        );
        let proxy = proxy.observed(audit.clone(), metrics.clone()).recording(recorder);
        let proxy = Arc::new(proxy.after(predecessor.clone()).in_fleet(fleet.clone()));
        let local = Arc::clone(proxy.sessions()) as Arc<dyn Local>;
        let roster = Roster::new(fleet, local).after(predecessor.clone());
        let live = Arc::new(roster.clone()) as Arc<dyn Live>;
        let revoker = Revoker::new(Arc::clone(&store), Arc::clone(&live));
        let kept = (role != Role::Issuer).then(|| roster.clone());
        let admin =
            Admin::new(&config.admin, Arc::clone(&proxy), roster.clone(), Arc::clone(&registry), revoker);
        let admin = admin.observed(audit.clone(), metrics.clone()).with_pages(web.clone());
        let admin = admin.registering(registrar.clone(), shared_inventory.clone());
        let inventory = Arc::clone(registry.inventory());
        let api = Api::new(&config, inventory, Arc::clone(&store), fingerprints, authenticator, clock, live);
        let shared = Arc::new(Shared {
            roles: listeners.iter().map(|(_, _, roles)| *roles).collect(),
            tls,
            web,
            api: Arc::new(api.observed(audit.clone(), metrics.clone())),
            metrics,
            proxy,
            admin,
            roster,
            unauthenticated,
            watchers: Cap::new(connection::ADMIN_CONNECTIONS),
            registry,
            registrar,
            inventory: shared_inventory,
            store,
            redis,
            audit,
            unready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            followed: AtomicBool::new(false),
        });
        Ok(Self { config, listeners, shared, memory, roster: kept, before, predecessor })
    }

    /// The configuration in force, with the ports that were bound.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        let listen = &self.config.listen;
        Addresses { api: listen.api, proxy: listen.proxy, admin: listen.admin }
    }

    /// The issuer, for URLs made without a request.
    pub fn api(&self) -> Arc<Api> {
        Arc::clone(&self.shared.api)
    }

    /// Serves until told to drain (or until `commands` closes), and ends when the last session has ended or
    /// the drain's deadline has passed.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), ServerError> {
        let Self { config, listeners, shared, memory, roster, before, predecessor } = self;
        let handler: Handler = {
            let shared = Arc::clone(&shared);
            Arc::new(move |accepted| {
                if let Some(redis) = &shared.redis {
                    redis.come_near();
                }
                Box::pin(connection::serve(Arc::clone(&shared), accepted))
            })
        };
        let workers = Arc::new(Workers::start(config.proxy.workers, &handler)?);
        shared.metrics.show_workers(workers.loads());
        let doors = Doors { workers: Arc::clone(&workers), tls: shared.tls.is_some() };
        if let Some((mut old, wishes)) = before {
            old.started()?;
            let store = Arc::clone(&shared.store);
            tokio::spawn(async move {
                match old.serve(store, wishes).await {
                    Ok(()) => info!("the process before this one has ended"),
                    Err(error) => warn!(%error, "the process before this one is out of reach"),
                }
            });
        }
        let listeners = listeners.into_iter().map(|(listener, role, _)| (role, listener));
        let mut acceptors = doors.open(listeners.collect())?;
        let serve = async {
            loop {
                match attend(&config, &shared, memory.as_ref(), &mut commands).await {
                    Next::Drain => break drain(&config, &shared, acceptors).await,
                    Next::HandOver => {}
                }
                match hand_over(&config, &shared, memory.as_ref(), &doors, acceptors).await? {
                    Ok(()) => break outlive(&config, &shared, predecessor.as_ref(), &mut commands).await,
                    Err(same) => acceptors = same,
                }
            }
            Ok::<_, ServerError>(())
        };
        let roster_kept = async {
            match &roster {
                Some(roster) => roster.keep().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serve => served?,
            () = roster_kept => {}
            () = inventory::follow(&shared) => {}
        }
        if let Some(roster) = &roster {
            roster.part().await;
        }
        stop_recorder(&shared).await;
        drop(doors);
        shared.audit.record(|| Event::new(audit::Kind::Stop));
        if !shared.audit.flush().await {
            error!("the audit log's last lines were not written");
        }
        drop(handler);
        // Joining threads blocks; the runtime may have nothing else to do, but its timers must not notice.
        let ended = tokio::task::spawn_blocking(move || Arc::into_inner(workers).map(Workers::stop)).await;
        if ended.is_err() {
            warn!("a worker thread could not be ended");
        }
        Ok(())
    }
}

/// The process before this one: where it is told what becomes of its sessions, and what we want to know of them.
type Before = (Old, mpsc::Receiver<Wish>);

/// Takes over what the process before this one has.
fn take_over(mut old: Old, memory: Option<&Memory>) -> Result<(Predecessor, Before), ServerError> {
    let Estate { packed, ago } = old.receive()?;
    info!(tokens = packed.len(), "taken over from the process before this one");
    if let Some(memory) = memory {
        memory.store.unpack(packed, ago);
    }
    let (to, wishes) = Predecessor::new();
    Ok((to, (old, wishes)))
}

/// The audit log, and the place for what is recorded of sessions.
fn open_records(
    config: &Config,
    role: Role,
    clock: &Clock,
) -> Result<(Audit, Option<Recorder>), ServerError> {
    let audit = match &config.audit {
        Some(settings) => Audit::open(settings, clock.clone())?,
        None => Audit::default(),
    };
    let recorder = match &config.recording {
        Some(settings) if role != Role::Issuer => {
            Some(Recorder::start(settings, audit.clone(), clock.clone())?)
        }
        _ => None,
    };
    Ok((audit, recorder))
}

/// A store, and once more as what it is.
type Opened = (Arc<dyn Store>, Option<Memory>, Option<Arc<RedisStore>>);

fn open_store(config: &Config, role: Role, clock: &Clock) -> Result<Opened, ServerError> {
    match &config.tokens.store {
        TokenStore::Memory if role != Role::All => Err(ServerError::Alone),
        TokenStore::Memory => {
            let store = Arc::new(MemoryStore::new(clock.clone(), config.tokens.capacity));
            let movable = Arc::new(Movable::new(Arc::clone(&store)));
            Ok((Arc::clone(&movable) as Arc<dyn Store>, Some(Memory { store, movable }), None))
        }
        TokenStore::Redis(settings) => {
            let redis = Arc::new(RedisStore::open(settings)?);
            Ok((Arc::clone(&redis) as Arc<dyn Store>, None, Some(redis)))
        }
    }
}
