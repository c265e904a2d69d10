//! The built program as a process of its own, where its memory and its log are the subject.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::Process;
use super::server::{self, PROJECT, TOKEN};
use super::temp;

/// A running `consolegate serve`; killed when dropped.
pub(crate) struct Program {
    /// Issuer and proxy.
    pub(crate) at: SocketAddr,
    admin: SocketAddr,
    // In this order: the process ends before its directory is removed.
    process: Process,
    dir: TempDir,
}

impl Program {
    /// Serves on ports of the system's choice, with `more` (TOML) in its configuration.
    pub(crate) async fn serve(more: &str) -> Self {
        let dir = temp::dir();
        let file = dir.path().join("consolegate.toml");
        let listen = "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
        let user = format!(
            "[[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"demo\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n"
        );
        let text = format!("{listen}{user}{more}");
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
        command.args(["--log", "json", "serve", "--config"]).arg(&file).env("RUST_LOG", "info");
        let mut process = Process::start("consolegate", command, dir.path());
        let log = dir.path().join("consolegate.log");
        let listener = |role: &str| {
            let said = std::fs::read_to_string(&log).ok()?;
            let line = said.lines().find(|line| line.contains(&format!("\"role\":\"{role}\"")))?;
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["address"].as_str()?.parse::<SocketAddr>().ok()
        };
        let listening = async || Some((listener("api and proxy")?, listener("admin")?));
        let (at, admin) = process.ready("its listeners", listening).await;
        Self { at, admin, process, dir }
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

/// Who asks for consoles.
#[derive(Clone, Copy)]
pub(crate) struct Issuer {
    at: SocketAddr,
}

impl Issuer {
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
