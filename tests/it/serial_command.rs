//! Serial consoles that are a program on a pty: started with the session, ended and reaped with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use consolegate::ids::Protocol;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::process::Command;

use crate::support::fleet::{ADMIN, until_listed};
use crate::support::process::Process;
use crate::support::server::{Running, Socket, open, refused, target};
use crate::support::{PATIENCE, program, temp, viewer};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

async fn serve(program: &Path, args: &[&str], more: &str) -> Running {
    let consoles =
        format!("serial = \"command:{}\"\n[target.serial_line]\nargs = {args:?}\n{more}", program.display());
    Running::start(&format!("[admin]\ntoken = \"{ADMIN}\"\n{}", target(VM, "bm1", &consoles))).await
}

async fn watch(server: &Running) -> Socket {
    let token = server.token(VM, Protocol::Serial).await;
    open(&server.ws(&token), &[]).await.expect("a console").0
}

/// Reads until `text` has come, and returns all that was said.
async fn reads(socket: &mut Socket, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        said.push_str(&String::from_utf8_lossy(&viewer::frame(socket).await));
    }
    said
}

/// Waits until there is no such process, not even one that waits to be reaped.
async fn gone(pid: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
    while Path::new("/proc").join(pid).exists() {
        let now = look.tick().await;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(now < deadline, "process {pid} is still there: {stat}");
    }
}

/// The number behind `name` in what was said.
fn number<'t>(said: &'t str, name: &str) -> &'t str {
    let (_, behind) = said.split_once(name).unwrap_or_else(|| panic!("no {name} in {said:?}"));
    behind.split(|c: char| !c.is_ascii_digit()).next().unwrap()
}

#[tokio::test]
async fn arguments_are_given_as_they_are_and_our_environment_is_not() {
    let script =
        "printf '<%s>' \"$@\"; env | cut -d= -f1 | sort | tr '\\n' ' '; tty; read line; echo got-$line";
    let server = serve(Path::new("/bin/sh"), &["-c", script, "sh", "a b", "$HOME;`id`", "*"], "").await;
    let mut socket = watch(&server).await;
    let said = reads(&mut socket, "/dev/pts/").await;
    assert!(said.contains("<a b><$HOME;`id`><*>"), "{said}");
    let names = said.rsplit_once('>').unwrap().1;
    let known = ["HOME", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "_"];
    let names = names.split("/dev").next().unwrap().split_whitespace();
    assert_eq!(names.filter(|name| !known.contains(name)).collect::<Vec<_>>(), Vec::<&str>::new());
    viewer::send(&mut socket, b"typed\r").await;
    reads(&mut socket, "got-typed").await;
    // It has ended, and with it the session.
    assert_eq!(viewer::closed(&mut socket).await.0, 1000);
}

#[tokio::test]
async fn it_ends_with_its_viewer_and_leaves_nothing_behind() {
    // One that does not heed the hang-up, and a job of its own that does not either.
    let script = "trap '' HUP; set -m; sleep 1000 & echo job=$! self=$$.; read line";
    let server = serve(Path::new("/bin/bash"), &["-c", script], "").await;
    let mut socket = watch(&server).await;
    let said = reads(&mut socket, ".").await;
    let (job, own) = (number(&said, "job="), number(&said, "self="));
    assert!(Path::new("/proc").join(job).exists() && Path::new("/proc").join(own).exists());
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    gone(own).await;
    gone(job).await;
}

#[tokio::test]
async fn it_ends_when_its_viewer_is_cut_off() {
    let server = serve(Path::new("/bin/sh"), &["-c", "echo self=$$.; exec sleep 1000"], "").await;
    let mut socket = watch(&server).await;
    let said = reads(&mut socket, ".").await;
    drop(socket);
    gone(number(&said, "self=")).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_keeps_the_link_good() {
    let server = serve(Path::new("/nonexistent/program"), &[], "").await;
    let token = server.token(VM, Protocol::Serial).await;
    for _ in 0..2 {
        refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "no program");
    }
}

#[tokio::test]
async fn it_is_run_again_where_that_is_wanted() {
    let script = "echo run-$$.; read line";
    let server = serve(Path::new("/bin/sh"), &["-c", script], "reconnect = \"5m\"").await;
    let mut socket = watch(&server).await;
    let first = reads(&mut socket, ".").await;
    let first = number(&first, "run-").to_owned();
    viewer::send(&mut socket, b"\r").await;
    let said = reads(&mut socket, "is back").await;
    let said = if said.contains("run-") { said } else { reads(&mut socket, "run-").await };
    assert!(!said.contains(&format!("run-{first}.")), "{said}");
    gone(&first).await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
}

/// A BMC with serial over LAN, whose console is a shell.
struct Bmc {
    // In this order: the processes end before their directory is removed.
    _sim: Process,
    _console: Process,
    port: u16,
    dir: TempDir,
}

impl Bmc {
    async fn start() -> Self {
        let dir = temp::dir();
        let path = dir.path().display();
        // The simulator locks its line by this name alone, whatever folder it is in: that of another test run too.
        let line = format!("sol-{}", std::process::id());
        let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program("socat"));
        command.arg(format!("pty,raw,echo=0,link={path}/{line}"));
        command.arg("exec:/bin/sh -i,pty,stderr,setsid,ctty");
        command.env("PS1", "bmc$ ");
        let mut console = Process::start("socat", command, dir.path());
        let pty = dir.path().join(&line);
        console.ready("its pty", async || pty.exists().then_some(())).await;
        let lan = format!(
            "name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
             allowed_auths_admin none md2 md5 straight\n    guid a123456789abcdefa123456789abcdef\n  endlan\n  \
             sol \"{path}/{line}\" 115200 history=4000 historyfru=10\n  user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  \
             user 2 true \"console\" \"sesame\" admin 10 none md2 md5 straight\n"
        );
        let emulator = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
        std::fs::write(dir.path().join("lan.conf"), lan).unwrap();
        std::fs::write(dir.path().join("sim.emu"), emulator).unwrap();
        std::fs::write(dir.path().join("password"), "sesame").unwrap();
        let mut command = Command::new(program("ipmi_sim"));
        command.args(["-c", "lan.conf", "-f", "sim.emu", "-s", ".", "-n", "-d"]).current_dir(dir.path());
        let mut sim = Process::start("ipmi_sim", command, dir.path());
        let bmc = |verb: &[&str]| {
            let mut command = Command::new(program("ipmitool"));
            command.args(Self::login(port, dir.path())).args(verb);
            command
        };
        let answers = async || bmc(&["mc", "info"]).output().await.ok()?.status.success().then_some(());
        sim.ready("its answer", answers).await;
        Self { _sim: sim, _console: console, port, dir }
    }

    fn login(port: u16, dir: &Path) -> Vec<String> {
        // The simulator knows no newer suite than 3.
        let words = ["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-U", "console", "-p"];
        let rest = [port.to_string(), "-f".to_owned(), dir.join("password").display().to_string()];
        words.map(str::to_owned).into_iter().chain(rest).collect()
    }
}

#[tokio::test]
async fn serial_over_lan_by_ipmitool() {
    let bmc = Bmc::start().await;
    let login = Bmc::login(bmc.port, bmc.dir.path()).join(" ");
    let ipmitool = format!("{} {login} sol", program("ipmitool").display());
    // A BMC keeps the session of an ipmitool that was hung up on, until it is told to end it.
    let script = format!("#!/bin/sh\n{ipmitool} deactivate >/dev/null 2>&1\nexec {ipmitool} activate\n");
    let sol = bmc.dir.path().join("sol.sh");
    std::fs::write(&sol, script).unwrap();
    std::fs::set_permissions(&sol, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = serve(&sol, &[], "").await;
    let mut socket = watch(&server).await;
    reads(&mut socket, "SOL Session operational").await;
    viewer::send(&mut socket, b"echo answer-$((6*7))\r").await;
    reads(&mut socket, "answer-42").await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    // The goodbye is answered before the seat is free.
    until_listed(server.at.admin, 0).await;
    // And again: no further, for the simulator says little to a second session.
    let mut socket = watch(&server).await;
    reads(&mut socket, "SOL Session operational").await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
}
