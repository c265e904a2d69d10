//! SPICE: one token opens the several channels of one viewer, and of nobody else, while the main channel lives.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use consolegate::ids::Protocol;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::console::{TOLERANCE, TYPED};
use crate::support::chromium::Browser;
use crate::support::console::{Console, Manner};
use crate::support::qemu::Guest;
use crate::support::server::{Running, Socket, TOKEN, http, open, target};
use crate::support::viewer::{closed, echo, goodbye};
use crate::support::{part, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000009";

/// As the server has it: main, and fifteen more.
const MOST: usize = 16;

/// A server whose SPICE console echoes; behind a trusted proxy, so that tests choose their address.
async fn start(more: &str) -> (Running, Console) {
    let console = Console::new(Manner::Echo).await;
    let running = Running::start(&format!(
        "[urls]\nopenstack_spice = \"{{public_url}}/spice_auto.html?token={{token}}\"\n\
         [proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n{more}\n{}",
        target(VM, "vm", &console.setting("spice"))
    ))
    .await;
    (running, console)
}

/// Opens a channel from this address, as a browser's page of this origin or as no browser.
async fn channel(running: &Running, token: &str, from: &str, origin: Option<&str>) -> Result<Socket, u16> {
    let mut headers = vec![("x-forwarded-for", from)];
    headers.extend(origin.map(|origin| ("origin", origin)));
    open(&running.ws(token), &headers).await.map(|(socket, _)| socket)
}

const HERE: &str = "192.0.2.1";

#[tokio::test(flavor = "multi_thread")]
async fn one_token_opens_all_channels_of_one_viewer() {
    // The limits on the console count viewers: one is enough for all the channels of one.
    let (running, console) = start("[limits]\nsessions_per_target = 1").await;
    for origin in [None, Some(running.origin())] {
        let token = running.token(VM, Protocol::Spice).await;
        let mut channels = Vec::new();
        for number in 0..MOST {
            let opened = channel(&running, &token, HERE, origin.as_deref()).await;
            channels.push(opened.unwrap_or_else(|status| panic!("{status}: channel {number}")));
        }
        // Each is a connection of its own, and bytes that are no text pass as they are.
        for (number, channel) in channels.iter_mut().enumerate() {
            echo(channel, &[b'R', b'E', b'D', b'Q', number as u8, 0, 0xff, 0xfe]).await;
        }
        match &origin {
            None => assert_eq!(channel(&running, &token, HERE, None).await.unwrap_err(), 429),
            // A browser hears the reason in the close frame: it sees no status.
            Some(origin) => {
                let mut refused = channel(&running, &token, HERE, Some(origin)).await.unwrap();
                assert_eq!(closed(&mut refused).await.0, 1013);
            }
        }
        let another = running.token(VM, Protocol::Spice).await;
        let elsewhere = channel(&running, &another, "192.0.2.2", None).await;
        assert_eq!(elsewhere.unwrap_err(), 429, "a second viewer");
        // A channel that ends makes room for another.
        goodbye(&mut channels.pop().unwrap()).await;
        let mut again = loop {
            match channel(&running, &token, HERE, origin.as_deref()).await {
                Ok(mut again) if origin.is_some() => {
                    // A refusal comes as a 101 as well; only a console echoes.
                    let sent = tokio_tungstenite::tungstenite::Message::binary(b"again".to_vec());
                    let _ = futures_util::SinkExt::send(&mut again, sent).await;
                    match futures_util::StreamExt::next(&mut again).await {
                        Some(Ok(message)) if message.is_binary() => break again,
                        _ => {}
                    }
                }
                Ok(again) => break again,
                // The seat is given back after the goodbye's answer.
                Err(status) => assert_eq!(status, 429),
            }
        };
        echo(&mut again, b"more").await;
        channels.push(again);
        // With the main channel goes the rest, and the token.
        goodbye(&mut channels[0]).await;
        for channel in &mut channels[1..] {
            assert_eq!(closed(channel).await.0, 1000);
        }
        assert_eq!(channel(&running, &token, HERE, None).await.unwrap_err(), 403);
    }
    let seen = console.until("every connection's end", |seen| seen.gone == seen.peers.len()).await;
    assert_eq!(seen.peers.len(), 2 * (MOST + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_opens_a_channel() {
    let (running, console) = start("").await;
    let page = running.origin();
    let token = running.token(VM, Protocol::Spice).await;
    let mut main = channel(&running, &token, HERE, Some(&page)).await.unwrap();
    echo(&mut main, b"main").await;
    let before = console.dialled().await;
    // Another address, no Origin, and both: to each the token is spent, as any other would be.
    assert_eq!(channel(&running, &token, HERE, None).await.unwrap_err(), 403);
    assert_eq!(channel(&running, &token, "192.0.2.2", None).await.unwrap_err(), 403);
    let mut browser = channel(&running, &token, "192.0.2.2", Some(&page)).await.unwrap();
    assert_eq!(closed(&mut browser).await.0, 1008);
    assert_eq!(console.dialled().await, before + 1, "the console heard of none of them");
    echo(&mut main, b"still").await;
    let mut display = channel(&running, &token, HERE, Some(&page)).await.unwrap();
    echo(&mut display, b"display").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_every_channel() {
    let (running, _console) = start("").await;
    let token = running.token(VM, Protocol::Spice).await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(channel(&running, &token, HERE, None).await.unwrap());
    }
    for channel in &mut channels {
        echo(channel, b"open").await;
    }
    let headers = format!("X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n");
    let body = json!({ "token": token }).to_string();
    let said = http(running.at.api, "POST", "/console/v1/tokens/revoke", &headers, &body).await;
    assert!(said.contains("\"sessions\":3"), "{said}");
    for channel in &mut channels {
        assert_eq!(closed(channel).await.0, 1008);
    }
    assert_eq!(channel(&running, &token, HERE, None).await.unwrap_err(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_down_costs_neither_the_token_nor_the_viewer() {
    let (running, console) = start("").await;
    let token = running.token(VM, Protocol::Spice).await;
    let address = console.stop().await;
    assert_eq!(channel(&running, &token, HERE, None).await.unwrap_err(), 502);
    let console = Console::at(address, Manner::Echo).await;
    let mut main = channel(&running, &token, HERE, None).await.unwrap();
    echo(&mut main, b"main").await;
    let mut display = channel(&running, &token, HERE, None).await.unwrap();
    echo(&mut display, b"display").await;
    console.until("both", |seen| seen.peers.len() == 2).await;
}

/// Serves Debian's package `spice-html5` on a port of its own, as a cloud with SPICE consoles does.
async fn spice_html5() -> SocketAddr {
    async fn serve(mut socket: TcpStream, dir: PathBuf) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if socket.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let path = text.split([' ', '?']).nth(1).unwrap_or_default().trim_start_matches('/');
        let file = dir.join(path);
        let (status, body) = match std::fs::read(&file) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let kind = match file.extension().and_then(|end| end.to_str()) {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "text/html",
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&body).await?;
        socket.shutdown().await
    }
    let dir = part("CONSOLEGATE_TEST_SPICE_HTML5", &[Path::new("/usr/share/spice-html5").to_owned()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, dir.clone()));
        }
    });
    address
}

/// How many SPICE sessions an operator sees.
async fn sessions(running: &Running) -> usize {
    let answer =
        http(running.at.admin, "GET", "/v1/sessions", "Authorization: Bearer an-admins\r\n", "").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let all = body["sessions"].as_array().unwrap_or_else(|| panic!("{answer}"));
    all.iter().filter(|session| session["protocol"] == "spice").count()
}

/// The real client and a real server: the page's own scripts open every channel with the one token of its URL.
#[tokio::test(flavor = "multi_thread")]
async fn spice_html5_shows_a_guests_screen_and_types_into_it() {
    let (guest, spice) = Guest::boot_with_spice().await;
    let pages = spice_html5().await;
    let running = Running::start(&format!(
        "[proxy]\nallowed_origins = [\"http://{pages}\"]\n[admin]\ntoken = \"an-admins\"\n\
         [urls]\nopenstack_spice = \"http://{pages}/spice_auto.html?token={{token}}\"\n{}",
        target(VM, "vm", &format!("spice = \"unix:{}\"", spice.display()))
    ))
    .await;
    let headers = format!("X-Auth-Token: {TOKEN}\r\nOpenStack-API-Version: compute 2.6\r\n");
    let body = r#"{"remote_console":{"protocol":"spice","type":"spice-html5"}}"#;
    let path = format!("/v2.1/servers/{VM}/remote-consoles");
    let said = http(running.at.api, "POST", &path, &headers, body).await;
    let (_, answer) = said.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    let url = answer["remote_console"]["url"].as_str().unwrap_or_else(|| panic!("{said}"));

    let browser = Browser::launch().await;
    let page = browser.page(&format!("{url}&title=vm&port={}", running.at.proxy.port())).await;
    let colours = "new Set(new Uint32Array((canvas => canvas.getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height))(document.querySelector('#spice-screen canvas'))
        .data.buffer)).size";
    page.wait_for(&format!("{colours} > 1")).await;
    // Main, display, inputs and cursor.
    assert!(sessions(&running).await >= 4, "{}", sessions(&running).await);
    let before = guest.screendump().await;
    page.click_on("#spice-screen canvas").await;
    page.type_text("echo typed over spice").await;
    page.key("Enter").await;
    guest.screen_where("the typed text", |now| now.difference(&before, TOLERANCE) > TYPED).await;
    // The viewer leaves, and all of its channels with it.
    drop((page, browser));
    let gone = async { while sessions(&running).await > 0 {} };
    within("the sessions' end", gone).await;
}
