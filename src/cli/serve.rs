//! `consolegate serve`: the issuer and the proxy, and the signals that steer them.

use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::warn;

use crate::clock::Clock;
use crate::config::Config;
use crate::net::inherit::Heritage;
use crate::server::{Command, Role, Server};
use crate::web;

use super::{ConfigFile, print};

/// Run issuer and proxy.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// What this process serves. Issuers and proxies of their own need a token store that they share.
    #[arg(long, value_enum, default_value_t = RoleName::All)]
    role: RoleName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleName {
    /// The APIs that hand out console URLs.
    Issuer,
    /// Pages and WebSockets.
    Proxy,
    /// Both.
    All,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Issuer => Self::Issuer,
            RoleName::Proxy => Self::Proxy,
            RoleName::All => Self::All,
        }
    }
}

pub(super) async fn run(arguments: Serve, heritage: Heritage) -> anyhow::Result<ExitCode> {
    let config = Config::load(arguments.file.config.as_deref()).context("the configuration is not right")?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let server = Server::inheriting(config, arguments.role.into(), Clock::system(), heritage)?;
    introduce(&server);
    steer(server).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the server until SIGTERM or Ctrl-C; a second Ctrl-C ends at once.
pub(super) async fn steer(server: Server) -> anyhow::Result<()> {
    if !web::embedded() {
        warn!("this binary has no console pages; `cargo xtask build` makes one that has");
    }
    let (commands, receiver) = mpsc::channel(8);
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut restart = signal(SignalKind::user_defined2())?;
    let running = server.run(receiver);
    tokio::pin!(running);
    notify(&[sd_notify::NotifyState::Ready]);
    let mut draining = false;
    loop {
        // Cancel-safe: signals stay pending, and `running` is polled on.
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            _ = hang_up.recv() => {
                // A full queue means a reload is waiting already.
                let _ = commands.try_send(Command::Reload);
            }
            _ = restart.recv() => {
                let _ = commands.try_send(Command::HandOver);
            }
            _ = terminate.recv() => {
                notify(&[sd_notify::NotifyState::Stopping]);
                let _ = commands.try_send(Command::Drain);
            }
            _ = interrupt.recv() => {
                if std::mem::replace(&mut draining, true) {
                    anyhow::bail!("interrupted twice: sessions were cut off");
                }
                let _ = commands.try_send(Command::Drain);
            }
        }
    }
}

/// Tells systemd, where it listens; elsewhere this does nothing.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd was not told");
    }
}

/// Credentials that were made because none were written are shown once, here.
fn introduce(server: &Server) {
    let config = server.config();
    let addresses = server.addresses();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    if let Some(token) = &config.generated.token {
        let project = config.auth.tokens.first().map_or("", |token| token.project.as_str());
        print::note(format_args!(
            "No [[auth.token]] is configured, so one was made for this run:\n\n  X-Auth-Token: {}\n  project:      \
             {project}\n  issuer:       {scheme}://{}/v2.1\n",
            token.expose_secret(),
            addresses.api,
        ));
    }
    if let Some(token) = &config.generated.admin_token {
        print::note(format_args!(
            "No [admin] token is configured, so one was made for this run:\n\n  Authorization: Bearer {}\n  admin:         \
             {scheme}://{}/v1/targets\n",
            token.expose_secret(),
            addresses.admin,
        ));
    }
}
