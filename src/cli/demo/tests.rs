//! The demo's servers as their clients find them.

use uuid::Uuid;

use super::*;
use crate::rfb::{Credentials, Handshake, Mode, Outcome, Security, TargetGreeter, Version};

/// A deadline for what must happen, so that a failure is a failure and not a hang.
const SOON: Duration = Duration::from_secs(60);

fn scratch() -> Scratch {
    Scratch(std::env::temp_dir().join(format!("cg-demo-{}", Uuid::new_v4().simple())))
}

async fn connect(endpoint: Option<&Endpoint>) -> UnixStream {
    let Some(Endpoint::Unix(path)) = endpoint else { panic!("not a Unix socket: {endpoint:?}") };
    UnixStream::connect(path).await.expect("a connection")
}

/// Reads until `wanted` has been seen; everything read.
async fn read_until(stream: &mut UnixStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let read = tokio::time::timeout(SOON, stream.read(&mut buffer)).await;
        let n = read
            .unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", String::from_utf8_lossy(&seen)))
            .expect("a read");
        assert_ne!(n, 0, "ended after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

async fn read_to_end(stream: &mut UnixStream) -> String {
    let mut seen = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut seen)).await.expect("an end").expect("a read");
    String::from_utf8_lossy(&seen).into_owned()
}

async fn exactly<const N: usize>(stream: &mut UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    tokio::time::timeout(SOON, stream.read_exact(&mut bytes)).await.expect("bytes in time").expect("a read");
    bytes
}

#[tokio::test]
async fn targets_are_two_servers_of_the_demo_project() {
    let dir = scratch();
    let demo = start(&dir.0, None).await.expect("a demo");
    let targets = demo.targets();
    let shape: Vec<_> =
        targets.iter().map(|t| (t.name.as_str(), t.kind, t.vnc.is_some(), t.serial.is_some())).collect();
    assert_eq!(shape, [("demo-canvas", Kind::Vm, true, false), ("demo-shell", Kind::Baremetal, false, true)]);
    assert!(targets.iter().all(|t| t.project.as_str() == PROJECT && Uuid::parse_str(t.id.as_str()).is_ok()));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&dir.0).expect("a directory").permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn the_shell_computes_and_ends_with_exit() {
    let dir = scratch();
    let demo = start(&dir.0, None).await.expect("a demo");
    let mut stream = connect(demo.targets()[1].serial.as_ref()).await;
    read_until(&mut stream, "$ ").await;
    stream.write_all(b"echo answer=$((6*7))\n").await.expect("a write");
    read_until(&mut stream, "answer=42\r\n").await;
    // Two shells are two: each has a home of its own, and nothing of our environment.
    let mut other = connect(demo.targets()[1].serial.as_ref()).await;
    other.write_all(b"echo cargo=${CARGO_MANIFEST_DIR:-unset} here=$PWD; exit\n").await.expect("a write");
    let said = read_to_end(&mut other).await;
    assert!(said.contains("cargo=unset here=") && said.contains("/home-"), "{said}");
    stream.write_all(b"exit\n").await.expect("a write");
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn a_half_closed_shell_still_answers() {
    let dir = scratch();
    let demo = start(&dir.0, None).await.expect("a demo");
    let mut stream = connect(demo.targets()[1].serial.as_ref()).await;
    stream.write_all(b"echo last=$((6*7))\n").await.expect("a write");
    stream.shutdown().await.expect("a half-close");
    let said = read_to_end(&mut stream).await;
    assert!(said.contains("last=42\r\n"), "{said}");
}

#[tokio::test]
async fn everything_a_shell_started_goes_with_its_viewer() {
    let dir = scratch();
    let demo = start(&dir.0, None).await.expect("a demo");
    let mut stream = connect(demo.targets()[1].serial.as_ref()).await;
    // The fifo's other end is the job's: it reads as ended when the last holder is gone.
    let fifo = dir.0.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let mut reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&fifo).expect("the fifo");
    let job =
        format!("nohup sh -c 'trap \"\" HUP TERM; echo up; exec sleep 1000' >{} 2>&1 &\n", fifo.display());
    stream.write_all(job.as_bytes()).await.expect("a write");
    let mut up = vec![0; 3];
    tokio::time::timeout(SOON, reader.read_exact(&mut up)).await.expect("a job").expect("a read");
    drop(stream);
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, reader.read_to_end(&mut rest)).await.expect("the job's end").expect("a read");
}

#[tokio::test]
async fn the_canvas_speaks_rfb() {
    let dir = scratch();
    let demo = start(&dir.0, None).await.expect("a demo");
    let mut stream = connect(demo.targets()[0].vnc.as_ref()).await;
    assert_eq!(&exactly::<12>(&mut stream).await, b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n").await.expect("a write");
    assert_eq!(exactly::<2>(&mut stream).await, [1, 1]);
    stream.write_all(&[1]).await.expect("a write");
    assert_eq!(exactly::<4>(&mut stream).await, [0; 4]);
    stream.write_all(&[1]).await.expect("a write");
    let init = exactly::<24>(&mut stream).await;
    assert_eq!(init[..4], [0x03, 0x20, 0x01, 0xe0]);
    let mut name = vec![0; usize::from(init[23])];
    stream.read_exact(&mut name).await.expect("a name");
    assert_eq!(String::from_utf8_lossy(&name), "consolegate demo: a VNC console");
    // RRE, and the whole screen: an update of 24 bands.
    stream.write_all(b"\x02\0\0\x01\0\0\0\x02\x03\0\0\0\0\0\x03\x20\x01\xe0").await.expect("a write");
    assert_eq!(exactly::<4>(&mut stream).await, [0, 0, 0, 24]);
    // A viewer that breaks the protocol is let go.
    stream.write_all(&[9]).await.expect("a write");
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn a_second_start_takes_over_left_sockets_and_only_sockets() {
    let dir = scratch();
    drop(start(&dir.0, None).await.expect("a demo"));
    drop(start(&dir.0, None).await.expect("a second demo"));
    std::fs::remove_file(dir.0.join("shell.sock")).expect("the socket");
    std::fs::write(dir.0.join("shell.sock"), "precious").expect("a file");
    let error = start(&dir.0, None).await.expect_err("a file is in the way");
    assert!(error.to_string().contains("shell.sock"), "{error:#}");
    assert_eq!(std::fs::read(dir.0.join("shell.sock")).expect("still there"), b"precious");
}

/// Goes through the whole handshake with a real server, as the proxy does; what it says and its ServerInit.
async fn greet(stream: &mut UnixStream) -> (Outcome, Vec<u8>) {
    let mut greeter = TargetGreeter::new(Mode::Authenticate(vec![Security::None]), Credentials::default());
    let outcome = loop {
        // Byte by byte, so that nothing behind the greeting is read.
        assert_eq!(greeter.feed(&exactly::<1>(stream).await), Ok(1));
        stream.write_all(&greeter.output()).await.expect("a write");
        if let Some(outcome) = greeter.done() {
            break outcome;
        }
    };
    let mut handshake = Handshake::new(outcome);
    assert_eq!(handshake.from_viewer(b"RFB 003.008\n\x01\x01"), Ok(14));
    stream.write_all(&handshake.to_target().expect("ClientInit")).await.expect("a write");
    while !handshake.done() {
        assert_eq!(handshake.from_target(&exactly::<1>(stream).await), Ok(1));
    }
    (outcome, std::iter::from_fn(|| handshake.to_viewer()).last().expect("ServerInit"))
}

/// A file of the guest: where `variable` says, else where `cargo xtask setup` puts it.
fn guest_file(variable: &str, name: &str) -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/setup/guest").join(name);
    let file = std::env::var_os(variable).map_or(usual, PathBuf::from);
    // A test that is skipped proves nothing.
    assert!(file.is_file(), "no {} ({variable}). To go on: run `cargo xtask setup`", file.display());
    file
}

#[tokio::test]
async fn the_guest_boots_and_computes() {
    let kernel = guest_file("CONSOLEGATE_TEST_GUEST_KERNEL", "vmlinuz");
    let initrd = guest_file("CONSOLEGATE_TEST_GUEST_INITRD", "initrd");
    let files = GuestFiles { kernel, initrd };
    let dir = scratch();
    let demo = start(&dir.0, Some(files)).await.expect("a demo with a guest");
    let target = &demo.targets()[2];
    let (outcome, init) = greet(&mut connect(target.vnc.as_ref()).await).await;
    assert_eq!(outcome, Outcome::Authenticated(Version::V3_8));
    assert_eq!(&init[24..], b"QEMU (demo-guest)");
    let mut serial = connect(target.serial.as_ref()).await;
    read_until(&mut serial, "# ").await;
    serial.write_all(b"echo answer=$((6*7))\n").await.expect("a write");
    read_until(&mut serial, "answer=42\r\n").await;
}
