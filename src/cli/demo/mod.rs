//! Consoles to try things on: a screen that shows keys and pointer, a shell on a pty and, with QEMU, a guest.
//!
//! Everything listens on Unix sockets in a directory only its owner can enter: nobody else on the machine, and
//! nothing beyond it, reaches them but through the gate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{Endpoint, Kind, Os, SerialHub, State, Target, Viewers, VncSecurity};
use crate::ids::{ProjectId, TargetId};

mod canvas;
mod guest;
pub(super) mod run;
mod shell;

pub use guest::GuestFiles;

/// The project that owns the demo's servers.
pub const PROJECT: &str = "demo";
/// Id of the server whose screen shows what arrives.
pub const CANVAS_ID: &str = "d3e00001-0000-4000-8000-000000000001";
/// Id of the server whose serial line is a shell.
pub const SHELL_ID: &str = "d3e00002-0000-4000-8000-000000000002";
/// Id of the real guest.
pub const GUEST_ID: &str = "d3e00003-0000-4000-8000-000000000003";

/// Connections at once to each of canvas and shell: more tabs than anybody opens, fewer than a machine minds.
const MAX_CONNECTIONS: usize = 16;
/// How long to rest when accepting fails (no file descriptors left): long enough not to spin.
const ACCEPT_REST: Duration = Duration::from_millis(500);
/// A reader that takes nothing for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes moved at once: a screenful of text, and then some.
const BUFFER: usize = 16 * 1024;

/// The running demo servers; dropping it ends them, their connections, shells and guest.
#[derive(Debug)]
pub struct Demo {
    targets: Vec<Target>,
    _servers: JoinSet<()>,
    _guest: Option<guest::Guest>,
}

impl Demo {
    /// What the inventory is to list.
    pub fn targets(&self) -> Vec<Target> {
        self.targets.clone()
    }
}

/// Starts the servers with their sockets in `dir`, which is made if need be and closed to others.
///
/// `guest` boots a real machine if `qemu-system-x86_64` is on PATH; without it the demo is the other two.
///
/// # Errors
/// The directory, a socket or the guest could not be made.
pub async fn start(dir: &Path, guest: Option<GuestFiles>) -> anyhow::Result<Demo> {
    private_dir(dir).with_context(|| format!("cannot make the demo directory {}", dir.display()))?;
    let (canvas, shell) = (dir.join("canvas.sock"), dir.join("shell.sock"));
    let mut servers = JoinSet::new();
    servers.spawn(serve(listen(&canvas)?, canvas::serve));
    let homes = dir.to_owned();
    servers.spawn(serve(listen(&shell)?, move |stream| shell::serve(stream, homes.clone())));
    let mut targets = vec![
        Target { vnc: Some(Endpoint::Unix(canvas)), ..target(CANVAS_ID, "demo-canvas", Kind::Vm) },
        Target { serial: Some(Endpoint::Unix(shell)), ..target(SHELL_ID, "demo-shell", Kind::Baremetal) },
    ];
    let guest = match (guest, guest::qemu()) {
        (Some(files), Some(qemu)) => Some(guest::boot(&qemu, &files, dir).await?),
        (Some(_), None) => {
            tracing::warn!("no demo guest: {} is not on PATH", guest::QEMU);
            None
        }
        (None, _) => None,
    };
    if let Some(guest) = &guest {
        targets.push(Target {
            vnc: Some(Endpoint::Unix(guest.vnc().to_owned())),
            serial: Some(Endpoint::Unix(guest.serial().to_owned())),
            // QEMU's serial socket takes one client and lets a second hang: all share ours.
            serial_viewers: Viewers::Hub,
            ..target(GUEST_ID, "demo-guest", Kind::Vm)
        });
    }
    Ok(Demo { targets, _servers: servers, _guest: guest })
}

fn target(id: &str, name: &str, kind: Kind) -> Target {
    Target {
        id: TargetId::from(id),
        name: name.to_owned(),
        project: ProjectId::from(PROJECT),
        kind,
        state: State::Active,
        os: Os::Linux,
        zone: "demo".to_owned(),
        region: "local".to_owned(),
        vnc: None,
        serial: None,
        spice: None,
        mks: None,
        vnc_viewers: Viewers::Share,
        serial_viewers: Viewers::Share,
        serial_reconnect: None,
        serial_hub: SerialHub::default(),
        vnc_view_only: false,
        record: None,
        vnc_security: VncSecurity::default(),
    }
}

/// Makes `dir` and lets only its owner in.
fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// Listens at `path`, in place of a socket an earlier run may have left.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    remove_socket(path);
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// Removes a socket, and nothing but a socket.
fn remove_socket(path: &Path) {
    use std::os::unix::fs::FileTypeExt as _;

    if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Serves every connection in a task of its own, a bounded number at once; ends with the task it runs in.
async fn serve<F, S>(listener: UnixListener, session: F)
where
    F: Fn(UnixStream) -> S,
    S: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut sessions = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while sessions.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "demo cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let session = session(stream);
        sessions.spawn(async move {
            if let Err(error) = session.await {
                tracing::debug!(error = format!("{error:#}"), "demo session ended");
            }
            drop(permit);
        });
    }
}

/// Moves bytes until `from` ends, without reading on while `to` does not take them.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        write(to, &buffer[..n]).await?;
    }
}

/// Writes all of `bytes`, or gives up on a peer that takes none of them.
async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    tokio::time::timeout(WRITE_DEADLINE, to.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// A path that is removed, with all below it, when dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
