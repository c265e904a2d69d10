//! `consolegate connect` on a shared line, cut off again and again: no byte of the line's is missing, none comes twice.

use std::process::Stdio;

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::cable::Cable;
use crate::support::news::Viewer;
use crate::support::server::{Running, target};
use crate::support::terminal::Terminal;
use crate::support::within;

const VM: &str = "6c1f2a90-0000-4000-8000-00000000000d";

/// A server whose one line is shared, the cable to it, and a link over the cable.
async fn serve(machine: &TcpListener, more: &str) -> (Running, Cable, String) {
    let at = machine.local_addr().expect("an address");
    let consoles = format!("serial = \"tcp://{at}\"\nserial_viewers = \"hub\"\n{more}");
    let server = Running::start(&target(VM, "bm1", &consoles)).await;
    let cable = Cable::to(server.at.proxy.port()).await;
    let url = format!("ws://{}/?token={}", cable.address(), server.token(VM, Protocol::Serial).await);
    (server, cable, url)
}

async fn accept(machine: &TcpListener) -> TcpStream {
    within("the hub's dial", machine.accept()).await.expect("a connection").0
}

/// The program as a script runs it, with its input open.
struct Script {
    _child: Child,
    _stdin: ChildStdin,
    stdout: ChildStdout,
    out: Vec<u8>,
}

impl Script {
    fn start(url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
        command.arg("connect").env_clear().env("CONSOLEGATE_URL", url).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("cannot start consolegate");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { _child: child, _stdin: stdin, stdout, out: Vec::new() }
    }

    /// Reads until the output ends so.
    async fn prints(&mut self, end: &str) {
        while !self.out.ends_with(end.as_bytes()) {
            let count = within(end, self.stdout.read_buf(&mut self.out)).await.expect("a pipe");
            assert!(count > 0, "the end after {:?}", String::from_utf8_lossy(&self.out));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_whole_however_often_its_viewer_was_cut_off() {
    let machine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (_server, cable, url) = serve(&machine, "").await;
    let mut script = Script::start(&url);
    let mut line = accept(&machine).await;
    let mut said = String::new();
    for round in 0..4 {
        let mark = format!("seen in round {round}.\r\n");
        line.write_all(mark.as_bytes()).await.expect("a line");
        said.push_str(&mark);
        script.prints(&mark).await;
        // Cut in the middle of what is said: some of it is on its way, some comes to nobody.
        let burst: String = (0..3000).map(|n| format!("line {n:04} of round {round}\r\n")).collect();
        said.push_str(&burst);
        let (before, after) = burst.split_at(burst.len() / 3);
        line.write_all(before.as_bytes()).await.expect("a line");
        cable.cut();
        line.write_all(after.as_bytes()).await.expect("a line");
        cable.mend();
    }
    line.write_all(b"the last line\r\n").await.expect("a line");
    said.push_str("the last line\r\n");
    script.prints("the last line\r\n").await;
    let shown = String::from_utf8(script.out).expect("UTF-8");
    let differs = shown.lines().zip(said.lines()).position(|(shown, said)| shown != said);
    assert!(
        shown == said,
        "{} bytes of {}; the first line that differs: {differs:?}",
        shown.len(),
        said.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_hub_has_kept_is_shown_from_its_beginning() {
    let machine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (server, cable, url) = serve(&machine, "serial_hub.linger = \"0s\"").await;
    let mut script = Script::start(&url);
    let mut line = accept(&machine).await;
    line.write_all(b"before\r\n").await.expect("a line");
    script.prints("before\r\n").await;
    cable.cut();
    // Nobody is there any more, so the line is let go.
    let mut rest = Vec::new();
    within("the hub's end", line.read_to_end(&mut rest)).await.expect("an end");
    // The next one's has said more by the time the viewer is back than the viewer has seen of the first.
    let token = server.token(VM, Protocol::Serial).await;
    let mut other = Viewer::open(&server, &token, "").await;
    let mut line = accept(&machine).await;
    let news = "said to another hub, which counts anew\r\n";
    line.write_all(news.as_bytes()).await.expect("a line");
    other.read_to(news.as_bytes()).await;
    cable.mend();
    script.prints("anew\r\n").await;
    assert_eq!(String::from_utf8_lossy(&script.out), format!("before\r\n{news}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_that_is_asked_for_shows_nothing_twice() {
    let machine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (_server, _cable, url) = serve(&machine, "").await;
    let mut terminal = Terminal::start(&["connect"], &[("CONSOLEGATE_URL", &url)]);
    let mut line = accept(&machine).await;
    terminal.shows("Connected").await;
    line.write_all(b"one\r\n").await.expect("a line");
    terminal.shows("one\r\n").await;
    terminal.types("\x1dr").await;
    terminal.shows("again").await;
    line.write_all(b"two\r\n").await.expect("a line");
    terminal.shows("two\r\n").await;
    terminal.types("\x1d.").await;
    let (status, shown) = terminal.ended().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert_eq!(shown.matches("one\r\n").count(), 1, "{shown}");
}
