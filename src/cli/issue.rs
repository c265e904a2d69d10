//! `consolegate issue`: a console URL from the command line, asked of a running issuer as any client would.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;
use crate::ids::Protocol;

use super::issuer::Issuer;
use super::{ConfigFile, print};

/// Ask a running issuer for a console URL.
///
/// The issuer is found through --api, else through the environment, which also holds the credential: CONSOLEGATE_API
/// with CONSOLEGATE_TOKEN, or OS_AUTH_URL and what openstackclient reads beside it, or OS_CLOUD, a name in your
/// clouds.yaml. Without any it is looked for at the [listen] section of --config, else on its default port of this
/// machine.
#[derive(Debug, clap::Args)]
pub(super) struct Issue {
    /// The server's id or name.
    server: String,
    /// Which console: vnc or serial.
    #[arg(long, short, default_value = "vnc", value_parser = protocol)]
    protocol: Protocol,
    /// The issuer's base URL, e.g. https://console.example:8774/v2.1.
    #[arg(long, value_name = "URL", env = "CONSOLEGATE_API")]
    api: Option<String>,
    /// Trust these certificate authorities (PEM) instead of the system's.
    #[arg(long, value_name = "FILE", env = "OS_CACERT")]
    ca: Option<PathBuf>,
    /// Print the issuer's JSON instead of the URL alone.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// A protocol that has consoles here.
pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "vnc" => Ok(Protocol::Vnc),
        "serial" => Ok(Protocol::Serial),
        other => Err(format!("expected vnc or serial, found {other:?}")),
    }
}

pub(super) async fn run(arguments: Issue) -> anyhow::Result<ExitCode> {
    let elsewhere = ["OS_CLOUD", "OS_AUTH_URL", "OS_ENDPOINT", "OS_COMPUTE_ENDPOINT_OVERRIDE"];
    let named = elsewhere.into_iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()));
    let base = match &arguments.api {
        Some(url) => Some(url.clone()),
        None if named && arguments.file.config.is_none() => None,
        None => Some(issuer_of(&arguments)?),
    };
    let issuer = Issuer::new(base.as_deref(), arguments.ca.as_deref())?;
    let id = issuer.server_id(&arguments.server).await?;
    let console = issuer.console(&id, arguments.protocol).await?;
    if arguments.json {
        print::line(console.json());
    } else {
        print::line(console.url());
    }
    Ok(ExitCode::SUCCESS)
}

fn issuer_of(arguments: &Issue) -> anyhow::Result<String> {
    let config = Config::load(arguments.file.config.as_deref())?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}/v2.1", config.listen.api))
}
