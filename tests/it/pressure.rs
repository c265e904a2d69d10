//! Under load: out of descriptors the server lives on; each connection goes to the worker that has the fewest.

use std::time::Duration;

use consolegate::ids::Protocol;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::binary::Binary;
use crate::support::console::{Console, Manner};
use crate::support::server::{PROJECT, Running, Socket, TOKEN, http, open, target, token_of};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000031";

/// Settings without the limits that one target's many sessions would meet.
const MANY: &str = "[limits]\nsessions_per_target = 0\noutstanding_per_target = 0\nissue_per_second = 0\n[proxy]\nworkers = 3\n";

/// Descriptors that the real program has to spare: a few viewers' worth.
const SPARE: u64 = 8;

async fn issue(server: &Binary) -> String {
    let headers = format!(
        "X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.8\r\n"
    );
    let path = format!("/v2.1/{PROJECT}/servers/{VM}/remote-consoles");
    let body = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;
    let answer = http(server.api, "POST", &path, &headers, body).await;
    format!("ws://{}/?token={}", server.proxy, token_of(&answer))
}

#[tokio::test]
async fn out_of_descriptors_it_lives_on_says_so_once_and_lets_people_in_when_there_are_some() {
    let console = Console::new(Manner::Vnc).await;
    let mut server = Binary::serve("", &target(VM, "vm", &console.setting("vnc")), "text", &[]).await;
    let (mut live, _) = open(&issue(&server).await, &[]).await.unwrap();
    viewer::rfb(&mut live).await;
    let waiting = issue(&server).await;
    server.leave_descriptors(SPARE);
    // The kernel takes them all; the server accepts as many as it can hold.
    let mut idle = Vec::new();
    for _ in 0..4 * SPARE {
        idle.push(TcpStream::connect(server.proxy).await.unwrap());
    }
    server.until_said("cannot accept").await;
    viewer::echo(&mut live, b"what runs goes on").await;
    drop(idle);
    let (mut honest, _) = open(&waiting, &[]).await.unwrap();
    viewer::rfb(&mut honest).await;
    viewer::echo(&mut honest, b"in").await;
    viewer::echo(&mut live, b"still").await;
    within("the end of the shortage to be told", async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !server.said().contains("accepting again") {
            drop(TcpStream::connect(server.proxy).await.unwrap());
            look.tick().await;
        }
    })
    .await;
    let said = server.said();
    assert_eq!(said.matches("cannot accept").count(), 1, "{said}");
    assert_eq!(said.matches("accepting again").count(), 1, "{said}");
}

/// Connections of each worker, once there are `sum` in all: one of them asks.
async fn loads(server: &Running, sum: u64) -> Vec<u64> {
    within("connections to come and go", async {
        loop {
            let metrics = http(server.at.admin, "GET", "/metrics", "", "").await;
            let of_worker = |line: &str| {
                let (_, load) =
                    line.strip_prefix("consolegate_worker_connections{worker=")?.split_once(' ')?;
                load.parse::<u64>().ok()
            };
            let loads: Vec<u64> = metrics.lines().filter_map(of_worker).collect();
            assert_eq!(loads.len(), 3, "{metrics}");
            if loads.iter().sum::<u64>() == sum {
                return loads;
            }
        }
    })
    .await
}

async fn enter(server: &Running) -> Socket {
    let (mut socket, _) = open(&server.ws(&server.token(VM, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut socket).await;
    socket
}

fn assert_even(loads: &[u64]) {
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    // The one that asks tips the scales.
    assert!(most - least <= 1, "{loads:?}");
}

#[tokio::test]
async fn each_connection_goes_to_the_worker_with_the_fewest() {
    let console = Console::new(Manner::Vnc).await;
    let server = Running::start(&format!("{MANY}{}", target(VM, "vm", &console.setting("vnc")))).await;
    let mut viewers = Vec::new();
    for _ in 0..30 {
        viewers.push(enter(&server).await);
    }
    assert_even(&loads(&server, 31).await);
    // Every third goes, and most of those were one worker's: by turns they would stay uneven.
    let mut stay: Vec<_> = viewers.into_iter().enumerate().filter(|(at, _)| at % 3 > 0).collect();
    let left = loads(&server, 21).await;
    assert!(left.iter().max().unwrap() - left.iter().min().unwrap() > 1, "{left:?}");
    for _ in 0..10 {
        stay.push((0, enter(&server).await));
    }
    assert_even(&loads(&server, 31).await);
}

/// Viewers whose next message follows the echo of the last.
const BUSY: usize = 200;

#[tokio::test]
async fn newcomers_get_in_while_hundreds_never_rest() {
    let console = Console::new(Manner::Vnc).await;
    let server = Running::start(&format!("{MANY}{}", target(VM, "vm", &console.setting("vnc")))).await;
    let (stop, stopping) = watch::channel(false);
    let mut busy = JoinSet::new();
    for _ in 0..BUSY {
        let (mut socket, stopping) = (enter(&server).await, stopping.clone());
        busy.spawn(async move {
            let mut trips = 0;
            while !*stopping.borrow() {
                viewer::echo(&mut socket, b"on and on").await;
                trips += 1;
            }
            trips
        });
    }
    for _ in 0..20 {
        let mut newcomer = within("a newcomer to get in", enter(&server)).await;
        viewer::echo(&mut newcomer, b"in").await;
    }
    stop.send_replace(true);
    let trips: Vec<u64> = busy.join_all().await;
    // Nor does one of them starve.
    assert!(trips.iter().all(|trips| *trips > 0), "{trips:?}");
}
