//! A hot restart of the real program: SIGUSR2 puts the binary on disk in its place. Nobody who connects is turned
//! away, sessions live on, no token opens twice, and a new program that cannot start changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use consolegate::ids::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::console::{Console, Manner};
use crate::support::program::Program;
use crate::support::server::{self, ADMIN_TOKEN, Answer, PROJECT, Socket, open, target};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const OPERATOR: &str = "an-operators-token-for-tests";

/// A deployment, and the ids of its processes so far.
struct Deployment {
    program: Program,
    processes: Vec<u32>,
    dir: tempfile::TempDir,
}

impl Drop for Deployment {
    /// The new processes are not our children; they are known by what the old ones said.
    fn drop(&mut self) {
        for id in self.processes.iter().skip(1) {
            signal(*id, Signal::KILL);
        }
    }
}

fn signal(id: u32, signal: Signal) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    // It may have ended.
    let _ = kill_process(pid, signal);
}

impl Deployment {
    async fn new(console: &Console, more: &str) -> Self {
        let dir = temp::dir();
        let files = format!(
            "[inventory]\ndatabase = {:?}\n[audit]\nfile = {:?}\n[admin]\ntoken = \"{OPERATOR}\"\n",
            dir.path().join("targets.redb"),
            dir.path().join("audit.jsonl")
        );
        let administrator = format!(
            "[[auth.token]]\ntoken = \"{ADMIN_TOKEN}\"\nuser = \"root\"\nproject = \"{PROJECT}\"\nroles = [\"admin\"]\n"
        );
        let line = target(VM, "vm", &(console.setting("serial") + "serial_viewers = \"share\""));
        let program = Program::serve(&format!("{administrator}{more}{files}{line}")).await;
        let processes = vec![program.id()];
        Self { program, processes, dir }
    }

    fn last(&self) -> u32 {
        *self.processes.last().expect("the first")
    }

    /// Restarts it and waits for the new process.
    async fn restart(&mut self) -> u32 {
        signal(self.last(), Signal::USR2);
        let count = self.processes.len();
        let new = self.program.until("a new process", |said| {
            let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut taken = lines.filter(|line| line["message"] == "a new process has taken over");
            taken.nth(count - 1)?["pid"].as_u64()
        });
        let new = u32::try_from(new.await).expect("a process id");
        self.processes.push(new);
        new
    }

    fn url(&self, token: &str) -> String {
        format!("ws://{}/?token={token}", self.program.at)
    }

    async fn open(&self) -> Socket {
        let token = self.program.issue(VM, Protocol::Serial).await;
        open(&self.url(&token), &[]).await.expect("a console").0
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = format!("Authorization: Bearer {OPERATOR}\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Answer::parse(&server::http(self.program.admin(), method, path, &headers, &body).await)
    }

    /// Takes back everything of a server, as an administrator.
    async fn revoke(&self, server: &str) {
        let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n");
        let body = json!({ "server_id": server }).to_string();
        let answer =
            server::http(self.program.at, "POST", "/console/v1/tokens/revoke", &headers, &body).await;
        assert_eq!(Answer::parse(&answer).status, 200, "{answer}");
    }

    /// Waits until a process has ended.
    async fn ended(&self, id: u32) {
        let proc = format!("/proc/{id}/stat");
        // A zombie has ended; its parent is us, or on its way out.
        let gone = || std::fs::read_to_string(&proc).map_or(true, |stat| stat.contains(") Z "));
        within("the old process' end", async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_live_on_and_nobody_is_turned_away() {
    let line = Console::new(Manner::Echo).await;
    let mut deployment = Deployment::new(&line, "").await;
    let at = deployment.program.at;
    let mut first = deployment.open().await;
    viewer::echo(&mut first, b"before").await;
    let spent = deployment.program.issue(VM, Protocol::Serial).await;
    let (_spent, _) = open(&deployment.url(&spent), &[]).await.unwrap();
    let unspent = deployment.program.issue(VM, Protocol::Serial).await;
    let document = json!({"project": "p", "serial": format!("tcp://{}", line.address)});
    assert_eq!(deployment.admin("PUT", "/v1/targets/registered", &document).await.status, 201);

    // Load all the while: each opens a console of its own, or fails the test.
    let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let program = deployment.program.issuer();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, opened, program) = (Arc::clone(&stop), Arc::clone(&opened), program);
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let token = program.issue(VM, Protocol::Serial).await;
                    let url = format!("ws://{at}/?token={token}");
                    let (mut socket, _) =
                        open(&url, &[]).await.unwrap_or_else(|status| panic!("turned away: {status}"));
                    viewer::echo(&mut socket, b"hello").await;
                    viewer::goodbye(&mut socket).await;
                    opened.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut generations = vec![(deployment.last(), first)];
    for round in 0..3 {
        let before = opened.load(Ordering::SeqCst);
        deployment.restart().await;
        within("load on the new process", async {
            while opened.load(Ordering::SeqCst) < before + 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for (_, socket) in &mut generations {
            viewer::echo(socket, format!("round {round}").as_bytes()).await;
        }
        generations.push((deployment.last(), deployment.open().await));
    }
    stop.store(true, Ordering::SeqCst);
    for worker in load {
        within("the load's end", worker).await.unwrap();
    }
    // Tokens of the first process, at the fourth.
    assert_eq!(open(&deployment.url(&spent), &[]).await.unwrap_err(), 403);
    let (mut late, _) = open(&deployment.url(&unspent), &[]).await.unwrap();
    viewer::echo(&mut late, b"late").await;
    assert_eq!(open(&deployment.url(&unspent), &[]).await.unwrap_err(), 403, "once");
    assert_eq!(deployment.admin("GET", "/v1/targets/registered", &Value::Null).await.status, 200);
    // A revocation at the new process ends the sessions of all before it.
    assert_eq!(deployment.admin("GET", "/v1/sessions", &Value::Null).await.status, 200);
    deployment.revoke(VM).await;
    for (id, mut socket) in generations {
        assert_eq!(viewer::closed(&mut socket).await.0, 1008);
        if id != deployment.last() {
            deployment.ended(id).await;
        }
    }
    deployment.verify_audit().await;
}

impl Deployment {
    /// Each process' audit log is whole.
    async fn verify_audit(&self) {
        let entries = std::fs::read_dir(self.dir.path()).expect("our directory");
        let logs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        let logs: Vec<_> = logs.iter().filter(|path| path.to_string_lossy().contains("audit")).collect();
        assert_eq!(logs.len(), self.processes.len(), "{logs:?}");
        for log in logs {
            let log = log.to_str().expect("UTF-8");
            let output = crate::support::binary::run(&["audit", "verify", log], &[]).await;
            assert!(output.status.success(), "{log}: {output:?}");
        }
    }
}

impl Deployment {
    /// The sessions that the newest process lists, once they are so many.
    async fn listed(&self, count: usize) -> Vec<Value> {
        let look = async {
            loop {
                let answer = self.admin("GET", "/v1/sessions", &Value::Null).await;
                let listed: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!((answer.status, &listed["complete"]), (200, &json!(true)), "{listed}");
                let sessions = listed["sessions"].as_array().unwrap();
                if sessions.len() == count {
                    return sessions.clone();
                }
            }
        };
        within("the list", look).await
    }
}

/// Old processes' sessions are listed, ended and asked for a break at the new one, however many generations back.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_knows_the_old_ones_sessions() {
    let line = Console::new(Manner::Echo).await;
    let mut deployment = Deployment::new(&line, "").await;
    let (mut sockets, mut ids) = (Vec::new(), Vec::new());
    for generation in 0..3 {
        if generation > 0 {
            deployment.restart().await;
        }
        sockets.push(deployment.open().await);
        for session in deployment.listed(generation + 1).await {
            let said = |key: &str| session[key].as_str().unwrap();
            assert_eq!((said("target"), said("user"), said("source")), (VM, "demo", "127.0.0.1"));
            if !ids.contains(&session["id"]) {
                ids.push(session["id"].clone());
            }
        }
    }
    assert_eq!(ids.len(), 3, "the same ids in each process");
    // The first, two processes back: it has no line that breaks, and ends by its id.
    let path = format!("/v1/sessions/{}", ids[0].as_str().unwrap());
    assert_eq!(deployment.admin("POST", &format!("{path}/break"), &Value::Null).await.status, 409);
    assert_eq!(deployment.admin("DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(viewer::closed(&mut sockets[0]).await, (1008, "ended by an operator".to_owned()));
    deployment.listed(2).await;
    assert_eq!(deployment.admin("DELETE", &path, &Value::Null).await.status, 404);
    assert_eq!(deployment.admin("POST", &format!("{path}/break"), &Value::Null).await.status, 404);
    // All that are left, each where it is, and counted.
    let answer = deployment.admin("POST", "/v1/revoke", &json!({"user": "demo"})).await;
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["sessions"], json!(2));
    for socket in &mut sockets[1..] {
        assert_eq!(viewer::closed(socket).await.0, 1008);
    }
    deployment.listed(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_comes_back_to_the_new_process() {
    let line = Console::new(Manner::Echo).await;
    let mut deployment = Deployment::new(&line, "[proxy]\noutlive = \"1s\"\n").await;
    let token = deployment.program.issue(VM, Protocol::Serial).await;
    let (mut socket, response) = open(&deployment.url(&token), &[]).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split_once(';').unwrap().0.to_owned();
    let half_dead = deployment.program.issue(VM, Protocol::Serial).await;
    let (mut left_behind, response) = open(&deployment.url(&half_dead), &[]).await.unwrap();
    let other = response.headers()["set-cookie"].to_str().unwrap().split_once(';').unwrap().0.to_owned();
    let first = deployment.last();
    deployment.restart().await;
    // Taken over while it lives in the old process.
    let (mut taken, _) = open(&deployment.url(&half_dead), &[("cookie", &other)]).await.unwrap();
    assert_eq!(viewer::closed(&mut left_behind).await.0, 1008);
    viewer::echo(&mut taken, b"taken over").await;
    // The old process' time is over.
    assert_eq!(viewer::closed(&mut socket).await.0, 1001);
    let (mut back, _) = open(&deployment.url(&token), &[("cookie", &cookie)]).await.unwrap();
    viewer::echo(&mut back, b"back").await;
    deployment.ended(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_start_leaves_the_old_one_serving() {
    let line = Console::new(Manner::Echo).await;
    let mut deployment = Deployment::new(&line, "").await;
    let mut session = deployment.open().await;
    let unspent = deployment.program.issue(VM, Protocol::Serial).await;
    let good = deployment.program.configuration();
    // Before it is ready; and after the old one has let go of its files: both are another's then.
    let audit = deployment.dir.path().join("audit.jsonl");
    let other = deployment.dir.path().join("no-audit.jsonl");
    std::fs::write(&other, "this is no audit log").unwrap();
    let elsewhere = good.replace(audit.to_str().unwrap(), other.to_str().unwrap());
    let cases = [("[listen]\nport = 1\n".to_owned(), "unknown setting"), (elsewhere, "is not an audit log")];
    for (round, (bad, said)) in cases.into_iter().enumerate() {
        deployment.program.configure(&bad);
        signal(deployment.last(), Signal::USR2);
        deployment.program.says(said).await;
        let stays = |log: &str| (log.matches("no hot restart").count() == round + 1).then_some(());
        deployment.program.until("the old one's word", stays).await;
        viewer::echo(&mut session, b"still here").await;
        let mut fresh = deployment.open().await;
        viewer::echo(&mut fresh, b"and taking more").await;
        let document = json!({"project": "p", "serial": format!("tcp://{}", line.address)});
        let put = deployment.admin("PUT", "/v1/targets/registered", &document).await;
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }
    deployment.program.configure(&good);
    deployment.restart().await;
    let (mut late, _) = open(&deployment.url(&unspent), &[]).await.unwrap();
    viewer::echo(&mut late, b"once").await;
    assert_eq!(open(&deployment.url(&unspent), &[]).await.unwrap_err(), 403);
    viewer::echo(&mut session, b"here as well").await;
}
