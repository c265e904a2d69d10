//! Xvnc, a second VNC server, through the whole proxy: what is painted there arrives as pixels here.

use consolegate::ids::Protocol;

use crate::support::rfb::{Rfb, Screen};
use crate::support::server::{Running, target};
use crate::support::within;
use crate::support::xvnc::Xvnc;

const XVNC: &str = "00000003-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_painted_on_an_x_screen_arrives_as_pixels() {
    let xvnc = Xvnc::start(None).await;
    xvnc.paint("#336699").await;
    let server = Running::start(&target(XVNC, "xvnc", &format!("vnc = \"tcp://{}\"", xvnc.address()))).await;
    let token = server.token(XVNC, Protocol::Vnc).await;
    let mut viewer = Rfb::open(server.at.proxy, &token).await.expect("the console");
    viewer.choose(1).await;
    assert_eq!(viewer.message().await, [0; 4], "SecurityResult");
    let screen = viewer.begin().await;
    assert_eq!((screen.width, screen.height), (640, 480));
    assert!(screen.name.contains("consolegate"), "{screen:?}");
    shows(&mut viewer, &screen, [0x33, 0x66, 0x99]).await;
    xvnc.paint("#fe7f01").await;
    shows(&mut viewer, &screen, [0xfe, 0x7f, 0x01]).await;
}

/// Asks until the screen is one colour: xsetroot returns before the server has drawn.
async fn shows(viewer: &mut Rfb, screen: &Screen, colour: [u8; 3]) {
    let painted = async {
        loop {
            let picture = viewer.picture(screen).await;
            // The pointer may be drawn on it, in the middle: the corners and edges are enough to tell.
            let places = [(0, 0), (639, 0), (0, 479), (639, 479), (320, 20), (20, 240)];
            if places.iter().all(|(x, y)| picture.at(*x, *y) == colour) {
                return;
            }
        }
    };
    within("the colour", painted).await;
}
