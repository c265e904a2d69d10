//! `consolegate connect`: the built program in a terminal, and for scripts, against the proxy and real serial lines.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use consolegate::ids::Protocol;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::binary;
use crate::support::console::{Console, Manner, dead_port};
use crate::support::pki::Pki;
use crate::support::qemu::Guest;
use crate::support::server::{PROJECT, Running, TOKEN, http, target, token_of};
use crate::support::terminal::Terminal;
use crate::support::{temp, within};

const VM: &str = "6c1f2a90-0000-4000-8000-00000000000c";

async fn serve(consoles: &str) -> Running {
    Running::start(&target(VM, "bm1", consoles)).await
}

/// The environment of a user of the API with a fixed token.
fn as_demo(server: &Running) -> [(&'static str, String); 2] {
    [("CONSOLEGATE_API", format!("http://{}/v2.1", server.at.api)), ("CONSOLEGATE_TOKEN", TOKEN.to_owned())]
}

fn borrowed<'e>(environment: &'e [(&'static str, String)]) -> Vec<(&'static str, &'e str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_line_in_a_terminal() {
    let guest = Guest::boot().await;
    let server = serve(&format!("serial = \"{}\"", crate::console::endpoint(guest.serial()))).await;
    let url = server.issue(VM, Protocol::Serial).await;
    let dir = temp::dir();
    let log = dir.path().join("bm1.log");
    let arguments = ["connect", "--log-file", log.to_str().unwrap()];
    let mut terminal = Terminal::start(&arguments, &[("CONSOLEGATE_URL", &url)]);
    terminal.shows("Connected to ws://").await;
    terminal.shows("Ctrl-] . leaves").await;
    assert!(!terminal.is_as_it_was(), "raw");
    terminal.types("\r").await;
    terminal.shows("guest# ").await;
    terminal.types("echo $((6*7)); tty\r").await;
    terminal.shows("\n42\r\n/dev/ttyS0\r\n").await;
    // Ctrl-C is the guest's, and so is the escape key typed twice.
    terminal.types("echo g''o; read word\r").await;
    terminal.shows("\ngo\r\n").await;
    terminal.types("\x1d\x1d").await;
    terminal.shows("^]").await;
    terminal.types("\x03").await;
    terminal.shows("^C").await;
    terminal.types("\r").await;
    terminal.shows("guest# ").await;

    // A proxy that takes no sizes is sent none: nothing but our own text arrives on the line.
    terminal.resize(50, 132);
    terminal.types("echo whole\r").await;
    terminal.shows("echo whole\r\nwhole\r\n").await;

    // Our own keys.
    terminal.types("\x1d?").await;
    terminal.shows("send a break").await;
    terminal.types("\x1ds").await;
    terminal.shows("bytes received; the keyboard is yours").await;
    // On loopback a link opens its own session again, by the cookie that came with it.
    terminal.types("\x1dr").await;
    terminal.shows("again").await;
    terminal.types("echo $((6*9))\r").await;
    terminal.shows("\n54\r\n").await;
    terminal.types("\x1db").await;
    terminal.shows("a break cannot be sent here").await;
    terminal.types("\x1d.").await;
    let (status, shown) = terminal.ended().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(terminal.is_as_it_was());
    assert!(!shown.contains(&token_of(&url)), "the token is shown: {shown}");

    let kept = std::fs::read_to_string(&log).unwrap();
    assert!(kept.contains("\n42\r\n/dev/ttyS0\r\n") && !kept.contains("send a break"), "{kept}");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    // The line is free again.
    assert_eq!(guest.run("echo $((6*7))").await, "42\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_put_back_on_every_way_out() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console.setting("serial")).await;
    let environment = as_demo(&server);
    let environment = borrowed(&environment);
    let start = async || {
        let mut terminal = Terminal::start(&["connect", "--server", "bm1"], &environment);
        terminal.shows("Connected").await;
        terminal.types("echo-1").await;
        terminal.shows("echo-1").await;
        assert!(!terminal.is_as_it_was());
        terminal
    };
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut terminal = start().await;
        terminal.signal(signal);
        let (status, shown) = terminal.ended().await;
        assert_eq!(status.code(), Some(code), "{shown}");
        assert!(terminal.is_as_it_was(), "{code}");
        assert!(
            shown.contains("\x1b[?25h\x1b[?1000l"),
            "what a console switched on is switched off: {shown:?}"
        );
    }
    // Suspended, as by Ctrl-Z: the shell has its terminal meanwhile, and then the console again.
    let mut terminal = start().await;
    terminal.types("\x1dz").await;
    let stopped = async {
        while terminal.state() != 'T' {
            tokio::task::yield_now().await
        }
    };
    within("the program to stop", stopped).await;
    assert!(terminal.is_as_it_was());
    terminal.signal(Signal::CONT);
    let raw = async {
        while terminal.is_as_it_was() {
            tokio::task::yield_now().await
        }
    };
    within("the terminal to be raw again", raw).await;
    terminal.types("echo-2").await;
    terminal.shows("echo-2").await;
    // Left by the escape key, and the shell knows.
    terminal.types("\x1d.").await;
    let (status, shown) = terminal.ended().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(terminal.is_as_it_was() && shown.contains("left the console"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_end_is_told_and_not_tried_again() {
    let console = Console::new(Manner::Echo).await;
    let admin = "[admin]\ntoken = \"an-admin-listeners-token\"\n";
    let server = serve(&format!("{}{admin}", console.setting("serial"))).await;
    let environment = as_demo(&server);
    let mut terminal = Terminal::start(&["connect", "--server", VM], &borrowed(&environment));
    terminal.shows("Connected").await;
    let headers = "Authorization: Bearer an-admin-listeners-token\r\n";
    let listed = http(server.at.admin, "GET", "/v1/sessions", headers, "").await;
    let (_, id) = listed.split_once("\"id\":\"").expect("a session");
    let path = format!("/v1/sessions/{}", &id[..id.find('"').unwrap()]);
    assert!(http(server.at.admin, "DELETE", &path, headers, "").await.starts_with("HTTP/1.1 204"));
    let (status, shown) = terminal.ended().await;
    assert_eq!(status.code(), Some(5), "{shown}");
    assert!(shown.contains("ended by an operator (1008)"), "{shown}");
    assert!(terminal.is_as_it_was());
    assert_eq!(console.dialled().await, 1, "no second session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_is_sent_on_the_line() {
    // A terminal server that knows no option: a break is then the Telnet command of that name (RFC 854).
    const BREAK: [u8; 2] = [255, 243];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(&format!("serial = \"telnet://{}\"", listener.local_addr().unwrap())).await;
    let environment = as_demo(&server);
    let mut terminal = Terminal::start(&["connect", "--server", "bm1"], &borrowed(&environment));
    let mut line = within("the proxy's dial", listener.accept()).await.unwrap().0;
    line.write_all(b"boot loader\r\n").await.unwrap();
    terminal.shows("boot loader\r\n").await;
    terminal.types("\x1db").await;
    terminal.shows("break sent").await;
    let mut read = Vec::new();
    let broken = async {
        while !read.windows(2).any(|two| two == BREAK) {
            assert!(line.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
        }
    };
    within("the break", broken).await;
    terminal.types("\x1d.").await;
    assert_eq!(terminal.ended().await.0.code(), Some(0));
}

/// Asks the program at the far end for its terminal's size until it is this one.
async fn until_size(terminal: &mut Terminal, size: &str) {
    let asked = async {
        loop {
            terminal.types("x\r").await;
            terminal.shows("x\r\n").await;
            if terminal.shows("\r\n").await.contains(size) {
                return;
            }
        }
    };
    within(size, asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_at_the_far_end_has_the_terminals_size() {
    let script = "while read -r word; do stty size; done";
    let server = serve(&format!(
        "serial = \"command:/bin/bash\"\n[target.serial_line]\nargs = {:?}\n",
        ["-c", script]
    ))
    .await;
    let environment = as_demo(&server);
    let mut terminal = Terminal::start(&["connect", "--server", "bm1"], &borrowed(&environment));
    terminal.shows("Connected").await;
    // Its size at the beginning, and whenever it changes.
    until_size(&mut terminal, "24 80").await;
    terminal.resize(43, 132);
    until_size(&mut terminal, "43 132").await;
    terminal.types("\x1d.").await;
    assert_eq!(terminal.ended().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_console_is_opened_again_by_a_new_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(&format!("serial = \"tcp://{}\"", listener.local_addr().unwrap())).await;
    let environment = as_demo(&server);
    let mut terminal = Terminal::start(&["connect", "--server", "bm1"], &borrowed(&environment));
    let accept = async || within("the proxy's dial", listener.accept()).await.unwrap().0;
    let break_off =
        |socket: TcpStream| socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO));
    let mut first = accept().await;
    terminal.shows("Connected").await;
    first.write_all(b"one\r\n").await.unwrap();
    terminal.shows("one\r\n").await;
    break_off(first).unwrap();
    terminal.shows("the connection to the console broke").await;
    let mut second = accept().await;
    terminal.shows("connected to ws://").await;
    second.write_all(b"two\r\n").await.unwrap();
    terminal.shows("two\r\n").await;
    terminal.types("typed").await;
    let mut typed = [0; 5];
    within("what was typed", second.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"typed");
    // Asked for by the user, too; and while it is waited for, the way out is open.
    terminal.types("\x1dr").await;
    let third = accept().await;
    terminal.shows("again").await;
    drop(listener);
    break_off(third).unwrap();
    terminal.shows("the connection to the console broke").await;
    terminal.shows("try again in a moment").await;
    terminal.types("\x1d.").await;
    let (status, shown) = terminal.ended().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(terminal.is_as_it_was());
}

/// Runs the program with this on its standard input; exit code, output, what it said beside.
pub(crate) async fn script(
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.arg("connect").args(arguments).env_clear().envs(environment.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that refuses does not read it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = within("the program's end", child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_type_and_read() {
    let guest = Guest::boot().await;
    let server = serve(&format!("serial = \"{}\"", crate::console::endpoint(guest.serial()))).await;
    let environment = as_demo(&server);
    let environment = borrowed(&environment);
    // Until a text is there; no byte is an escape key, for there is no terminal.
    let (code, out, said) =
        script(&["--server", "bm1", "--until", "=42"], &environment, "echo \x1d.=$((6*7))\n").await;
    assert!(code == 0 && out.contains("=42") && said.is_empty(), "{code} {out:?} {said}");
    // Until the console is silent. The link is the first line of the input, and the rest is typed.
    let url = server.issue(VM, Protocol::Serial).await;
    let (code, out, said) = script(&["-", "--linger", "3s"], &[], &format!("{url}\necho $((6*8))\n")).await;
    assert!(code == 0 && out.contains("48\r\n") && said.is_empty(), "{code} {out:?} {said}");
    assert!(!out.contains(&token_of(&url)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sends_all_it_has_and_gets_all_back() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console.setting("serial")).await;
    let url = server.issue(VM, Protocol::Serial).await;
    let input: String = (0..60_000).map(|n| format!("line {n}\n")).collect();
    let (code, out, said) = script(&["--until", "line 59999\n"], &[("CONSOLEGATE_URL", &url)], &input).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(out == input, "{} bytes of {}", out.len(), input.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_it() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console.setting("serial")).await;
    let url = server.issue(VM, Protocol::Serial).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.arg("connect").env_clear().env("CONSOLEGATE_URL", &url).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    stdin.write_all(b"first\nsecond\n").await.unwrap();
    let mut line = String::new();
    within("a line", stdout.read_line(&mut line)).await.unwrap();
    assert_eq!(line, "first\n");
    drop(stdout);
    // Whatever comes next finds nobody, as with `| head -1`.
    let typing = async { while stdin.write_all(b"more\n").await.is_ok() {} };
    let ended = async {
        tokio::select! {
            status = child.wait() => status.unwrap(),
            () = typing => child.wait().await.unwrap(),
        }
    };
    assert_eq!(within("its end", ended).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_exit_code_and_words() {
    let console = Console::new(Manner::Echo).await;
    let vnc = Console::new(Manner::Vnc).await;
    let server = serve(&format!("{}{}", console.setting("serial"), vnc.setting("vnc"))).await;
    let check = async |url: &str, expected: i32, words: &str| {
        let (code, out, said) = script(&[], &[("CONSOLEGATE_URL", url)], "").await;
        assert_eq!((code, out.as_str()), (expected, ""), "{words}: {said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("token") || words.contains("token"), "{said}");
    };
    let url = server.issue(VM, Protocol::Serial).await;
    script(&["--linger", "0s"], &[("CONSOLEGATE_URL", &url)], "").await;
    check(&url, 3, "it was used already, has expired, or was cut off. Ask for a new one (HTTP 403)").await;
    check(&format!("ws://{}/?token=abcdef0123456789", dead_port().await), 4, "cannot reach ws://127.0.0.1")
        .await;
    check("https://console.example/", 1, "holds no token").await;
    check("nonsense", 1, "that is no link").await;
    check("", 1, "which console?").await;
    check(&server.issue(VM, Protocol::Vnc).await, 1, "use `consolegate tunnel`").await;
    // A bare WebSocket URL does not say what it leads to; the console does.
    let bare = server.ws(&server.token(VM, Protocol::Vnc).await);
    let (code, _, said) = script(&[], &[("CONSOLEGATE_URL", &bare)], "").await;
    assert!(code == 1 && said.contains("a VNC console is at the other end"), "{code} {said}");
    let gone = server.issue(VM, Protocol::Serial).await;
    let at = console.stop().await;
    check(&gone, 4, "the console was not reached, or did not answer. The link is still good").await;
    let _console = Console::at(at, Manner::Echo).await;
    assert_eq!(script(&["--linger", "0s"], &[("CONSOLEGATE_URL", &gone)], "").await.0, 0, "still good");

    let api = format!("http://{}/v2.1", server.at.api);
    let ask = async |token: &str, name: &str| {
        let environment = [("CONSOLEGATE_API", api.as_str()), ("CONSOLEGATE_TOKEN", token)];
        script(&["--server", name], &environment, "").await
    };
    let (code, _, said) = ask("wrong", "bm1").await;
    assert!(code == 3 && said.contains("401"), "{code} {said}");
    let (code, _, said) = ask(TOKEN, "nobody").await;
    assert!(code == 3 && said.contains("404"), "{code} {said}");
    let (code, _, said) = script(&["--server", "bm1"], &[], "").await;
    assert!(code == 1 && said.contains("source your cloud's openrc"), "{code} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_by_authority_name_or_pin() {
    let console = Console::new(Manner::Echo).await;
    let pki = Pki::new();
    let pin = pki.server("localhost");
    let (certificate, key) = (pki.file("server-cert.pem"), pki.file("server-key.pem"));
    let tls = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let server = Running::start(&format!("{tls}{}", target(VM, "bm1", &console.setting("serial")))).await;
    let authority = pki.file("ca-cert.pem");
    let authority = authority.to_str().unwrap();
    let other = Pki::new();
    let other_authority = other.file("ca-cert.pem");
    let wrong_pin = "00".repeat(32);
    let attempt = async |host: &str, arguments: &[&str]| {
        let token = server.token(VM, Protocol::Serial).await;
        let url = format!("wss://{host}:{}/?token={token}", server.at.proxy.port());
        script(&[arguments, &["--until", "there"]].concat(), &[("CONSOLEGATE_URL", &url)], "there\n").await
    };
    for good in [&["--cacert", authority][..], &["--pin", &pin]] {
        let (code, out, said) = attempt("localhost", good).await;
        assert!(code == 0 && out == "there\n", "{good:?}: {code} {out} {said}");
    }
    for (host, arguments) in [
        ("localhost", &[][..]),
        ("localhost", &["--cacert", other_authority.to_str().unwrap()]),
        ("localhost", &["--pin", &wrong_pin]),
        ("127.0.0.1", &["--cacert", authority]),
    ] {
        let (code, out, said) = attempt(host, arguments).await;
        assert!(code == 4 && out.is_empty() && said.contains("TLS: "), "{host} {arguments:?}: {code} {said}");
    }
    // The API, too, is asked by TLS only if it is the one that was meant.
    let api = format!("https://localhost:{}/v2.1", server.at.api.port());
    let environment = [("CONSOLEGATE_API", api.as_str()), ("CONSOLEGATE_TOKEN", TOKEN)];
    let (code, _, said) = script(&["--server", "bm1"], &environment, "").await;
    assert!(code == 4 && said.contains("certificate"), "{code} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_show_who_one_is() {
    let console = Console::new(Manner::Echo).await;
    let hash = bcrypt::hash("sesame", 10).expect("a hash");
    let basic = format!(
        "[[auth.basic]]\nuser = \"ann\"\npassword_bcrypt = \"{hash}\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n"
    );
    let server = Running::start(&format!("{basic}{}", target(VM, "bm1", &console.setting("serial")))).await;
    let api = format!("http://{}/v2.1", server.at.api);
    for environment in [
        &[("CONSOLEGATE_TOKEN", TOKEN), ("CONSOLEGATE_API", api.as_str())][..],
        &[("OS_TOKEN", TOKEN), ("OS_AUTH_TYPE", "admin_token"), ("OS_ENDPOINT", &api)],
        &[("CONSOLEGATE_USERNAME", "ann"), ("CONSOLEGATE_PASSWORD", "sesame"), ("CONSOLEGATE_API", &api)],
        &[
            ("OS_AUTH_TYPE", "http_basic"),
            ("OS_USERNAME", "ann"),
            ("OS_PASSWORD", "sesame"),
            ("OS_ENDPOINT", &api),
        ],
        // The legacy actions, as openstackclient asks for old versions.
        &[("CONSOLEGATE_TOKEN", TOKEN), ("CONSOLEGATE_API", &api), ("OS_COMPUTE_API_VERSION", "2.1")],
        &[("CONSOLEGATE_TOKEN", TOKEN), ("CONSOLEGATE_API", &api), ("OS_COMPUTE_API_VERSION", "2.latest")],
    ] {
        let (code, out, said) =
            script(&["--server", "bm1", "--until", "there"], environment, "there\n").await;
        assert!(code == 0 && out == "there\n", "{environment:?}: {code} {said}");
        let issued = binary::run(&["issue", "bm1", "-p", "serial"], environment).await;
        let url = String::from_utf8(issued.stdout).unwrap();
        assert!(issued.status.success() && url.starts_with("ws://"), "{url}");
    }
}
