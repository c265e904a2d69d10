//! `consolegate tunnel`: native VNC viewers see real screens through the built program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use consolegate::ids::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::support::console::{Console, Manner};
use crate::support::picture::Picture;
use crate::support::python;
use crate::support::qemu::Guest;
use crate::support::rfb::Rfb;
use crate::support::server::{Running, TOKEN, target, token_of};
use crate::support::xvnc::Xvnc;
use crate::support::{program, temp, within};

const VM: &str = "6c1f2a90-0000-4000-8000-00000000000d";

/// A running tunnel; killed when dropped.
struct Tunnel {
    at: SocketAddr,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Tunnel {
    async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
        command.arg("tunnel").args(arguments).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        within("the tunnel's port", stdout.read_line(&mut line)).await.unwrap();
        let (host, port) = line.trim().split_once("::").unwrap_or_else(|| panic!("no port: {line:?}"));
        let at = SocketAddr::from((host.parse::<std::net::IpAddr>().unwrap(), port.parse().unwrap()));
        Self { at, child, stdout }
    }

    /// Its exit code, what it printed after the port, and what it said beside.
    async fn ended(mut self) -> (i32, String, String) {
        let mut out = String::new();
        within("its output", self.stdout.read_to_string(&mut out)).await.unwrap();
        let output = within("its end", self.child.wait_with_output()).await.unwrap();
        (output.status.code().unwrap(), out, String::from_utf8(output.stderr).unwrap())
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a running program"), signal).expect("cannot signal our own child");
    }
}

/// The environment of a user of the API with a fixed token.
fn as_demo(server: &Running) -> [(&'static str, String); 2] {
    [("CONSOLEGATE_API", format!("http://{}/v2.1", server.at.api)), ("CONSOLEGATE_TOKEN", TOKEN.to_owned())]
}

fn borrowed<'e>(environment: &'e [(&'static str, String)]) -> Vec<(&'static str, &'e str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Takes a picture with vncdotool and reads it.
async fn capture(at: SocketAddr, dir: &Path) -> Picture {
    let (png, ppm) = (dir.join("screen.png"), dir.join("screen.ppm"));
    let server = format!("{}::{}", at.ip(), at.port());
    python::run("vncdo", &["-s", &server, "capture", png.to_str().unwrap()], &[]).await.success();
    let convert =
        "import os; from PIL import Image; Image.open(os.environ['P']).convert('RGB').save(os.environ['Q'])";
    let names = [("P", png.to_str().unwrap()), ("Q", ppm.to_str().unwrap())];
    python::script(convert, &names).await.success();
    Picture::from_ppm(&std::fs::read(&ppm).unwrap()).expect("a picture")
}

#[tokio::test(flavor = "multi_thread")]
async fn vncdotool_sees_a_guests_screen_and_types() {
    let guest = Guest::boot().await;
    let server =
        Running::start(&target(VM, "vm1", &format!("vnc = \"{}\"", crate::console::endpoint(guest.vnc()))))
            .await;
    let url = server.issue(VM, Protocol::Vnc).await;
    let dir = temp::dir();
    // The link by environment: one viewer, then it is over.
    let tunnel = Tunnel::start(&[], &[("CONSOLEGATE_URL", &url)]).await;
    let (at, before) = (tunnel.at, guest.screendump().await);
    assert!(at.ip().is_loopback());
    assert_eq!(capture(at, dir.path()).await.difference(&before, 0), 0.0, "pixel by pixel");
    let (code, out, said) = tunnel.ended().await;
    assert_eq!((code, out.as_str()), (0, ""), "{said}");
    assert!(said.contains("connected to ws://") && !said.contains(&token_of(&url)), "{said}");
    assert!(TcpStream::connect(at).await.is_err(), "the port is closed after its viewer");

    // By the API, and with keys.
    let environment = as_demo(&server);
    let tunnel = Tunnel::start(&["--server", "vm1"], &borrowed(&environment)).await;
    let address = format!("{}::{}", tunnel.at.ip(), tunnel.at.port());
    python::run(
        "vncdo",
        &["-s", &address, "type", "echo", "key", "space", "type", "seen", "key", "enter"],
        &[],
    )
    .await
    .success();
    let typed = async { while !guest.screen_text().await.contains("\nseen") {} };
    within("the typed command's output", typed).await;
    assert_eq!(tunnel.ended().await.0, 0);
}

/// TigerVNC's viewer on an X screen of its own, started by --exec; what is painted at the far end is on that screen.
#[tokio::test(flavor = "multi_thread")]
async fn tigervncs_viewer_shows_an_x_screen() {
    let (far, desk) = (Xvnc::start(None).await, Xvnc::start(None).await);
    far.paint("#336699").await;
    let consoles = format!("vnc = \"tcp://{}\"", far.address());
    let server = Running::start(&target(VM, "vm1", &consoles)).await;
    let desk_server =
        Running::start(&target(VM, "desk", &format!("vnc = \"tcp://{}\"", desk.address()))).await;
    let home = temp::dir();
    let viewer = program("xtigervncviewer");
    let exec = format!(
        "exec {} -display :{} -FullScreen -Shared {{host}}::{{port}}",
        viewer.display(),
        desk.display()
    );
    let mut environment = as_demo(&server).to_vec();
    environment.push(("HOME", home.path().display().to_string()));
    let tunnel = Tunnel::start(&["--server", "vm1", "--exec", &exec], &borrowed(&environment)).await;
    // We look at the desk, as somebody who sits there.
    let token = desk_server.token(VM, Protocol::Vnc).await;
    let mut eyes = Rfb::open(desk_server.at.proxy, &token).await.expect("the desk");
    eyes.choose(1).await;
    assert_eq!(eyes.message().await, [0; 4]);
    let screen = eyes.begin().await;
    for (name, colour) in [("#336699", [0x33, 0x66, 0x99]), ("#fe7f01", [0xfe, 0x7f, 0x01])] {
        far.paint(name).await;
        let shown = async { while eyes.picture(&screen).await.at(320, 200) != colour {} };
        within("the far screen's colour on the desk", shown).await;
    }
    tunnel.signal(Signal::TERM);
    assert_eq!(tunnel.ended().await.0, 143);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_and_the_tunnel_end_together() {
    let vnc = Console::new(Manner::Vnc).await;
    let server = Running::start(&target(VM, "vm1", &vnc.setting("vnc"))).await;
    let environment = as_demo(&server);
    let run = async |exec: &str| {
        Tunnel::start(&["--server", "vm1", "--exec", exec], &borrowed(&environment)).await.ended().await
    };
    assert_eq!(run("echo {host}/{port} >&2; exit 7").await.0, 7);
    assert_eq!(run("kill -KILL $$").await.0, 137);
    // No viewer came: nothing was asked for, nothing was dialled.
    assert_eq!(vnc.dialled().await, 0);
    // A viewer came and went; the program's own end is waited for.
    let viewer = "exec 3<>/dev/tcp/{host}/{port}; head -c 12 <&3; exec 3<&-; exit 0";
    let (code, out, said) = run(&format!("bash -c '{viewer}'")).await;
    assert_eq!((code, out.as_str()), (0, "RFB 003.008\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_viewers_each_with_a_link_of_their_own() {
    let echo = Console::new(Manner::Echo).await;
    let server = Running::start(&target(VM, "bm1", &echo.setting("serial"))).await;
    let environment = as_demo(&server);
    let environment = borrowed(&environment);
    let arguments = ["--server", "bm1", "--protocol", "serial", "--viewers", "2"];
    let tunnel = Tunnel::start(&arguments, &environment).await;
    // One after the other: serial lines take one viewer at a time. Every byte comes back, and the end too.
    for seed in 0..2u8 {
        let mut viewer = TcpStream::connect(tunnel.at).await.unwrap();
        let sent: Vec<u8> =
            (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect();
        let (mut read, mut write) = viewer.split();
        let mut back = vec![0; sent.len()];
        let both = async { tokio::join!(write.write_all(&sent), read.read_exact(&mut back)) };
        let (wrote, got) = within("the echo", both).await;
        wrote.unwrap();
        got.unwrap();
        assert!(back == sent);
        drop(viewer);
        echo.until("the line's end", |seen| seen.gone > usize::from(seed)).await;
    }
    assert_eq!(tunnel.ended().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_before_anything_listens() {
    let vnc = Console::new(Manner::Vnc).await;
    let server = Running::start(&target(VM, "vm1", &vnc.setting("vnc"))).await;
    let url = server.issue(VM, Protocol::Vnc).await;
    for (arguments, words) in [
        (&["--viewers", "2"][..], "--viewers needs --server"),
        (&["--listen", "0.0.0.0:0"], "add --anybody"),
        (&["--listen", &vnc.address.to_string()], "cannot listen on"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
        command.arg("tunnel").args(arguments).env_clear().env("CONSOLEGATE_URL", &url);
        let output = within("its end", command.output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && output.stdout.is_empty() && said.contains(words),
            "{said}"
        );
    }
    // A link that is used: the viewer is hung up on, and the reason is said.
    let first = Tunnel::start(&[], &[("CONSOLEGATE_URL", &url)]).await;
    drop(TcpStream::connect(first.at).await.unwrap());
    assert_eq!(first.ended().await.0, 0);
    let second = Tunnel::start(&[], &[("CONSOLEGATE_URL", &url)]).await;
    let mut viewer = TcpStream::connect(second.at).await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", viewer.read_to_end(&mut rest)).await;
    let (code, _, said) = second.ended().await;
    assert!(rest.is_empty() && code == 3 && said.contains("Ask for a new one"), "{code} {said}");
}
