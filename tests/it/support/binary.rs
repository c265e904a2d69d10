//! The real program, as an operator runs it: a configuration file, an environment, signals.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::Command;

use super::process::Process;
use super::server::{ADMIN_TOKEN, PROJECT, TOKEN};
use super::{temp, within};

/// The program with a clean environment: nothing of whoever runs the tests gets in.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.args(arguments).env_clear();
    command
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = command(arguments);
    command.envs(environment.iter().copied()).kill_on_drop(true);
    within("the command's end", command.output()).await.expect("cannot start consolegate")
}

/// A running `consolegate serve`.
pub(crate) struct Binary {
    pub(crate) api: SocketAddr,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    process: Process,
    dir: tempfile::TempDir,
}

impl Binary {
    /// Starts it with one listener for API and proxy, the fixed tokens, `more` (TOML), and its targets in a file
    /// of their own.
    pub(crate) async fn serve(more: &str, targets: &str, log: &str, environment: &[(&str, &str)]) -> Self {
        let dir = temp::dir();
        let config = format!(
            "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [inventory]\nfile = \"targets.toml\"\n\
             [[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"demo\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n\
             [[auth.token]]\ntoken = \"{ADMIN_TOKEN}\"\nuser = \"root\"\nproject = \"{PROJECT}\"\nroles = [\"admin\"]\n\
             {more}\n"
        );
        std::fs::write(dir.path().join("consolegate.toml"), config).expect("a file in our directory");
        std::fs::write(dir.path().join("targets.toml"), targets).expect("a file in our directory");
        let file = dir.path().join("consolegate.toml");
        let mut command = command(&["serve", "--log", log, "--config", file.to_str().expect("UTF-8")]);
        command.envs(environment.iter().copied());
        let mut process = Process::start("consolegate", command, dir.path());
        let log = process.log().to_owned();
        let found =
            process.ready("listeners", async || Some((listener(&log, "api")?, listener(&log, "admin")?)));
        let (proxy, admin) = found.await;
        Self { api: proxy, proxy, admin, process, dir }
    }

    /// The inventory's file.
    pub(crate) fn targets(&self) -> PathBuf {
        self.dir.path().join("targets.toml")
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("cannot signal our own child");
    }

    /// Lowers its limit of open files to `spare` more than it has open now.
    pub(crate) fn leave_descriptors(&self, spare: u64) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("its descriptors");
        let limit = Some(open.count() as u64 + spare);
        let limit = Rlimit { current: limit, maximum: limit };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("cannot limit our own child");
    }

    /// What it has logged so far.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// Waits until it has logged `words`.
    pub(crate) async fn until_said(&mut self, words: &str) {
        let log = self.process.log().to_owned();
        let said = async || read(&log).contains(words).then_some(());
        self.process.ready(words, said).await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("consolegate's end", self.process.ended()).await
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// The address in the line that says what listens, in either format of the log.
fn listener(log: &Path, role: &str) -> Option<SocketAddr> {
    let text = read(log);
    let whole = &text[..=text.rfind('\n')?];
    let as_text = format!("role=\"{role}");
    let as_json = format!("\"role\":\"{role}");
    let line =
        whole.lines().find(|l| l.contains("listening") && (l.contains(&as_text) || l.contains(&as_json)))?;
    let rest = line.split_once("address=").or_else(|| line.split_once("\"address\":\""))?.1;
    let end = rest.find([' ', '"']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
