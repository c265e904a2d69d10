//! conserver, the console server of many machine rooms, as a peer: the same people do the same at one Telnet line of
//! each, every one of them is shown the same, and the line hears the same.

use std::path::Path;

use consolegate::ids::Protocol;
use pty_process::{Command as PtyCommand, Pty};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::support::console::dead_port;
use crate::support::line::listens;
use crate::support::news::Viewer;
use crate::support::process::Process;
use crate::support::server::{Running, target};
use crate::support::{program, temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// People who only watch, beside the two who type.
const WATCHERS: usize = 3;

/// Somebody at a console, of ours or of conserver's.
trait Person {
    async fn types(&mut self, text: &str);
    /// Waits until the console has said this; what was shown up to its end.
    async fn sees(&mut self, text: &str) -> String;
    /// Takes the keyboard from whoever has it, and is told so.
    async fn takes(&mut self);
    /// Is told whether the keyboard is its now.
    async fn told(&mut self, writes: bool);
    async fn breaks(&mut self);
    /// Is shown again what was said before, if it has not been.
    async fn looks_back(&mut self);
    /// Waits until what it sent so far was looked at.
    async fn settled(&mut self);
    async fn leaves(self);
}

impl Person for Viewer {
    async fn types(&mut self, text: &str) {
        Viewer::types(self, text.as_bytes()).await;
    }

    async fn sees(&mut self, text: &str) -> String {
        String::from_utf8(self.read_to(text.as_bytes()).await).expect("UTF-8")
    }

    async fn takes(&mut self) {
        self.says("take").await;
        self.told(true).await;
    }

    async fn told(&mut self, writes: bool) {
        while (self.news("role").await["role"] == "writer") != writes {}
    }

    async fn breaks(&mut self) {
        self.says("break").await;
    }

    // It was when it came.
    async fn looks_back(&mut self) {}

    async fn settled(&mut self) {
        self.round_trip().await;
    }

    async fn leaves(mut self) {
        assert_eq!(viewer::goodbye(&mut self.socket).await.0, 1000);
    }
}

/// conserver's own client, in a terminal.
struct Client {
    terminal: Pty,
    child: Child,
    seen: String,
}

impl Client {
    /// Attaches to the console, and is the first there or not.
    async fn attach(port: u16, home: &Path, first: bool) -> Self {
        let (terminal, pts) = pty_process::open().expect("a pty");
        let arguments = ["-n", "-M", "127.0.0.1", "-p", &port.to_string(), "bm1"];
        let command = PtyCommand::new(program("console")).args(arguments).env("HOME", home);
        let child = command.kill_on_drop(true).spawn(pts).expect("conserver's client");
        let mut client = Self { terminal, child, seen: String::new() };
        client.sees("for help]\r\n").await;
        if !first {
            client.sees("is attached]\r\n").await;
        }
        client
    }

    /// A command: its escape sequence, and a letter.
    async fn command(&mut self, letters: &str) {
        Person::types(self, &format!("\x05c{letters}")).await;
    }
}

impl Person for Client {
    async fn types(&mut self, text: &str) {
        within("room to type", self.terminal.write_all(text.as_bytes())).await.expect("a terminal");
    }

    async fn sees(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let read = within(text, self.terminal.read(&mut buffer)).await;
            let count = read.unwrap_or_else(|error| panic!("{error} before {text:?} in {:?}", self.seen));
            self.seen.push_str(std::str::from_utf8(&buffer[..count]).expect("UTF-8"));
        }
    }

    async fn takes(&mut self) {
        self.command("f").await;
        self.sees("[bumped ").await;
        self.sees("]\r\n").await;
    }

    async fn told(&mut self, writes: bool) {
        self.sees(if writes { "\r\n[attached]\r\n" } else { "\r\n[forced to `spy' mode by " }).await;
        if !writes {
            self.sees("]\r\n").await;
        }
    }

    async fn breaks(&mut self) {
        self.command("l0").await;
    }

    async fn looks_back(&mut self) {
        self.command("r").await;
        self.sees("[replay]\r\n").await;
    }

    async fn settled(&mut self) {
        self.command("w").await;
        self.sees("[who bm1]\r\n").await;
    }

    async fn leaves(mut self) {
        self.command(".").await;
        self.sees("[disconnect]\r\n").await;
        within("the client's end", self.child.wait()).await.expect("its status");
    }
}

/// A machine on a terminal server's port.
struct Machine {
    ports: TcpListener,
    line: TcpStream,
    /// All that came, options of Telnet among it.
    raw: Vec<u8>,
}

impl Machine {
    async fn accept(ports: TcpListener) -> Self {
        let (line, _) = within("a console server", ports.accept()).await.expect("a connection");
        Self { ports, line, raw: Vec::new() }
    }

    async fn says(&mut self, text: &str) {
        within("room on the line", self.line.write_all(text.as_bytes())).await.expect("a line");
    }

    /// Waits until it has heard this, since ever.
    async fn hears(&mut self, text: &str) {
        while !heard(&self.raw).ends_with(text) {
            let count = within(text, self.line.read_buf(&mut self.raw)).await.expect("a line");
            assert!(count > 0, "the end after {:?}", heard(&self.raw));
        }
    }

    /// It is switched off and on: its port hangs up, and is called again.
    async fn reboots(&mut self) {
        self.line.shutdown().await.expect("a line");
        self.line = within("a new call", self.ports.accept()).await.expect("a connection").0;
    }
}

/// What a machine hears of a Telnet stream (RFC 854): its text, with breaks as `<break>` and without commands.
fn heard(raw: &[u8]) -> String {
    let (mut text, mut rest) = (String::new(), raw);
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (255, [243, rest @ ..]) => {
                text.push_str("<break>");
                rest
            }
            (255, [250, rest @ ..]) => match rest.windows(2).position(|end| end == [255, 240]) {
                Some(end) => &rest[end + 2..],
                None => return text,
            },
            (255, [251..=254, _, rest @ ..]) => rest,
            (255, _) => return text,
            (byte, rest) => {
                text.push(char::from(*byte));
                rest
            }
        };
    }
    text
}

/// What the machine says when it starts: more than any buffer on the way takes at once.
fn boot() -> String {
    let lines: String = (0..4000).map(|n| format!("[{n:5}] bringing up something\r\n")).collect();
    format!("{lines}login: ")
}

/// Several people at one machine, in the order they came; what it heard.
async fn scene<P: Person>(
    mut machine: Machine,
    mut people: Vec<P>,
    latecomer: impl AsyncFnOnce() -> P,
) -> String {
    let boot = boot();
    machine.says(&boot).await;
    for person in &mut people {
        assert!(person.sees("login: ").await == boot, "every byte, and nothing else");
    }
    // Who comes later is shown what was said before.
    let mut late = latecomer().await;
    late.looks_back().await;
    late.sees("[ 3999] bringing up something\r\nlogin: ").await;
    late.leaves().await;
    for watcher in people.drain(2..) {
        watcher.leaves().await;
    }
    let [anne, bert] = &mut people[..] else { panic!("two people") };

    anne.types("one.").await;
    machine.hears("one.").await;
    // Who only watches is not heard, and breaks nothing.
    bert.types("lost").await;
    bert.breaks().await;
    bert.settled().await;
    bert.takes().await;
    anne.told(false).await;
    anne.types("lost").await;
    anne.breaks().await;
    anne.settled().await;
    bert.types("two.").await;
    machine.hears("one.two.").await;
    bert.breaks().await;
    machine.hears("two.<break>").await;
    machine.says("to both.").await;
    anne.sees("to both.").await;
    bert.sees("to both.").await;

    // The machine goes and comes back under its viewers, and who types still does.
    machine.reboots().await;
    machine.says("again.").await;
    anne.sees("again.").await;
    bert.sees("again.").await;
    anne.types("lost").await;
    anne.settled().await;
    bert.types("three.").await;
    machine.hears("three.").await;
    // Whoever is left types.
    people.pop().expect("bert").leaves().await;
    people[0].told(true).await;
    people[0].types("four.").await;
    machine.hears("four.").await;
    heard(&machine.raw)
}

/// A running conserver. Its master forks a process for the consoles, which would outlive it when it is killed.
struct Conserver {
    _process: Process,
    group: Option<Pid>,
    port: u16,
}

impl Conserver {
    /// Serves the machine at this port as `bm1`, to everybody on loopback.
    async fn start(dir: &Path, machine: u16) -> Self {
        let port = dead_port().await.port();
        let file = |name: &str| dir.join(name).display().to_string();
        std::fs::write(file("passwd"), "*any*:\n").expect("a file");
        let text = format!(
            "config * {{ daemonmode no; logfile {}; }}\n\
             default * {{ master localhost; rw *; logfile {}; timestamp \"\"; }}\n\
             console bm1 {{ type host; host 127.0.0.1; port {machine}; protocol telnet; options autoreinit; }}\n\
             access * {{ trusted 127.0.0.1; allowed 127.0.0.1; }}\n",
            file("conserver.log"),
            file("bm1.log")
        );
        std::fs::write(file("conserver.cf"), text).expect("a file");
        let mut command = Command::new(program("conserver"));
        command.args(["-C", &file("conserver.cf"), "-P", &file("passwd"), "-p", &port.to_string()]);
        command.args(["-M", "127.0.0.1"]).process_group(0);
        let mut process = Process::start("conserver", command, dir);
        let at = ([127, 0, 0, 1], port).into();
        process.ready("its port", async || listens(at).then_some(())).await;
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        Self { _process: process, group, port }
    }
}

impl Drop for Conserver {
    fn drop(&mut self) {
        let _ = self.group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

#[tokio::test]
async fn conserver_and_the_hub_do_the_same() {
    let dir = temp::dir();
    let ports = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = ports.local_addr().expect("an address");
    let conserver = Conserver::start(dir.path(), at.port()).await;
    let machine = Machine::accept(ports).await;
    let mut people = Vec::new();
    for n in 0..2 + WATCHERS {
        people.push(Client::attach(conserver.port, dir.path(), n == 0).await);
    }
    let late = async || Client::attach(conserver.port, dir.path(), false).await;
    let theirs = scene(machine, people, late).await;

    let ports = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = ports.local_addr().expect("an address");
    let line = "serial_viewers = \"hub\"\nserial_line.reconnect = \"5m\"";
    let server = Running::start(&target(VM, "bm1", &format!("serial = \"telnet://{at}\"\n{line}"))).await;
    let join = async || {
        let token = server.token(VM, Protocol::Serial).await;
        let mut person = Viewer::open(&server, &token, "").await;
        person.news("role").await;
        person
    };
    let mut people = vec![join().await];
    let machine = Machine::accept(ports).await;
    for _ in 0..1 + WATCHERS {
        people.push(join().await);
    }
    let ours = scene(machine, people, join).await;

    assert_eq!(theirs, "one.two.<break>three.four.");
    assert_eq!(ours, theirs);
}
