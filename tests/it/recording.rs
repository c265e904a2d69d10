//! Recordings with real parts: a guest's line and screen as they were, shown again; what happens when there is no
//! room, when the process is killed, and when a console may not be opened without.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use consolegate::ids::Protocol;
use consolegate::rfb::fbs;
use consolegate::serial::cast;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::console::{CANVAS, TOLERANCE, connected, endpoint, painted, same_screen};
use crate::support::binary::{Binary, run};
use crate::support::chromium::{Browser, Page};
use crate::support::console::{Console, Manner};
use crate::support::picture::Picture;
use crate::support::process::Process;
use crate::support::qemu::{Guest, PROMPT};
use crate::support::rfb::Rfb;
use crate::support::server::{Running, open, refused, target};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000071";

/// `[recording]` with this directory and these settings.
pub(crate) fn recording(dir: &Path, more: &str) -> String {
    format!("[recording]\ndirectory = \"{}\"\n{more}\n", dir.display())
}

/// The files of a directory that end so, in order.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).expect("the directory of recordings");
    let mut found: Vec<PathBuf> = all.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(extension));
    found.sort();
    found
}

pub(crate) fn only(dir: &Path, extension: &str) -> PathBuf {
    let [file] = &files(dir, extension)[..] else { panic!("not one {extension}: {:?}", files(dir, "")) };
    file.clone()
}

/// What a cast says was shown.
fn output(path: &Path) -> Vec<u8> {
    let text = std::fs::read(path).expect("a recording");
    let mut lines = text.split(|byte| *byte == b'\n');
    cast::Header::parse(lines.next().expect("a header")).expect("a header");
    let mut decoder = cast::Decoder::default();
    let mut events: Vec<_> = lines.filter_map(|line| decoder.line(line).expect("an event")).collect();
    events.extend(decoder.finish());
    events
        .into_iter()
        .filter(|event| event.code == cast::Code::Output)
        .flat_map(|event| event.bytes)
        .collect()
}

/// The journal's first and last line.
fn journal(dir: &Path) -> (Value, Value) {
    let text = std::fs::read_to_string(only(dir, ".jsonl")).expect("a journal");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (lines[0].clone(), lines[lines.len() - 1].clone())
}

/// What the program says a recording is.
async fn info(file: &Path) -> Value {
    let ran = run(&["replay", "--json", file.to_str().expect("UTF-8")], &[]).await;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).expect("JSON")
}

/// Waits until the canvas shows this picture, or no longer does.
async fn canvas(page: &Page, picture: &Picture, wanted: bool) {
    let shown = async {
        while (page.canvas(CANVAS).await.difference(picture, TOLERANCE) <= 0.0005) != wanted {
            page.eval::<bool>("new Promise(drawn => requestAnimationFrame(() => drawn(true)))").await;
        }
    };
    within("the recorded picture", shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_line_is_recorded_byte_for_byte_and_played_back() {
    let guest = Guest::boot().await;
    let dir = temp::dir();
    let console = format!("serial = \"{}\"\nrecord = \"required\"", endpoint(guest.serial()));
    let server =
        Running::start(&format!("{}{}", recording(dir.path(), ""), target(VM, "guest", &console))).await;
    let token = server.token(VM, Protocol::Serial).await;
    let (mut socket, _) = open(&server.ws(&token), &[]).await.expect("the console");
    viewer::send(&mut socket, b"printf 'gr\\303\\274n \\377\\033[31m'; seq 1 3000; echo '<<'end\n").await;
    let mut seen = Vec::new();
    // The echo, the output, the prompt, and its question where the cursor is, which may come by itself.
    let last = format!("{PROMPT}\x1b[6n");
    while !String::from_utf8_lossy(&seen)
        .split_once("<<end\r\n")
        .is_some_and(|(_, rest)| rest.contains(&last))
    {
        seen.extend(viewer::frame(&mut socket).await);
    }
    socket.close(None).await.expect("a goodbye");
    // What comes behind the viewer's close is recorded as well; nothing did.
    server.drain().await;
    let file = only(dir.path(), ".cast");
    assert_eq!(output(&file), seen, "the viewer's bytes");
    assert!(seen.contains(&0xff), "what is no UTF-8 is among them");
    let (first, last) = journal(dir.path());
    assert_eq!(first["recording"]["target"], VM);
    assert_eq!(
        (&first["recording"]["policy"], &first["recording"]["input"]),
        (&json!("required"), &json!(false))
    );
    assert_eq!(last["ended"]["cause"], "viewer_closed");
    let mode = file.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("UTF-8");
    assert!(!text.contains(&token) && !file.to_string_lossy().contains("guest"), "no secret, nobody's words");

    let told = info(&file).await;
    assert_eq!((&told["format"], &told["bytes_to_viewer"]), (&json!("asciicast-v2"), &json!(seen.len())));
    let played = run(&["replay", "--speed", "1000", file.to_str().expect("UTF-8")], &[]).await;
    assert_eq!(played.stdout, seen, "the terminal's bytes");
    assert_eq!(info(&file).await["torn"], false);
}

/// A running `consolegate replay`, and where viewers connect to.
async fn replay(file: &Path, dir: &Path, arguments: &[&str]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.env_clear().arg("replay").args(arguments).arg(file);
    let mut process = Process::start("replay", command, dir);
    let log = process.log().to_owned();
    let address = async || {
        let said = std::fs::read_to_string(&log).ok()?;
        let (_, rest) = said.split_once("Open vnc://")?;
        Some(rest.split_once(' ')?.0.to_owned())
    };
    let address = process.ready("a port", address).await;
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_screen_in_novnc_is_recorded_and_shown_again() {
    let guest = Guest::boot().await;
    let dir = temp::dir();
    let console = format!("vnc = \"{}\"\nrecord = \"on\"", endpoint(guest.vnc()));
    let server =
        Running::start(&format!("{}{}", recording(dir.path(), ""), target(VM, "guest", &console))).await;
    let browser = Browser::launch().await;
    let page = browser.page(&server.issue(VM, Protocol::Vnc).await).await;
    connected(&page).await;
    painted(&page).await;
    page.type_text("echo recorded").await;
    page.key("Enter").await;
    within("the typed text", async { while !guest.screen_text().await.contains("\nrecorded") {} }).await;
    same_screen(&page, &guest).await;
    let real = guest.screendump().await;
    server.drain().await;
    drop(page);

    // In pixels of another form than noVNC's, by a client that reads nothing but Raw.
    let file = only(dir.path(), ".fbs");
    let told = info(&file).await;
    assert_eq!(told["screen"], json!({"width": real.width, "height": real.height}), "{told}");
    let (_process, address) = replay(&file, dir.path(), &["--speed", "1000"]).await;
    let again = Running::start(&target(VM, "replayed", &format!("vnc = \"tcp://{address}\""))).await;
    let token = again.token(VM, Protocol::Vnc).await;
    let mut raw = Rfb::open(again.at.proxy, &token).await.expect("the replay");
    raw.choose(1).await;
    raw.message().await;
    let screen = raw.begin().await;
    let same = async { while raw.picture(&screen).await.difference(&real, TOLERANCE) > 0.0005 {} };
    within("the recorded screen", same).await;

    // And in noVNC.
    let page = browser.page(&again.issue(VM, Protocol::Vnc).await).await;
    connected(&page).await;
    canvas(&page, &real, true).await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    // Back to the beginning by keys, where the text was not yet typed, and no further for now.
    page.type_text(" ").await;
    page.key("Home").await;
    assert_eq!(guest.screendump().await, real, "the guest itself has not moved");
    canvas(&page, &real, false).await;
}

/// Starts the real program where no file may grow beyond `blocks` of 512 bytes.
pub(crate) async fn cramped(
    dir: &Path,
    settings: &str,
    targets: &str,
    blocks: u32,
) -> (Process, std::net::SocketAddr) {
    let config = dir.join("consolegate.toml");
    let listen = "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let text = format!(
        "{listen}[[auth.token]]\ntoken = \"{}\"\nuser = \"demo\"\nproject = \"{}\"\nroles = [\"member\"]\n{settings}{targets}",
        crate::support::server::TOKEN,
        crate::support::server::PROJECT
    );
    std::fs::write(&config, text).expect("a configuration");
    // A write beyond the limit is an error then, as on a full disk, and not a signal.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_consolegate"), "--log", "json", "serve", "--config"]);
    command.arg(&config).env("RUST_LOG", "info");
    let mut process = Process::start("cramped", command, dir);
    let log = process.log().to_owned();
    let listening = async || {
        let said = std::fs::read_to_string(&log).ok()?;
        let line = said.lines().find(|line| line.contains("\"role\":\"api and proxy\""))?;
        serde_json::from_str::<Value>(line).ok()?["address"].as_str()?.parse().ok()
    };
    let at = process.ready("its listeners", listening).await;
    (process, at)
}

pub(crate) async fn issue(at: std::net::SocketAddr) -> String {
    let headers = format!(
        "X-Auth-Token: {}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.8\r\n",
        crate::support::server::TOKEN
    );
    let body = "{\"remote_console\": {\"protocol\": \"serial\", \"type\": \"serial\"}}";
    let path = format!("/v2.1/servers/{VM}/remote-consoles");
    let answer = crate::support::server::http(at, "POST", &path, &headers, body).await;
    crate::support::server::token_of(&answer)
}

#[tokio::test]
async fn a_full_disk_ends_the_session_or_its_recording_as_configured() {
    for (policy, more, goes_on) in
        [("on", "", true), ("on", "on_failure = \"end\"", false), ("required", "", false)]
    {
        let echo = Console::new(Manner::Echo).await;
        let dir = temp::dir();
        let recordings = dir.path().join("recordings");
        let targets = target(VM, "bm1", &format!("{}record = \"{policy}\"", echo.setting("serial")));
        // 16 KiB: the log of the program itself fits, what is said here does not.
        let (mut process, at) = cramped(dir.path(), &recording(&recordings, more), &targets, 32).await;
        let token = issue(at).await;
        let (mut socket, _) = open(&format!("ws://{at}/?token={token}"), &[]).await.expect("the console");
        let said = [b'x'; 4000];
        if goes_on {
            for _ in 0..20 {
                viewer::echo(&mut socket, &said).await;
            }
            socket.close(None).await.expect("a goodbye");
        } else {
            // Somewhere on the way it ends; until then everything is echoed.
            let talk = async {
                loop {
                    let message = tokio_tungstenite::tungstenite::Message::binary(said.to_vec());
                    if futures_util::SinkExt::send(&mut socket, message).await.is_err() {
                        return;
                    }
                    match futures_util::StreamExt::next(&mut socket).await {
                        Some(Ok(tokio_tungstenite::tungstenite::Message::Close(Some(frame)))) => {
                            assert_eq!(u16::from(frame.code), 1011, "{frame:?}");
                            assert!(frame.reason.contains("recording failed"), "{frame:?}");
                            return;
                        }
                        Some(Ok(_)) => {}
                        other => panic!("instead of a close: {other:?}"),
                    }
                }
            };
            within("the end", talk).await;
        }
        let log = process.log().to_owned();
        process
            .ready("its word about it", async || {
                std::fs::read_to_string(&log).ok()?.contains("recording failed").then_some(())
            })
            .await;
        let file = only(&recordings, ".cast");
        let recorded = output(&file);
        assert!(recorded.len() > 8000 && recorded.iter().all(|byte| *byte == b'x'), "{}", recorded.len());
        // Said at once, written when what was queued has been dealt with.
        let ended = async || Some(journal(&recordings).1["ended"].clone()).filter(|ended| !ended.is_null());
        assert_eq!(process.ready("the journal's last line", ended).await["cause"], "recording-failed");
    }
}

#[tokio::test]
async fn a_killed_process_leaves_files_that_can_be_read() {
    let echo = Console::new(Manner::Echo).await;
    let dir = temp::dir();
    let consoles = format!("{}record = \"required\"", echo.setting("serial"));
    let settings = recording(dir.path(), "input = true");
    let mut server = Binary::serve(&settings, &target(VM, "bm1", &consoles), "json", &[]).await;
    let token = issue(server.api).await;
    let (mut socket, _) =
        open(&format!("ws://{}/?token={token}", server.proxy), &[]).await.expect("the console");
    let mut said = Vec::new();
    for round in 0..50u8 {
        let words = [b'a' + round % 26; 900];
        viewer::echo(&mut socket, &words).await;
        said.extend(words);
    }
    // On the disk within a moment of being shown.
    let file = only(dir.path(), ".cast");
    let written = async { while output(&file).len() < said.len() {} };
    within("all of it on the disk", written).await;
    server.signal(Signal::KILL);
    server.ended().await;
    assert_eq!(output(&file), said);
    let told = info(&file).await;
    assert_eq!(
        (&told["bytes_to_viewer"], &told["bytes_to_target"]),
        (&json!(said.len()), &json!(said.len()))
    );
    assert_eq!(told["ended"], Value::Null, "nobody was left to say how it ended");

    // Cut off within its last line, as a crash of the machine would leave it.
    let text = std::fs::read(&file).expect("a recording");
    let torn = dir.path().join("torn.cast");
    std::fs::write(&torn, &text[..text.len() - 30]).expect("a file");
    assert_eq!(info(&torn).await["torn"], true);
    let played = run(&["replay", "--speed", "1000", torn.to_str().expect("UTF-8")], &[]).await;
    assert!(played.status.success() && said.starts_with(&played.stdout) && played.stdout.len() > 40_000);
}

#[tokio::test]
async fn what_must_be_recorded_and_cannot_be_is_not_opened_and_costs_no_token() {
    let echo = Console::new(Manner::Echo).await;
    let dir = temp::dir();
    let recordings = dir.path().join("recordings");
    let consoles = format!("{}record = \"required\"", echo.setting("serial"));
    let server =
        Running::start(&format!("{}{}", recording(&recordings, ""), target(VM, "bm1", &consoles))).await;
    let token = server.token(VM, Protocol::Serial).await;
    // Root may write anywhere; where there is no directory nobody can.
    std::fs::remove_dir_all(&recordings).expect("the directory");
    let path = format!("/?token={token}");
    refused(server.at.proxy, &path).await.assert_bare(503, "no place for the recording");
    assert_eq!(
        echo.until("its end", |seen| seen.gone > 0).await.received,
        b"",
        "nothing was said to the console"
    );
    let mut page = open(&server.ws(&token), &[("origin", &server.origin())]).await.expect("a browser").0;
    let told = String::from_utf8(viewer::frame(&mut page).await).expect("a line of text");
    assert!(told.contains("must be recorded"), "{told}");
    std::fs::create_dir(&recordings).expect("the directory again");
    let (mut socket, _) = open(&server.ws(&token), &[]).await.expect("the same link");
    viewer::echo(&mut socket, b"recorded").await;
    socket.close(None).await.expect("a goodbye");
    server.drain().await;
    assert_eq!(output(&only(&recordings, ".cast")), b"recorded");
}

#[tokio::test]
async fn a_vnc_password_is_in_no_recording() {
    let dir = temp::dir();
    let guest = Guest::boot_with(crate::support::qemu::Options {
        vnc_password: Some("opensesa"),
        ..Default::default()
    });
    let guest = guest.await;
    let console = format!(
        "vnc = \"{}\"\nrecord = \"on\"\n[target.vnc_security]\ntypes = [\"pass-through\"]",
        endpoint(guest.vnc())
    );
    let settings = recording(dir.path(), "input = true");
    let server = Running::start(&format!("{settings}{}", target(VM, "guest", &console))).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let mut viewer = Rfb::open(server.at.proxy, &token).await.expect("the console");
    viewer.choose(2).await;
    assert_eq!(viewer.answer("opensesa").await, [0; 4], "SecurityResult");
    let screen = viewer.begin().await;
    viewer.picture(&screen).await;
    viewer.close().await;
    server.drain().await;
    let streams = [".input.fbs", ".fbs"].map(|extension| {
        let file = files(dir.path(), extension)
            .into_iter()
            .find(|file| extension != ".fbs" || !file.to_string_lossy().ends_with(".input.fbs"));
        let mut reader = fbs::Reader::default();
        reader.push(&std::fs::read(file.expect("a file")).expect("a recording"));
        let mut all = Vec::new();
        while let Some(record) = reader.next_record().expect("records") {
            all.extend(record.data);
        }
        all
    });
    // Of the viewer's, what comes behind its ClientInit: SetPixelFormat first.
    assert_eq!(streams[0][..4], [0; 4]);
    // Of the server's, a handshake without any authentication.
    assert!(streams[1].starts_with(b"RFB 003.003\n\0\0\0\x01"));
}
