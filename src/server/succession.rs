//! What a server does at a hot restart and after it; `handover.rs` has the two processes' conversation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::audit::AuditError;
use crate::config::{Config, watch};
use crate::fleet::Predecessor;
use crate::net::listen::Acceptor;
use crate::proxy;
use crate::tokens::Successor;

use super::connection::Shared;
use super::doors::{Acceptors, Doors, Listeners};
use super::handover::{New, Stays};
use super::upkeep::{LAST_WORDS, drain_by, reload};
use super::{Command, Memory, ServerError};

/// How often a process that is about to end looks whether everybody was answered.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the program in this process' place; `Err`: it stays, and these go on accepting.
pub(super) async fn hand_over(
    config: &Config,
    shared: &Arc<Shared>,
    memory: Option<&Memory>,
    doors: &Doors,
    acceptors: Acceptors,
) -> Result<Result<(), Acceptors>, ServerError> {
    let share = |(role, acceptor): &(&'static str, Acceptor)| acceptor.share().map(|shared| (*role, shared));
    let started = match acceptors.iter().map(share).collect() {
        Ok(listeners) => New::start(listeners).await,
        Err(error) => Err(Stays::Spawn(error)),
    };
    let new = match started {
        Ok(new) => new,
        Err(why) => {
            error!(%why, "no hot restart; this process goes on");
            return Ok(Err(acceptors));
        }
    };
    let listeners = acceptors.into_iter().map(|(role, acceptor)| Ok((role, acceptor.pause()?)));
    let listeners: Listeners = listeners.collect::<std::io::Result<_>>()?;
    let audit_file = config.audit.as_ref().map(|audit| &audit.file);
    if let Err(error) = leave_audit(shared, audit_file).await {
        error!(%error, "no hot restart; this process goes on");
        return Ok(Err(doors.open(listeners)?));
    }
    release(shared, true);
    let packed = memory.map(|memory| memory.movable.pack()).unwrap_or_default();
    let taken = Instant::now();
    match new.take_over(&packed).await {
        Ok(new) => {
            followed(shared, memory, new);
            Ok(Ok(()))
        }
        Err(why) => {
            error!(%why, "no hot restart; this process goes on");
            memory.iter().for_each(|memory| memory.movable.unpack(packed.clone(), taken.elapsed()));
            release(shared, false);
            if let Some(file) = audit_file
                && let Err(error) = shared.audit.move_to(file).await
            {
                error!(%error, "the audit log goes on beside its file");
            }
            Ok(Err(doors.open(listeners)?))
        }
    }
}

/// Leaves the database to the new process; or takes it back.
fn release(shared: &Shared, released: bool) {
    if let Some(registrar) = &shared.registrar {
        registrar.release(released);
    }
}

/// The audit log's file is the new process'; this one's last lines go beside it.
async fn leave_audit(shared: &Shared, file: Option<&PathBuf>) -> Result<(), AuditError> {
    let Some(file) = file else { return Ok(()) };
    let mut beside = file.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    shared.audit.move_to(Path::new(&beside)).await
}

/// The new process has everything.
fn followed(shared: &Arc<Shared>, memory: Option<&Memory>, new: New) {
    shared.followed.store(true, Ordering::SeqCst);
    info!(pid = new.id(), sessions = shared.proxy.sessions().count(), "a new process has taken over");
    if let Some(pid) = new.id()
        && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)])
    {
        warn!(%error, "systemd was not told");
    }
    let (successor, asked) = Successor::new();
    memory.iter().for_each(|memory| memory.movable.moved(successor.clone()));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Without tokens of its own the new process is asked nothing; it says what is to end all the same.
        let _asks = successor;
        new.serve(asked, shared.roster.clone()).await;
        warn!("the process after this one is gone");
    });
}

/// Lives until the last session has ended, here and in the processes before this one.
pub(super) async fn outlive(
    config: &Config,
    shared: &Arc<Shared>,
    predecessor: Option<&Predecessor>,
    commands: &mut mpsc::Receiver<Command>,
) {
    let ended = async {
        shared.proxy.drained().await;
        if let Some(predecessor) = predecessor {
            predecessor.gone().await;
        }
    };
    let longest = async {
        match config.proxy.outlive {
            Some(longest) => tokio::time::sleep(longest).await,
            None => std::future::pending().await,
        }
    };
    let mut renew = tokio::time::interval(proxy::RENEW);
    // Servers that go or move end sessions here as well.
    let mut watch = watch::Watch::new(config.target_files()).await;
    tokio::pin!(ended, longest);
    loop {
        // Every branch is cancel-safe, or kept.
        tokio::select! {
            () = &mut ended => break,
            () = &mut longest => return drain_by(Duration::ZERO, shared).await,
            command = commands.recv() => match command {
                Some(Command::Drain) | None => return drain_by(config.proxy.drain, shared).await,
                Some(Command::Reload) => {
                    reload(config, shared);
                    shared.audit.reopen();
                }
                Some(Command::HandOver) => warn!("a new process has taken over already: signal that one"),
            },
            () = watch.changed(watch::EVERY) => reload(config, shared),
            _ = renew.tick() => {
                shared.proxy.release_hubs();
                tokio::spawn(Arc::clone(&shared.proxy).renew());
            }
        }
    }
    // Requests that were under way, and connections kept open for another, get their last answer.
    let answered = async {
        while shared.proxy.unauthenticated() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, answered).await;
}
