//! The built program as a process of its own, where its memory and its log are the subject.

use std::net::SocketAddr;
use std::process::ExitStatus;

use consolegate::ids::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;

use super::process::Process;
use super::server::{self, PROJECT, TOKEN};
use super::{temp, within};

/// A running `consolegate serve`; killed when dropped.
pub(crate) struct Program {
    /// Issuer and proxy.
    pub(crate) at: SocketAddr,
    admin: SocketAddr,
    role: &'static str,
    // In this order: the process ends before its directory is removed.
    process: Process,
    dir: TempDir,
}

impl Program {
    /// Serves on ports of the system's choice, with `more` (TOML) in its configuration.
    pub(crate) async fn serve(more: &str) -> Self {
        Self::in_role("all", more).await
    }

    /// As [`Program::serve`], serving a part of it.
    pub(crate) async fn in_role(role: &'static str, more: &str) -> Self {
        let dir = temp::dir();
        let listen = "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
        let user = format!(
            "[[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"demo\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n"
        );
        let text = format!("{listen}{user}{more}");
        std::fs::write(dir.path().join("consolegate.toml"), text).expect("a configuration");
        let (process, at, admin) = start(role, &dir).await;
        Self { at, admin, role, process, dir }
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again, once it has ended, with the ports it had.
    pub(crate) async fn revive(&mut self) {
        let text = self.configuration();
        let api = format!("api = \"{}\"\nproxy = \"{}\"\nadmin = \"{}\"", self.at, self.at, self.admin);
        let any = "api = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"";
        self.configure(&text.replace(any, &api));
        let (process, at, admin) = start(self.role, &self.dir).await;
        assert_eq!((at, admin), (self.at, self.admin));
        self.process = process;
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("cannot signal our own child");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the program's end", self.process.ended()).await
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its configuration, as it is on disk.
    pub(crate) fn configuration(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("consolegate.toml")).expect("a configuration")
    }

    /// Writes another one.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.dir.path().join("consolegate.toml"), text).expect("a configuration");
    }

    /// Looks until `look` sees something, or the program has ended.
    pub(crate) async fn until<T>(&mut self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let log = self.dir.path().join("consolegate.log");
        let seen = async || look(&std::fs::read_to_string(&log).ok()?);
        self.process.ready(what, seen).await
    }

    /// Who asks it for consoles.
    pub(crate) fn issuer(&self) -> Issuer {
        Issuer { at: self.at }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until its log contains `text`.
    pub(crate) async fn says(&mut self, text: &str) {
        let log = self.dir.path().join("consolegate.log");
        let said = async || std::fs::read_to_string(&log).ok()?.contains(text).then_some(());
        self.process.ready(text, said).await;
    }

    /// Its log so far does not contain `secret`.
    pub(crate) fn never_said(&self, secret: &str) {
        let said = self.process.said();
        assert!(!said.contains(secret), "a secret is in the log:\n{said}");
    }

    /// A token, as a tenant gets it.
    pub(crate) async fn issue(&self, server: &str, protocol: Protocol) -> String {
        self.issuer().issue(server, protocol).await
    }
}

/// The program over what is in the directory, where it listens, and its admin listener.
async fn start(role: &str, dir: &TempDir) -> (Process, SocketAddr, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.args(["--log", "json", "serve", "--role", role, "--config"]);
    command.arg(dir.path().join("consolegate.toml")).env("RUST_LOG", "info");
    let mut process = Process::start("consolegate", command, dir.path());
    let log = dir.path().join("consolegate.log");
    let name = if role == "all" {
        "api and proxy"
    } else if role == "issuer" {
        "api"
    } else {
        role
    };
    let listener = |role: &str| {
        let said = std::fs::read_to_string(&log).ok()?;
        let line = said.lines().find(|line| line.contains(&format!("\"role\":\"{role}\"")))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse::<SocketAddr>().ok()
    };
    let listening = async || Some((listener(name)?, listener("admin")?));
    let (at, admin) = process.ready("its listeners", listening).await;
    (process, at, admin)
}

/// Who asks for consoles.
#[derive(Clone, Copy)]
pub(crate) struct Issuer {
    at: SocketAddr,
}

impl Issuer {
    /// Where it asks.
    pub(crate) fn at(self) -> SocketAddr {
        self.at
    }

    /// A token, as a tenant gets it.
    pub(crate) async fn issue(&self, server: &str, protocol: Protocol) -> String {
        let path = format!("/v2.1/servers/{server}/remote-consoles");
        let headers = format!(
            "X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.8\r\n"
        );
        let kind = if protocol == Protocol::Serial { "serial" } else { "novnc" };
        let body = format!("{{\"remote_console\": {{\"protocol\": \"{protocol}\", \"type\": \"{kind}\"}}}}");
        let answer = server::http(self.at, "POST", &path, &headers, &body).await;
        let found = answer.split_once("token=").or_else(|| answer.split_once("token%3D"));
        let (_, token) = found.unwrap_or_else(|| panic!("no URL in {answer}"));
        token.chars().take(36).collect()
    }
}
