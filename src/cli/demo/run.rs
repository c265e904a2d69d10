//! `consolegate demo`: a server with consoles to try, and the links to them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::cli::{print, serve};
use crate::config::{Config, Proxy, Target};
use crate::ids::{Protocol, UserId};
use crate::server::Server;

use super::{GuestFiles, start};

/// Run with consoles to try.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DemoArguments {
    /// The port of API, pages and consoles, on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 6080)]
    port: u16,
    /// A Linux kernel to boot as a real guest, where QEMU is installed.
    #[arg(long, value_name = "FILE", requires = "guest_initrd")]
    guest_kernel: Option<PathBuf>,
    /// The guest's initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "guest_kernel")]
    guest_initrd: Option<PathBuf>,
}

pub(in crate::cli) async fn run(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    let dir = std::env::temp_dir().join(format!("consolegate-demo-{}", std::process::id()));
    let guest = match (arguments.guest_kernel, arguments.guest_initrd) {
        (Some(kernel), Some(initrd)) => {
            print::note("Booting the demo's guest (software emulation, a few seconds) ...");
            Some(GuestFiles { kernel, initrd })
        }
        _ => None,
    };
    let ran = async {
        let demo = start(&dir, guest).await?;
        let targets = demo.targets();
        let server = Server::new(config(arguments.port, targets.clone())?)
            .context("the demo cannot listen; `--port 0` takes a free port")?;
        introduce(&server, &targets).await?;
        serve::steer(server).await
    };
    let ran = ran.await;
    // Sockets and shells' homes; nothing of value, and nobody else's.
    let _ = std::fs::remove_dir_all(&dir);
    ran.map(|()| ExitCode::SUCCESS)
}

fn config(port: u16, targets: Vec<Target>) -> anyhow::Result<Config> {
    let mut config = Config::default_local()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.listen.api = address;
    config.listen.proxy = address;
    config.listen.admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.proxy.public_url = Proxy::default_public_url(address, false);
    config.urls.openstack_novnc = "{public_url}/vnc.html?token={token}".to_owned();
    for token in &mut config.auth.tokens {
        token.project = super::PROJECT.into();
    }
    config.targets = targets;
    Ok(config)
}

/// Prints one link per console, and how to get more.
async fn introduce(server: &Server, targets: &[Target]) -> anyhow::Result<()> {
    let mut text = String::from("\nOpen these in a browser. Each link works once, within ten minutes.\n\n");
    for target in targets {
        for protocol in [Protocol::Vnc, Protocol::Serial] {
            if target.endpoint(protocol).is_some() {
                let url = server.api().issue(&target.id, protocol, &UserId::from("demo"), None).await?;
                writeln!(text, "  {:<12} {:<7} {url}", target.name, protocol.as_str())?;
            }
        }
    }
    if let Some(token) = &server.config().generated.token {
        let api = format!("http://{}/v2.1", server.addresses().api);
        let program = std::env::current_exe().unwrap_or_else(|_| "consolegate".into());
        let name = targets.first().map_or("demo-canvas", |target| target.name.as_str());
        write!(
            text,
            "\nMore links, as a tenant would get them:\n\n  \
             CONSOLEGATE_TOKEN={} {} issue --api {api} {name}\n\n\
             Ctrl-C ends the demo.\n",
            token.expose_secret(),
            program.display(),
        )?;
    }
    // At once and last, so that no log line stands between the links.
    print::line(text);
    Ok(())
}
