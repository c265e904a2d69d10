//! A real guest's screen and line through the proxy, over TCP and over Unix sockets, for a bare client.

use consolegate::ids::Protocol;

use crate::support::chance::Chance;
use crate::support::qemu::{Guest, Options, PROMPT, Place};
use crate::support::rfb::Rfb;
use crate::support::server::{Running, target};
use crate::support::wire::{self, BINARY, Frame};
use crate::support::within;

use tokio::io::AsyncWriteExt;

const VM: &str = "00000005-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_unix_sockets() {
    both_consoles(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_tcp() {
    both_consoles(Options { tcp: true, ..Options::default() }).await;
}

async fn both_consoles(options: Options<'_>) {
    let guest = Guest::boot_with(options).await;
    let endpoint = |place: &Place| match place {
        Place::Unix(path) => format!("unix:{}", path.display()),
        Place::Tcp(address) => format!("tcp://{address}"),
    };
    let consoles = format!("vnc = \"{}\"\nserial = \"{}\"", endpoint(guest.vnc()), endpoint(guest.serial()));
    let server = Running::start(&target(VM, "guest", &consoles)).await;
    runs_a_command(&server).await;
    // The line is free again: QEMU serves one connection at a time.
    assert_eq!(guest.run("echo $((6*7))").await, "42\n");
    shows_its_screen(&guest, &server).await;
}

/// A command typed on the serial line, its output byte for byte, and the prompt again.
async fn runs_a_command(server: &Running) {
    let token = server.token(VM, Protocol::Serial).await;
    let (mut outgoing, mut incoming) = wire::open(server.at.proxy, &token, None).await.expect("the console");
    let mut chance = Chance::new(9);
    let command = b"seq 1 2000 | sha256sum; echo '<<'end; seq 1 2000 | sha256sum\n";
    outgoing.write_all(&wire::frame(BINARY, true, command, &mut chance)).await.expect("a command");
    let mut seen = String::new();
    let printed = async {
        // The echo, the output, the prompt.
        while !seen.split_once("<<end\r\n").is_some_and(|(_, rest)| rest.contains(PROMPT)) {
            seen += &String::from_utf8(incoming.data().await).expect("frames of whole characters");
        }
    };
    within("the command's output", printed).await;
    // Of `seq 1 2000`, as any sha256sum says.
    let digest = "6251e5743b6fd6a7d606130bdf7c15077ce85ebd3a0fdee284d15a46df199e38  -\r\n";
    assert_eq!(seen.matches(digest).count(), 2, "{seen}");
    outgoing.write_all(&wire::close(1000, &mut chance)).await.expect("a goodbye");
    let closed = async {
        loop {
            match incoming.next().await {
                Frame::Close(code, _) => return code,
                Frame::End => panic!("no close frame"),
                _ => {}
            }
        }
    };
    assert_eq!(within("the close", closed).await, 1000);
}

/// The screen, pixel by pixel what QEMU itself says is on it; and a key changes it.
async fn shows_its_screen(guest: &Guest, server: &Running) {
    let token = server.token(VM, Protocol::Vnc).await;
    let mut viewer = Rfb::open(server.at.proxy, &token).await.expect("the console");
    viewer.choose(1).await;
    assert_eq!(viewer.message().await, [0; 4], "SecurityResult");
    let screen = viewer.begin().await;
    assert!(screen.name.starts_with("QEMU"), "{screen:?}");
    let before = guest.screendump().await;
    assert_eq!(viewer.picture(&screen).await.difference(&before, 0), 0.0);
    // `k`, down and up (X11 keysym).
    viewer.send(&[4, 1, 0, 0, 0, 0, 0, 0x6b]).await;
    viewer.send(&[4, 0, 0, 0, 0, 0, 0, 0x6b]).await;
    let changed = async { while viewer.picture(&screen).await == before {} };
    within("the typed key on the screen", changed).await;
}
