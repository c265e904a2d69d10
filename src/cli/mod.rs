//! The commands: what users type, and what they are told.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::log;
use crate::net::inherit::Heritage;

mod audit;
mod certs;
mod check;
mod client;
pub mod demo;
mod issue;
mod issuer;
mod load;
mod print;
mod replay;
mod serve;

/// Console token issuer and WebSocket proxy for VM and bare-metal clouds.
///
/// A tenant asks the API for a server's console and gets a URL with a one-time token; a browser opens it; the
/// proxy spends the token once, connects to the server's VNC or serial console and relays the bytes.
///
/// Start with `consolegate demo`: it prints URLs that open in a browser at once.
#[derive(Debug, Parser)]
#[command(name = "consolegate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr look; their level is set by RUST_LOG, e.g. RUST_LOG=debug.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run issuer and proxy.
    ///
    /// Without --config: loopback only, no servers, and a random API token that is printed once. SIGHUP
    /// reloads inventory and certificates, and opens the audit log anew; SIGTERM takes no new consoles and ends
    /// when the last one has ended or proxy.drain has passed; SIGUSR2 starts the program as it is on disk now in
    /// its place, with listeners and tokens, while its sessions live on in the old process.
    Serve(serve::Serve),
    /// Run with consoles to try: a screen, a shell, and a real guest where QEMU is installed.
    Demo(demo::run::DemoArguments),
    /// Ask a running issuer for a console URL.
    Issue(issue::Issue),
    /// Open a serial console in this terminal.
    Connect(Box<client::connect::Connect>),
    /// Give a native VNC viewer a local port.
    Tunnel(Box<client::tunnel::Tunnel>),
    /// Measure a proxy: throughput, latency, set-ups, memory, correctness.
    Load(load::Load),
    /// Check a configuration file and say everything that is wrong with it.
    Check(check::Check),
    /// Check audit logs: was a line altered, left out, moved or added?
    Audit(audit::Audit),
    /// Play a recording: a serial line in this terminal, a screen in a VNC viewer.
    ///
    /// In the terminal, space stands still and goes on, left and right go 10 s back and forth, + and - change the
    /// speed, 0 begins anew, q ends it.
    Replay(replay::Replay),
    /// Make a development CA and server certificate, for loopback only.
    Certs(certs::Certs),
    /// Print a shell's completion script.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// The configuration file, an argument of several commands.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file (TOML); see consolegate.example.toml for every setting.
    #[arg(long, short, value_name = "FILE", env = "CONSOLEGATE_CONFIG")]
    config: Option<PathBuf>,
}

/// Parses the command line, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = match arguments.log {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    let done = log::init(format).map_err(anyhow::Error::from).and_then(|()| run(arguments.command));
    // What went wrong is said last.
    log::flush();
    done.unwrap_or_else(|error| {
        print::error(&error);
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => {
            let heritage = Heritage::take().context("what was passed on to this process")?;
            block_on(serve::run(arguments, heritage))
        }
        Command::Demo(arguments) => block_on(demo::run::run(arguments)),
        Command::Issue(arguments) => block_on(issue::run(arguments)),
        Command::Connect(arguments) => block_on(client::connect::run(*arguments)),
        Command::Tunnel(arguments) => block_on(client::tunnel::run(*arguments)),
        Command::Load(arguments) => block_on(load::run(arguments)),
        Command::Check(arguments) => check::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Replay(arguments) => block_on(replay::run(arguments)),
        Command::Certs(arguments) => certs::run(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "consolegate", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Everything but the sessions runs on one small runtime; the workers have their own.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_command_is_explained() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
        }
    }
}
