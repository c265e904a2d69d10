//! The server as a value: bind every listener, build every part, run, reload, drain.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::api::Api;
use crate::audit::{self, Audit, AuditError, Event};
use crate::auth::{AuthSetupError, Authenticator};
use crate::clock::Clock;
use crate::config::{Config, Proxy as ProxySettings, TokenStore, watch};
use crate::fleet::{Fleet, Local, Roster};
use crate::ids::TargetId;
use crate::limits::Cap;
use crate::metrics::Metrics;
use crate::net::listen::{Acceptor, ListenError, bind};
use crate::net::tls::{TlsAcceptor, TlsError};
use crate::net::workers::{Handler, Workers};
use crate::proxy::{self, Proxy};
use crate::relay::End;
use crate::targets::{Changes, DialPolicy, Registry, RegistryError};
use crate::tokens::{
    Fingerprinter, Live, MemoryStore, Metered, RedisSetupError, RedisStore, Revoke, Revoker, Store,
    TokenError,
};
use crate::web::{InvalidFrameAncestor, Web};

mod connection;

use connection::{Roles, Shared};

/// One part of the token store is swept at each tick: all of it in a minute or so.
const SWEEP: Duration = Duration::from_secs(1);

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
    /// A page header that cannot be sent.
    #[error("proxy.frame_ancestors: {0}")]
    Pages(#[from] InvalidFrameAncestor),
    /// Credentials that cannot be checked.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
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
    /// The store that has to be swept, if it is ours.
    memory: Option<Arc<MemoryStore>>,
    /// Kept by a process that has sessions.
    roster: Option<Roster>,
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
    pub fn with_clock(mut config: Config, role: Role, clock: Clock) -> Result<Self, ServerError> {
        if role != Role::All && matches!(config.tokens.store, TokenStore::Memory) {
            return Err(ServerError::Alone);
        }
        let tls = config.tls.as_ref().map(|files| TlsAcceptor::load(files, &config.listen)).transpose()?;
        let listeners = bind_all(&mut config, role)?;
        let audit = match &config.audit {
            Some(settings) => Audit::open(settings, clock.clone())?,
            None => Audit::default(),
        };
        let fingerprints = Fingerprinter::random()?;
        let database = config.inventory_database.as_deref();
        let registry = Arc::new(Registry::new(config.targets.clone(), database)?);
        let inventory = Arc::clone(registry.inventory());
        let authenticator = Authenticator::new(&config, &clock)?;
        let (store, memory, redis) = open_store(&config, &clock)?;
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
        let proxy = Arc::new(proxy.observed(audit.clone(), metrics.clone()).in_fleet(fleet.clone()));
        let roster = Roster::new(fleet, Arc::clone(proxy.sessions()) as Arc<dyn Local>);
        let live = Arc::new(roster.clone()) as Arc<dyn Live>;
        let revoker = Revoker::new(Arc::clone(&store), Arc::clone(&live));
        let kept = (role != Role::Issuer).then(|| roster.clone());
        let admin = Admin::new(&config.admin, Arc::clone(&proxy), roster, Arc::clone(&registry), revoker);
        let https = config.proxy.public_url.starts_with("https:");
        let web = Web::new(&config.proxy.frame_ancestors, https)?;
        let admin = admin.observed(audit.clone(), metrics.clone()).with_pages(web.clone());
        let inventory = Arc::clone(&inventory);
        let api = Api::new(&config, inventory, Arc::clone(&store), fingerprints, authenticator, clock, live);
        let shared = Arc::new(Shared {
            roles: listeners.iter().map(|(_, _, roles)| *roles).collect(),
            tls,
            web,
            api: Arc::new(api.observed(audit.clone(), metrics)),
            proxy,
            admin,
            unauthenticated,
            watchers: Cap::new(connection::ADMIN_CONNECTIONS),
            registry,
            store,
            audit,
            draining: AtomicBool::new(false),
        });
        Ok(Self { config, listeners, shared, memory, roster: kept })
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
        let Self { config, listeners, shared, memory, roster } = self;
        let handler: Handler = {
            let shared = Arc::clone(&shared);
            Arc::new(move |accepted| Box::pin(connection::serve(Arc::clone(&shared), accepted)))
        };
        let workers = Arc::new(Workers::start(config.proxy.workers, &handler)?);
        let mut acceptors = Vec::with_capacity(listeners.len());
        for (index, (listener, role, _)) in listeners.into_iter().enumerate() {
            info!(address = %listener.local_addr()?, role, tls = shared.tls.is_some(), "listening");
            let workers = Arc::clone(&workers);
            let take = move |socket, peer| workers.hand_over(socket, peer, index);
            acceptors.push((role, Acceptor::start(listener, role, take)?));
        }
        let serve = async {
            attend(&config, &shared, memory.as_deref(), &mut commands).await;
            drain(&config, &shared, acceptors).await;
        };
        match &roster {
            Some(roster) => {
                tokio::select! {
                    () = serve => {}
                    () = roster.keep() => {}
                }
                roster.part().await;
            }
            None => serve.await,
        }
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

/// A store, and once more as what it is.
type Opened = (Arc<dyn Store>, Option<Arc<MemoryStore>>, Option<Arc<RedisStore>>);

fn open_store(config: &Config, clock: &Clock) -> Result<Opened, RedisSetupError> {
    match &config.tokens.store {
        TokenStore::Memory => {
            let memory = Arc::new(MemoryStore::new(clock.clone(), config.tokens.capacity));
            Ok((Arc::clone(&memory) as Arc<dyn Store>, Some(memory), None))
        }
        TokenStore::Redis(settings) => {
            let redis = Arc::new(RedisStore::open(settings)?);
            Ok((Arc::clone(&redis) as Arc<dyn Store>, None, Some(redis)))
        }
    }
}

/// Binds the role's listeners, one socket where addresses are equal, and puts the ports into the configuration.
fn bind_all(config: &mut Config, role: Role) -> Result<Vec<(TcpListener, &'static str, Roles)>, ServerError> {
    let listen = config.listen.clone();
    let (api, proxy) = (role != Role::Proxy, role != Role::Issuer);
    let mut listeners = Vec::with_capacity(3);
    let mut add = |address, name, roles| {
        listeners.push((bind(address, name)?, name, roles));
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

/// Keeps house until told to drain: sweeps the store, reloads what changed.
async fn attend(
    config: &Config,
    shared: &Shared,
    memory: Option<&MemoryStore>,
    commands: &mut mpsc::Receiver<Command>,
) {
    let mut sweep = tokio::time::interval(SWEEP);
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
                Some(Command::Drain) | None => return,
            },
            () = watch.changed(watch::EVERY) => reload(config, shared),
            _ = tend.tick(), if proxies => shared.proxy.tend_hubs(),
            _ = sweep.tick() => {
                memory.map(MemoryStore::sweep);
            }
            // A round that takes longer, with a store that does not answer, is not overtaken.
            _ = renew.tick(), if renewing.is_finished() => {
                renewing = tokio::spawn(Arc::clone(&shared.proxy).renew());
            }
        }
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

/// Takes no new connections on the proxy and API, waits for live sessions, then tells the rest to go. The
/// admin listener answers until the end, so that a load balancer sees the drain.
async fn drain(config: &Config, shared: &Shared, acceptors: Vec<(&'static str, Acceptor)>) {
    shared.draining.store(true, Ordering::SeqCst);
    let (admin, public): (Vec<_>, Vec<_>) = acceptors.into_iter().partition(|(role, _)| *role == "admin");
    for (_, acceptor) in public {
        acceptor.stop();
    }
    let sessions = shared.proxy.sessions();
    info!(sessions = sessions.count(), deadline = ?config.proxy.drain, "draining");
    if tokio::time::timeout(config.proxy.drain, shared.proxy.drained()).await.is_err() {
        info!(sessions = sessions.count(), "the drain's time is over: ending the rest");
        sessions.stop_all(&End::Drain);
        if tokio::time::timeout(LAST_WORDS, shared.proxy.drained()).await.is_err() {
            warn!(sessions = sessions.count(), "sessions cut off without goodbye");
        }
    }
    shared.proxy.end_hubs();
    for (_, acceptor) in admin {
        acceptor.stop();
    }
}
