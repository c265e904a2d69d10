//! Every dialect through the whole server: the examples of the clouds' own documents, word for word, and the
//! consoles behind the URLs they give.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::{Running, http, open, raw};

/// A document's example, as it is printed there but for the placeholders in its first line.
struct Example {
    /// Target id, project, zone and region that the example is about.
    server: [&'static str; 4],
    kind: &'static str,
    /// Request line without the version.
    request: &'static str,
    body: &'static str,
    answer: &'static str,
    /// What the console says first.
    greeting: &'static [u8],
}

const LOGIN: &[u8] = b"login: ";
const RFB: &[u8] = b"RFB 003.008\n";

/// T-Systems OTC, "Obtaining a Remote Login Address". (In the document, `type` lacks its quotes.)
const OTC: Example = Example {
    server: ["47e9be4e-a7b9-471f-92d9-ffc83814e07a", "9c53a566cb3443ab910cf0daebca90c4", "az1", "dc1"],
    kind: "baremetal",
    request: "POST /v2/9c53a566cb3443ab910cf0daebca90c4/servers/47e9be4e-a7b9-471f-92d9-ffc83814e07a/action",
    body: r#"{
    "os-getSerialConsole": {
        "type": "serial"
    }
}"#,
    answer: r#"{
    "console": {
        "url": "https://baremetal-consoleproxy.az1.dc1.domainname.com:8003/?token=040134bb-9195-4029-9a62-550bce390258",
        "type": "serial"
    }
}"#,
    greeting: LOGIN,
};

/// The same by the path that the document's "URL" section names.
const OTC_V2_1: Example = Example {
    request: "POST /v2.1/9c53a566cb3443ab910cf0daebca90c4/servers/47e9be4e-a7b9-471f-92d9-ffc83814e07a/action",
    ..OTC
};

/// Huawei BMS, "Obtaining the Address for Remotely Logging In to a BMS".
const BMS: Example = Example {
    server: [
        "cf2a8b97-b5c6-47ef-9714-eb27adf26e5b",
        "bbf1946d374b44a0a2a95533562ba954",
        "pod05ironic",
        "region-01",
    ],
    kind: "baremetal",
    request: "POST /v1/bbf1946d374b44a0a2a95533562ba954/baremetalservers/cf2a8b97-b5c6-47ef-9714-eb27adf26e5b/remote_console",
    body: r#"{
"remote_console": {
"protocol": "serial",
"type": "serial"
}
}"#,
    answer: r#"{
"remote_console": {
"type": "serial",
"protocol": "serial",
"url": "https://console.domainname.com:443/serial/pod05ironic.region-01/?token=2a794f06-15ec-4f3d-a55b-06aca8e3dcbc"
}
}"#,
    greeting: LOGIN,
};

/// Huawei CloudDC, "Obtaining the Console Address"; the document names neither project nor server.
const CLOUDDC: Example = Example {
    server: ["0a1b2c3d-0000-4000-8000-000000000002", "p-clouddc", "testjarvis", "cn-southwest-242"],
    kind: "baremetal",
    request: "GET /v1/p-clouddc/physicalservers/0a1b2c3d-0000-4000-8000-000000000002/remote-console-address",
    body: "",
    answer: r#"{
"url" : "https://cn-southwest-242-console.huaweicloud.com:443/vnc/testjarvis.cn-southwest-242/vnc_auto.html?token=2e3e42cb-b5e7-49f0-91b6-d16401a823ac&compression=9&quality=0&resize=scale"
}"#,
    greeting: RFB,
};

/// Huawei ECS, "Obtaining the VNC Login Address". (In the document, the token is partly starred out.)
const ECS: Example = Example {
    server: ["47bc79ae-df61-4ade-9197-283a74e5d70e", "13c67a214ced4afb88d911ae4bd5721a", "az1", "dc1"],
    kind: "vm",
    request: "POST /v1/13c67a214ced4afb88d911ae4bd5721a/cloudservers/47bc79ae-df61-4ade-9197-283a74e5d70e/remote_console",
    body: r#"{ "remote_console": { "protocol": "vnc", "type": "novnc" } }"#,
    answer: r#"{ "remote_console": { "type": "novnc", "protocol": "vnc", "url": "https://nova-novncproxy.az1.dc1.domainname.com:8002/vnc_auto.html?token=0fda3eca-8232-4249-****-************&lang=EN&tLength=70" } }"#,
    greeting: RFB,
};

/// nova's api_samples, `os-remote-consoles/v2.6/create-vnc-console-req.json` and its answer.
const NOVA: Example = Example {
    server: ["b48316c5-71e8-45e4-9884-6c78055b9b13", "6f70656e737461636b20342065766572", "nova", "RegionOne"],
    kind: "vm",
    request: "POST /v2.1/servers/b48316c5-71e8-45e4-9884-6c78055b9b13/remote-consoles",
    body: r#"{
    "remote_console": {
        "protocol": "vnc",
        "type": "novnc"
    }
}
"#,
    answer: r#"{
    "remote_console": {
        "protocol": "vnc",
        "type": "novnc",
        "url": "http://example.com:6080/vnc_lite.html?path=%3Ftoken%3Db60bcfc3-5fd4-4d21-986c-e83379107819"
    }
}"#,
    greeting: RFB,
};

const EXAMPLES: [&Example; 6] = [&OTC, &OTC_V2_1, &BMS, &CLOUDDC, &ECS, &NOVA];

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

/// A server that knows every example's server and a member of its project, whose token is the project's id.
async fn start() -> Running {
    let (vnc, serial) = (listen(vnc).await, listen(serial).await);
    let mut more = String::new();
    for example in [&OTC, &BMS, &CLOUDDC, &ECS, &NOVA] {
        let ([id, project, zone, region], kind) = (example.server, example.kind);
        more += &format!(
            "[[auth.token]]\ntoken = \"{project}\"\nuser = \"demo\"\nproject = \"{project}\"\n\
             [[target]]\nid = \"{id}\"\nproject = \"{project}\"\nkind = \"{kind}\"\nzone = \"{zone}\"\n\
             region = \"{region}\"\nvnc = \"{vnc}\"\nserial = \"{serial}\"\nserial_viewers = \"share\"\n"
        );
    }
    Running::start(&more).await
}

/// Sends the example as it stands and returns what came back.
async fn ask(running: &Running, example: &Example) -> Value {
    let (method, path) = example.request.split_once(' ').expect("no path");
    // A document's request has nothing about versions; nova's own needs one.
    let version = if example.request == NOVA.request { "OpenStack-API-Version: compute 2.6\r\n" } else { "" };
    let headers =
        format!("X-Auth-Token: {}\r\nContent-Type: application/json\r\n{version}", example.server[1]);
    let said = http(running.at.api, method, path, &headers, example.body).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {said}"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {said}", example.request);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn url(answer: &Value) -> &str {
    let inner = ["remote_console", "console"].iter().find_map(|outer| answer.get(outer)).unwrap_or(answer);
    inner["url"].as_str().unwrap_or_else(|| panic!("no URL: {answer}"))
}

/// Path and query of a URL, and its token, which is 36 characters after `token`.
fn taken_apart(url: &str) -> (String, &str) {
    let (_, rest) = url.split_once("://").expect("no scheme");
    let path = &rest[rest.find('/').expect("no path")..];
    let start = path
        .find("token%3D")
        .map(|at| at + 8)
        .or_else(|| path.find("token=").map(|at| at + 6))
        .expect("no token");
    let token = &path[start..start + 36];
    (path.replace(token, "TOKEN"), token)
}

/// The answer with everything but its URL, which stands for itself.
fn without_url(answer: &Value) -> Value {
    serde_json::from_str(&answer.to_string().replace(url(answer), "URL")).expect("no JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documents_example_gives_its_example_answer_and_a_console() {
    let running = start().await;
    for example in EXAMPLES {
        let request = example.request;
        let (answer, printed) = (ask(&running, example).await, serde_json::from_str(example.answer).unwrap());
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
        assert_eq!(first, example.greeting, "{request}");
        assert_eq!(open(&running.ws(token), &[]).await.unwrap_err(), 403, "a second use: {request}");
    }
}

/// On one port, a console's page and the compute API share `/`: the token tells them apart. A page load spends
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_no_api_and_spends_nothing() {
    let running = start().await;
    for example in EXAMPLES {
        let answer = ask(&running, example).await;
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
    let (_, path) = CLOUDDC.request.split_once(' ').unwrap();
    let request = format!(
        "HEAD {path} HTTP/1.1\r\nHost: {}\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
        running.at.api, CLOUDDC.server[1]
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
    let (id, project, console) = (NOVA.server[0], NOVA.server[1], listen(echo).await);
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
