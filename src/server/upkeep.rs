//! What a server does beside serving: it sweeps, reloads what changed, and drains when told to go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::audit::{self, Event};
use crate::config::{Config, watch};
use crate::ids::TargetId;
use crate::net::tls::TlsAcceptor;
use crate::proxy;
use crate::relay::End;
use crate::relay::record::Recorder;
use crate::targets::Changes;
use crate::tokens::Revoke;

use super::connection::Shared;
use super::doors::Acceptors;
use super::{Command, Memory};

/// One part of the token store is swept at each tick: all of it in a minute or so.
const SWEEP: Duration = Duration::from_secs(1);

/// How often old recordings are looked for: the disk is full sooner than they are old, so this is not for sudden
/// need.
const EXPIRE: Duration = Duration::from_secs(60);
/// How often shared serial lines are looked after: a line to capture that was down is dialled again so often.
const TEND: Duration = Duration::from_secs(5);

/// After the drain's deadline, how long the last close frames may take.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(6);

/// What an attendant was told to do next.
pub(super) enum Next {
    Drain,
    HandOver,
}

/// Keeps house until told to go: sweeps the store, reloads what changed.
pub(super) async fn attend(
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
pub(super) async fn stop_recorder(shared: &Shared) {
    let Some(recorder) = shared.proxy.recorder().cloned() else { return };
    let stopped = tokio::task::spawn_blocking(move || recorder.stop());
    if tokio::time::timeout(LAST_WORDS, stopped).await.is_err() {
        error!("the disk did not take the last of the recordings");
    }
}

/// Reads inventory and certificates again; what is broken stays as it was. Sessions notice only if their server is
/// no longer what they were opened for.
pub(super) fn reload(config: &Config, shared: &Shared) {
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
pub(super) async fn drain(config: &Config, shared: &Shared, acceptors: Acceptors) {
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
pub(super) async fn drain_by(deadline: Duration, shared: &Shared) {
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
