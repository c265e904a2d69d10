//! The VNC password stays between viewer and target: the proxy passes challenge and response through.

use consolegate::ids::Protocol;

use crate::support::program::Program;
use crate::support::qemu::{Guest, Options, Place};
use crate::support::rfb::Rfb;
use crate::support::server::{Running, target};
use crate::support::wire::Frame;
use crate::support::xvnc::Xvnc;

const LOCKED: &str = "00000004-0000-4000-8000-000000000000";

const PASSWORD: &str = "opensesa";

async fn pass_through(vnc: &str) -> Running {
    let security = "[target.vnc_security]\ntypes = [\"pass-through\"]";
    Running::start(&target(LOCKED, "locked", &format!("vnc = \"{vnc}\"\n{security}"))).await
}

async fn open(server: &Running) -> Result<Rfb, String> {
    let token = server.token(LOCKED, Protocol::Vnc).await;
    Rfb::open(server.at.proxy, &token).await
}

/// The right password opens the console; a wrong one is answered with the target's own reason, then 1011.
async fn asks_for_its_password(vnc: &str, size: (u16, u16)) {
    let server = pass_through(vnc).await;
    let mut viewer = open(&server).await.expect("the console");
    viewer.choose(2).await;
    assert_eq!(viewer.answer(PASSWORD).await, [0; 4], "SecurityResult");
    let screen = viewer.begin().await;
    assert_eq!((screen.width, screen.height), size);
    let picture = viewer.picture(&screen).await;
    assert_eq!((picture.width, picture.height), (size.0.into(), size.1.into()));

    let mut viewer = open(&server).await.expect("the console");
    viewer.choose(2).await;
    let result = viewer.answer("opensesx").await;
    assert_eq!(result[..4], [0, 0, 0, 1], "SecurityResult: failed");
    let length = u32::from_be_bytes(result[4..8].try_into().expect("four bytes")) as usize;
    let reason = std::str::from_utf8(&result[8..]).expect("a reason in UTF-8");
    assert_eq!(reason.len(), length);
    assert!(reason.to_lowercase().contains("fail"), "{reason:?}");
    match viewer.frame().await {
        Frame::Close(1011, told) => assert!(told.contains(reason), "{told:?} without {reason:?}"),
        other => panic!("{other:?} after a wrong password"),
    }
}

/// A viewer that goes its own way is told so: the target is not to blame.
async fn takes_only_what_it_offers(vnc: &str) {
    let server = pass_through(vnc).await;
    let mut viewer = open(&server).await.expect("the console");
    assert_eq!(viewer.message().await, b"RFB 003.008\n");
    viewer.send(b"RFB 003.008\n").await;
    assert_eq!(viewer.message().await, [1, 2]);
    viewer.send(&[1]).await;
    assert!(matches!(viewer.frame().await, Frame::Close(1002, told) if told.contains("not offered")));
}

/// Without pass-through the proxy has no way in: the viewer gets a status, its token stays good, and the log
/// tells the operator what to set.
async fn is_refused_without_pass_through(vnc: &str) {
    let targets = target(LOCKED, "locked", &format!("vnc = \"{vnc}\""));
    let mut program = Program::serve(&targets).await;
    let token = program.issue(LOCKED, Protocol::Vnc).await;
    for _ in 0..2 {
        let refused = Rfb::open(program.at, &token).await.err();
        assert_eq!(refused.as_deref(), Some("HTTP/1.1 502 Bad Gateway"));
    }
    let remedy = "or [\\\"pass-through\\\"] to let the viewer type it";
    program.says(remedy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xvnc_asks_the_viewer_for_its_password() {
    let xvnc = Xvnc::start(Some(PASSWORD)).await;
    let vnc = format!("tcp://{}", xvnc.address());
    is_refused_without_pass_through(&vnc).await;
    takes_only_what_it_offers(&vnc).await;
    asks_for_its_password(&vnc, (640, 480)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_asks_the_viewer_for_its_password() {
    let guest =
        Guest::boot_with(Options { tcp: false, vnc_password: Some(PASSWORD), ..Options::default() }).await;
    let Place::Unix(socket) = guest.vnc() else { panic!("{:?}", guest.vnc()) };
    let vnc = format!("unix:{}", socket.display());
    is_refused_without_pass_through(&vnc).await;
    let dump = guest.screendump().await;
    let size = [dump.width, dump.height].map(|side| u16::try_from(side).expect("a screen's side"));
    asks_for_its_password(&vnc, size.into()).await;
}
