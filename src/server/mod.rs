//! The server as a value: bind every listener, build every part, run, reload, drain.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::api::Api;
use crate::audit::{self, Audit, AuditError, Event};
use crate::auth::{AuthSetupError, Authenticator};
use crate::clock::Clock;
use crate::config::{Config, Proxy as ProxySettings, TokenStore, watch};
use crate::fleet::{Fleet, Local, Predecessor, Roster, Wish};
use crate::ids::TargetId;
use crate::limits::Cap;
use crate::metrics::Metrics;
use crate::net::inherit::Heritage;
use crate::net::listen::{Acceptor, ListenError, bind};
use crate::net::tls::{TlsAcceptor, TlsError};
use crate::net::workers::{Handler, Workers};
use crate::once::Once;
use crate::proxy::{self, Proxy};
use crate::relay::End;
use crate::relay::record::{RecordError, Recorder};
use crate::targets::{Changes, DialPolicy, RegistryError};
use crate::tokens::{
    Fingerprinter, Live, MemoryStore, Metered, Movable, RedisSetupError, RedisStore, Revoke, Revoker, Store,
    TokenError,
};
use crate::web::{InvalidFrameAncestor, Web};

mod connection;
mod handover;
mod inventory;
mod succession;

pub use connection::http;

use connection::{Roles, Shared};
use handover::{Estate, Old};
use succession::{hand_over, outlive};

pub use handover::HandOverError;

/// One part of the token store is swept at each tick: all of it in a minute or so.
const SWEEP: Duration = Duration::from_secs(1);

/// How often old recordings are looked for: the disk is full sooner than they are old, so this is not for sudden
/// need.
const EXPIRE: Duration = Duration::from_secs(60);
/// How often shared serial lines are looked after: a line to capture that was down is dialled again so often.
const TEND: Duration = Duration::from_secs(5);

/// After the drain's deadline, how long the last close frames may take.
const LAST_WORDS: Duration = Duration::from_secs(6);

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
    before: Option<(Old, mpsc::Receiver<Wish>)>,
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
        if role != Role::All && matches!(config.tokens.store, TokenStore::Memory) {
            return Err(ServerError::Alone);
        }
        let tls = config.tls.as_ref().map(|files| TlsAcceptor::load(files, &config.listen)).transpose()?;
        let listeners = bind_all(&mut config, role, &mut heritage)?;
        let https = config.proxy.public_url.starts_with("https:");
        let web = Web::new(&config.proxy.frame_ancestors, https)?;
        let (store, memory, redis) = open_store(&config, &clock)?;
        let once = redis.clone().map(|redis| redis as Arc<dyn Once>);
        let authenticator = Authenticator::new(&config, &clock, once)?;
        let mut old = heritage.control().map(Old::new);
        let (registry, shared_inventory) = inventory::begin(&config, redis.as_ref(), old.is_some())?;
        // From here on what another process has: everything else that could fail is behind us.
        if let Some(Estate { packed, ago }) = old.as_mut().map(Old::receive).transpose()? {
            info!(tokens = packed.len(), "taken over from the process before this one");
            if let Some(memory) = &memory {
                memory.store.unpack(packed, ago);
            }
        }
        let (predecessor, before) = old
            .map(|old| (Predecessor::new(), old))
            .map_or((None, None), |((to, wishes), old)| (Some(to), Some((old, wishes))));
        let audit = match &config.audit {
            Some(settings) => Audit::open(settings, clock.clone())?,
            None => Audit::default(),
        };
        let fingerprints = Fingerprinter::random()?;
        let registrar = inventory::registrar(&config, &registry, shared_inventory.as_ref())?;
        let inventory = Arc::clone(registry.inventory());
        let near = redis.clone();
        let fleet = Fleet::new(&config.proxy.name, redis);
        let metrics = Metrics::default();
        let store: Arc<dyn Store> = Arc::new(Metered::new(store, metrics.clone()));
        let unauthenticated = Cap::new(config.limits.unauthenticated);
        let own = listeners.iter().filter_map(|(listener, ..)| listener.local_addr().ok()).collect();
        let proxy = Proxy::new(
            &config,
            Arc::clone(&store),
            Arc::clone(&inventory),
            DialPolicy::new(own),
            unauthenticated.clone(),
            fingerprints.clone(),
        );
        let recorder = match &config.recording {
            Some(settings) if role != Role::Issuer => {
                Some(Recorder::start(settings, audit.clone(), clock.clone())?)
            }
            _ => None,
        };
        let proxy = proxy.observed(audit.clone(), metrics.clone()).recording(recorder);
        let proxy = proxy.after(predecessor.clone());
        let proxy = Arc::new(proxy.in_fleet(fleet.clone()));
        let roster = Roster::new(fleet, Arc::clone(proxy.sessions()) as Arc<dyn Local>);
        let roster = roster.after(predecessor.clone());
        let live = Arc::new(roster.clone()) as Arc<dyn Live>;
        let revoker = Revoker::new(Arc::clone(&store), Arc::clone(&live));
        let kept = (role != Role::Issuer).then(|| roster.clone());
        let admin =
            Admin::new(&config.admin, Arc::clone(&proxy), roster.clone(), Arc::clone(&registry), revoker);
        let admin = admin.observed(audit.clone(), metrics.clone()).with_pages(web.clone());
        let admin = admin.registering(registrar.clone(), shared_inventory.clone());
        let inventory = Arc::clone(&inventory);
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
            redis: near,
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

/// The listeners in the order of their roles, as a server has them.
type Listeners = Vec<(&'static str, TcpListener)>;

/// And those who accept from them.
type Acceptors = Vec<(&'static str, Acceptor)>;

/// What accepting takes.
struct Doors {
    workers: Arc<Workers>,
    tls: bool,
}

impl Doors {
    fn open(&self, listeners: Listeners) -> Result<Acceptors, ServerError> {
        let open = |(index, (role, listener)): (usize, (&'static str, TcpListener))| {
            info!(address = %listener.local_addr()?, role, tls = self.tls, "listening");
            let workers = Arc::clone(&self.workers);
            let take = move |socket, peer| workers.hand_over(socket, peer, index);
            Ok((role, Acceptor::start(listener, role, take)?))
        };
        listeners.into_iter().enumerate().map(open).collect()
    }
}

/// A store, and once more as what it is.
type Opened = (Arc<dyn Store>, Option<Memory>, Option<Arc<RedisStore>>);

fn open_store(config: &Config, clock: &Clock) -> Result<Opened, RedisSetupError> {
    match &config.tokens.store {
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

/// Binds the role's listeners, one socket where addresses are equal, and puts the ports into the configuration.
fn bind_all(
    config: &mut Config,
    role: Role,
    heritage: &mut Heritage,
) -> Result<Vec<(TcpListener, &'static str, Roles)>, ServerError> {
    let listen = config.listen.clone();
    let (api, proxy) = (role != Role::Proxy, role != Role::Issuer);
    let mut listeners = Vec::with_capacity(3);
    let mut add = |address, name, roles| {
        let inherited = heritage.listener(name, address);
        listeners.push((inherited.map_or_else(|| bind(address, name), Ok)?, name, roles));
        Ok::<_, ServerError>(())
    };
    if api && proxy && listen.api == listen.proxy {
        add(listen.api, "api and proxy", Roles { api, proxy, admin: false })?;
    } else {
        if api {
            add(listen.api, "api", Roles { api, ..Roles::default() })?;
        }
        if proxy {
            add(listen.proxy, "proxy", Roles { proxy, ..Roles::default() })?;
        }
    }
    add(listen.admin, "admin", Roles { admin: true, ..Roles::default() })?;
    // The default public URL follows the proxy's address, whose port may have been left to the system.
    let tls = config.tls.is_some();
    let follows = config.proxy.public_url == ProxySettings::default_public_url(listen.proxy, tls);
    for (listener, _, roles) in &listeners {
        let address = listener.local_addr()?;
        if roles.api {
            config.listen.api = address;
        }
        if roles.proxy {
            config.listen.proxy = address;
        }
        if roles.admin {
            config.listen.admin = address;
        }
    }
    if follows {
        config.proxy.public_url = ProxySettings::default_public_url(config.listen.proxy, tls);
    }
    Ok(listeners)
}

/// What an attendant was told to do next.
enum Next {
    Drain,
    HandOver,
}

/// Keeps house until told to go: sweeps the store, reloads what changed.
async fn attend(
    config: &Config,
    shared: &Shared,
    memory: Option<&Memory>,
    commands: &mut mpsc::Receiver<Command>,
) -> Next {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut expire = tokio::time::interval(EXPIRE);
    let mut renew = tokio::time::interval(proxy::RENEW);
    let mut renewing = tokio::spawn(std::future::ready(()));
    // An issuer alone has no business with consoles.
    let proxies = shared.roles.iter().any(|roles| roles.proxy);
    let mut tend = tokio::time::interval(TEND);
    let mut files = config.target_files();
    files.extend(shared.tls.iter().flat_map(TlsAcceptor::files));
    let mut watch = watch::Watch::new(files).await;
    loop {
        // Every branch is cancel-safe: a tick, a look at file stamps and a receive lose nothing when dropped.
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Reload) => {
                    reload(config, shared);
                    if proxies {
                        shared.proxy.tend_hubs();
                    }
                    shared.audit.reopen();
                }
                Some(Command::Drain) | None => return Next::Drain,
                Some(Command::HandOver) => return Next::HandOver,
            },
            () = watch.changed(watch::EVERY) => reload(config, shared),
            _ = tend.tick(), if proxies => shared.proxy.tend_hubs(),
            _ = sweep.tick() => {
                memory.map(|memory| memory.store.sweep());
            }
            _ = expire.tick() => {
                if let Some(recorder) = shared.proxy.recorder().cloned() {
                    // The disk decides how long this takes. Two at once do no harm.
                    tokio::task::spawn_blocking(move || expire_recordings(&recorder));
                }
            }
            // A round that takes longer, with a store that does not answer, is not overtaken.
            _ = renew.tick(), if renewing.is_finished() => {
                renewing = tokio::spawn(Arc::clone(&shared.proxy).renew());
            }
        }
    }
}

fn expire_recordings(recorder: &Recorder) {
    if let Err(error) = recorder.sweep(SystemTime::now()) {
        error!(%error, "old recordings cannot be looked for");
    }
}

/// Sessions are over: what was recorded of them is written to the end.
async fn stop_recorder(shared: &Shared) {
    let Some(recorder) = shared.proxy.recorder().cloned() else { return };
    let stopped = tokio::task::spawn_blocking(move || recorder.stop());
    if tokio::time::timeout(LAST_WORDS, stopped).await.is_err() {
        error!("the disk did not take the last of the recordings");
    }
}

/// Reads inventory and certificates again; what is broken stays as it was. Sessions notice only if their server is
/// no longer what they were opened for.
fn reload(config: &Config, shared: &Shared) {
    match config.reload_targets() {
        Ok(targets) => {
            let changes = shared.registry.replace_files(targets);
            info!(
                added = changes.added.len(),
                changed = changes.changed.len(),
                removed = changes.removed.len(),
                targets = shared.registry.inventory().len(),
                "inventory reloaded"
            );
            let ended = shared.proxy.sessions().end_void(shared.registry.inventory());
            if ended > 0 {
                info!(ended, "sessions of servers that changed are over");
            }
            revoke_void(shared, &changes);
            let changed = changes.added.len() + changes.changed.len() + changes.removed.len();
            let (count, cause) = (Some(changed as u64), Some("inventory-reloaded"));
            shared.audit.record(|| Event { count, cause, ..Event::new(audit::Kind::Admin) });
        }
        Err(error) => error!(%error, "inventory not reloaded; the old one stays in force"),
    }
    if let Some(tls) = &shared.tls {
        match tls.reload() {
            Ok(()) => info!("certificates reloaded"),
            Err(error) => error!(%error, "certificates not reloaded; the old ones stay in force"),
        }
    }
}

/// Takes back the unopened links to servers that are gone or have no console now: should they come back, it is to
/// something else. Links to those that moved open nothing any more as it is.
fn revoke_void(shared: &Shared, changes: &Changes) {
    let inventory = shared.registry.inventory();
    let ready = |id: &&TargetId| inventory.find(id).is_some_and(|entry| entry.target.console_ready());
    let changed = changes.changed.iter().filter(|id| !ready(id));
    let void: Vec<_> = changes.removed.iter().chain(changed).cloned().collect();
    let store = Arc::clone(&shared.store);
    tokio::spawn(async move {
        for target in void {
            if let Err(error) = store.revoke(Revoke::Target(target.clone())).await {
                warn!(%error, %target, "links to a server that has changed were not taken back");
            }
        }
    });
}

/// Says that it is not ready any more; then takes no new connections on the proxy and API, waits for live sessions,
/// and tells the rest to go. The admin listener answers until the end, so that a load balancer sees the drain.
async fn drain(config: &Config, shared: &Shared, acceptors: Acceptors) {
    shared.unready.store(true, Ordering::SeqCst);
    if !config.proxy.unready.is_zero() {
        info!(time = ?config.proxy.unready, "not ready any more; connections are taken until the balancer has noticed");
        tokio::time::sleep(config.proxy.unready).await;
    }
    shared.draining.store(true, Ordering::SeqCst);
    let (admin, public): (Vec<_>, Vec<_>) = acceptors.into_iter().partition(|(role, _)| *role == "admin");
    for (_, acceptor) in public {
        acceptor.stop();
    }
    drain_by(config.proxy.drain, shared).await;
    for (_, acceptor) in admin {
        acceptor.stop();
    }
}

/// Waits so long for live sessions, then tells the rest to go.
async fn drain_by(deadline: Duration, shared: &Shared) {
    let sessions = shared.proxy.sessions();
    info!(sessions = sessions.count(), ?deadline, "draining");
    if tokio::time::timeout(deadline, shared.proxy.drained()).await.is_err() {
        info!(sessions = sessions.count(), "the drain's time is over: ending the rest");
        sessions.stop_all(&End::Drain);
        if tokio::time::timeout(LAST_WORDS, shared.proxy.drained()).await.is_err() {
            warn!(sessions = sessions.count(), "sessions cut off without goodbye");
        }
    }
    shared.proxy.end_hubs();
}
