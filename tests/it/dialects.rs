//! Every dialect through the whole server: the examples of the clouds' own documents, word for word, and the
//! consoles behind the URLs they give.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::examples::{self, CLOUDDC, EXAMPLES, NOVA, taken_apart, url, without_url};
use crate::support::server::{Running, http, open, raw};

const LOGIN: &[u8] = b"login: ";
const RFB: &[u8] = b"RFB 003.008\n";

/// A VNC server without a password, up to the point where it waits for ClientInit.
async fn vnc(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(RFB).await?;
    socket.read_exact(&mut [0; 12]).await?;
    socket.write_all(&[1, 1]).await?;
    socket.read_exact(&mut [0; 1]).await?;
    socket.write_all(&[0; 4]).await?;
    socket.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn serial(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(LOGIN).await?;
    socket.read_to_end(&mut Vec::new()).await.map(drop)
}

/// Serves every connection on a port of the system's choice; its address as a target's endpoint.
async fn listen<F>(serve: fn(TcpStream) -> F) -> String
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("no address"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    endpoint
}

/// A server that knows every example's server, with consoles that only begin.
async fn start() -> Running {
    let (vnc, serial) = (listen(vnc).await, listen(serial).await);
    examples::start(&vnc, &serial).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documents_example_gives_its_example_answer_and_a_console() {
    let running = start().await;
    for example in EXAMPLES {
        let request = example.name;
        let (answer, printed) = (example.ask(&running).await, example.printed());
        assert_eq!(without_url(&answer), without_url(&printed), "{request}");
        let ((path, token), (printed, _)) = (taken_apart(url(&answer)), taken_apart(url(&printed)));
        assert_eq!(path, printed, "{request}");
        uuid::Uuid::parse_str(token).unwrap();
        let page = format!("http://{}{}", running.at.proxy, path.replace("TOKEN", token));
        assert_eq!(url(&answer), page, "where browsers reach it");

        // The page's own path, prefixes and further parameters and all, and the bare one.
        let socket = match path.contains("%3D") {
            true => running.ws(token),
            false => page.replacen("http", "ws", 1),
        };
        let (mut console, _) = open(&socket, &[]).await.unwrap_or_else(|status| panic!("{status}: {socket}"));
        let first = console.next().await.unwrap().unwrap().into_data();
        assert_eq!(first, if example.serial { LOGIN } else { RFB }, "{request}");
        assert_eq!(open(&running.ws(token), &[]).await.unwrap_err(), 403, "a second use: {request}");
    }
}

/// On one port, a console's page and the compute API share `/`: the token tells them apart. A page load spends
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_no_api_and_spends_nothing() {
    let running = start().await;
    for example in EXAMPLES {
        let answer = example.ask(&running).await;
        let (path, token) = taken_apart(url(&answer));
        let page = path.replace("TOKEN", token);
        for _ in 0..2 {
            let said = http(running.at.proxy, "GET", &page, "", "").await;
            // A test build may be one without the pages in it.
            let status = if consolegate::web::embedded() { "HTTP/1.1 200 " } else { "HTTP/1.1 503 " };
            assert!(said.starts_with(status), "{page}: {said}");
            assert!(!said.contains("versions"), "{page}: {said}");
        }
        assert!(open(&running.ws(token), &[]).await.is_ok(), "{page}");
    }
    let discovery = http(running.at.api, "GET", "/", "", "").await;
    assert!(discovery.contains("\"versions\""), "{discovery}");
}

/// HEAD is answered without a body, and makes no URL.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_refused_where_it_would_make_a_url() {
    let running = start().await;
    let (_, path) = CLOUDDC.line();
    let request = format!(
        "HEAD {path} HTTP/1.1\r\nHost: {}\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
        running.at.api,
        CLOUDDC.project()
    );
    let said = raw(running.at.api, request.as_bytes()).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET\r\n"), "{said}");
    assert!(body.is_empty(), "{said}");
}

/// What the target says, as it is and in one direction after the other: no greeting of ours is in between.
#[tokio::test(flavor = "multi_thread")]
async fn spice_and_mks_are_relayed_as_they_are() {
    async fn echo(mut socket: TcpStream) -> std::io::Result<()> {
        let (mut read, mut write) = socket.split();
        tokio::io::copy(&mut read, &mut write).await.map(drop)
    }
    let (id, project, console) = (NOVA.id(), NOVA.project(), listen(echo).await);
    let running = Running::start(&format!(
        "[urls]\nopenstack_spice = \"{{public_url}}/spice_auto.html?token={{token}}\"\n\
         openstack_mks = \"{{public_ws_url}}/mks?token={{token}}\"\n\
         [[auth.token]]\ntoken = \"{project}\"\nuser = \"demo\"\nproject = \"{project}\"\n\
         [[target]]\nid = \"{id}\"\nproject = \"{project}\"\nspice = \"{console}\"\n\
         [[target]]\nid = \"mks\"\nproject = \"{project}\"\nmks = \"{console}\"\n"
    ))
    .await;
    for (server, protocol, kind, path) in [
        (id, "spice", "spice-html5", "/spice_auto.html?token=TOKEN"),
        ("mks", "mks", "webmks", "/mks?token=TOKEN"),
    ] {
        let body = format!(r#"{{"remote_console":{{"protocol":"{protocol}","type":"{kind}"}}}}"#);
        let headers = format!("X-Auth-Token: {project}\r\nOpenStack-API-Version: compute latest\r\n");
        let to = format!("/v2.1/servers/{server}/remote-consoles");
        let said = http(running.at.api, "POST", &to, &headers, &body).await;
        let (_, answer) = said.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(answer).unwrap();
        let (found, token) = taken_apart(url(&answer));
        assert_eq!(found, path, "{said}");
        let (mut viewer, _) = open(&running.ws(token), &[]).await.unwrap();
        // SPICE's first bytes, and some that are no UTF-8.
        for sent in [&b"REDQ"[..], &[0, 0xff, 0xfe, 0x80]] {
            viewer.send(Message::binary(sent.to_vec())).await.unwrap();
            assert_eq!(viewer.next().await.unwrap().unwrap(), Message::binary(sent.to_vec()), "{kind}");
        }
        // Of SPICE, further channels of this viewer are no second use.
        if protocol == "mks" {
            assert_eq!(open(&running.ws(token), &[]).await.unwrap_err(), 403, "a second use");
        }
    }
}
