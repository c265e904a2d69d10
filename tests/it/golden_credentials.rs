//! What every dialect answers to credentials that are not good, byte for byte: `tests/data/golden/credentials.txt`.

use std::time::{Duration, SystemTime};

use consolegate::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::golden::{compare, show};
use crate::support::console::dead_port;
use crate::support::server::{PROJECT, Running, config, raw, target};
use crate::support::signer::Signer;

const SK: &str = "a-secret-key-for-tests";
const SECURITY_TOKEN: &str = "a-security-token-for-tests";

/// 2026-01-02T03:04:05Z, the time of the server.
const NOW: Duration = Duration::from_secs(1_767_323_045);
const DATE: &str = "20260102T030405Z";

/// More than may wait to have their passwords checked.
const CROWD: usize = 48;

/// A request that is good but for its credential, in a dialect with its own shape of errors.
struct Dialect {
    name: &'static str,
    method: &'static str,
    path: String,
    body: &'static str,
}

fn dialects() -> [Dialect; 3] {
    [
        openstack(),
        Dialect {
            name: "huawei",
            method: "GET",
            path: format!("/v1/{PROJECT}/physicalservers/bm/remote-console-address"),
            body: "",
        },
        Dialect {
            name: "native",
            method: "POST",
            path: "/console/v1/servers/vm/consoles".to_owned(),
            body: r#"{"protocol":"vnc"}"#,
        },
    ]
}

fn openstack() -> Dialect {
    Dialect { name: "openstack", method: "GET", path: "/v2.1/servers/vm".to_owned(), body: "" }
}

impl Dialect {
    /// The headers of a signed request, with further ones that are signed as well; `signed` are their names.
    fn sign(&self, access_key: &str, signed: &str, more: &[(&str, &str)]) -> String {
        let mut headers = vec![("host", "golden.example"), ("x-sdk-date", DATE)];
        headers.extend_from_slice(more);
        let signer = Signer { access_key, secret_key: SK, date: DATE };
        let authorization = signer.sign((self.method, &self.path), &headers, signed, self.body);
        let rest: String = headers[1..].iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        rest + &authorization
    }

    /// The request as it goes over the wire; its `Host` is part of what is signed.
    fn request(&self, headers: &str) -> String {
        format!(
            "{} {} HTTP/1.1\r\nHost: golden.example\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{}",
            self.method,
            self.path,
            self.body.len(),
            self.body
        )
    }

    /// Asks with these headers, and tells the case.
    async fn tell(&self, running: &Running, case: &str, headers: &str) -> String {
        let said = raw(running.at.api, self.request(headers).as_bytes()).await;
        let line = format!("{} {}", self.method, self.path);
        let told = show(&format!("{}: {case}", self.name), &line, headers, self.body, &said);
        told.replace(&running.at.proxy.to_string(), "HOST")
    }
}

/// The servers, and every kind of credential; tokens are looked up at `keystone`.
fn start(keystone: std::net::SocketAddr, bcrypt: &str, settings: &str) -> Running {
    let consoles = "vnc = \"tcp://127.0.0.1:5901\"\nzone = \"az1\"\nregion = \"r1\"";
    let mut more = format!(
        "[auth.keystone]\nurl = \"http://{keystone}/v3\"\nusername = \"consolegate\"\npassword = \"p\"\n\
         timeout = \"60s\"\n[auth]\n{settings}\n\
         [[auth.basic]]\nuser = \"demo\"\npassword_bcrypt = \"{bcrypt}\"\nproject = \"{PROJECT}\"\n"
    );
    for (key, rest) in [
        ("AK-MEMBER", String::new()),
        ("AK-OVER", format!("security_token = \"{SECURITY_TOKEN}\"\nexpires = \"2026-01-02T03:04:05Z\"\n")),
    ] {
        more += &format!(
            "[[auth.access_key]]\naccess_key = \"{key}\"\nsecret_key = \"{SK}\"\nuser = \"demo\"\n\
             project = \"{PROJECT}\"\n{rest}"
        );
    }
    more += &target("vm", "vm", consoles);
    more += &target("bm", "bm", consoles).replace("kind = \"vm\"", "kind = \"baremetal\"");
    Running::at(config(&more), Clock::manual_at(SystemTime::UNIX_EPOCH + NOW))
}

/// A Keystone that knows two tokens: one for a domain, and our own.
async fn keystone() -> std::net::SocketAddr {
    const UNSCOPED: &str = r#"{"token":{"user":{"id":"u"},"domain":{"id":"d"},"roles":[{"name":"member"}],"expires_at":"2026-01-02T04:00:00.000000Z"}}"#;
    async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            // A login has a body, which no answer depends on.
            let count = socket.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            if !text.contains("\r\n\r\n") {
                continue;
            }
            let (status, body) = match text.starts_with("post ") {
                true => ("201 Created", ""),
                false if text.contains("x-subject-token: a-domains-token") => ("200 OK", UNSCOPED),
                false => ("404 Not Found", ""),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nX-Subject-Token: ours\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            socket.write_all(format!("{head}{body}").as_bytes()).await?;
            return socket.shutdown().await;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// The same with a signature by nobody.
fn forged(headers: &str) -> String {
    let (before, _) = headers.split_once("Signature=").expect("a signature");
    format!("{before}Signature={}\r\n", "0".repeat(64))
}

/// All but the ones that need something down or busy.
async fn faults(dialect: &Dialect, running: &Running) -> String {
    let good = dialect.sign("AK-MEMBER", "host;x-sdk-date", &[]);
    let over = [("x-security-token", SECURITY_TOKEN)];
    let over = dialect.sign("AK-OVER", "host;x-sdk-date;x-security-token", &over);
    let unsigned = [("x-sdk-content-sha256", "UNSIGNED-PAYLOAD")];
    let unsigned = dialect.sign("AK-MEMBER", "host;x-sdk-content-sha256;x-sdk-date", &unsigned);
    let mut story = String::new();
    for (case, headers) in [
        ("no credential", String::new()),
        ("two credentials", format!("X-Auth-Token: a-fixed-token-for-tests\r\n{good}")),
        ("a token that nobody knows", "X-Auth-Token: nobodys\r\n".to_owned()),
        ("a token for no project", "X-Auth-Token: a-domains-token\r\n".to_owned()),
        ("a wrong password", "Authorization: Basic ZGVtbzp3cm9uZw==\r\n".to_owned()),
        ("another algorithm", good.replace("SDK-HMAC-SHA256", "AWS4-HMAC-SHA256")),
        ("a signature without the date", dialect.sign("AK-MEMBER", "host", &[])),
        ("a date of long ago", good.replace(DATE, "20260102T024904Z")),
        ("a body that is not signed", unsigned),
        ("a temporary credential that is over", over),
        ("another's signature", forged(&good)),
        ("a good signature", good.clone()),
        ("a good signature again", good),
    ] {
        story += &dialect.tell(running, case, &headers).await;
    }
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_that_is_not_good() {
    let bcrypt = bcrypt::hash("right", 10).expect("a hash");
    let known = keystone().await;
    let running = start(known, &bcrypt, "");
    let mut story = String::new();
    for dialect in &dialects() {
        story += &faults(dialect, &running).await;
    }
    story = story.replace(&known.to_string(), "KEYSTONE");

    // Of a crowd with wrong passwords, each another, that waits for its answers.
    let wrong = |number: usize| {
        let pair = format!("demo:wrong-{number}");
        let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
        format!("Authorization: Basic {pair}\r\n")
    };
    for dialect in &dialects() {
        // A place may just have come free, and the request have taken it: then there is another crowd.
        story += &loop {
            let mut crowd = Vec::new();
            for number in 0..CROWD {
                let mut socket = TcpStream::connect(running.at.api).await.expect("a connection");
                let request = dialect.request(&wrong(number));
                socket.write_all(request.as_bytes()).await.expect("room to send");
                crowd.push(socket);
            }
            let headers = "Authorization: Basic ZGVtbzp3cm9uZw==\r\n";
            let told = dialect.tell(&running, "too many passwords", headers).await;
            if told.contains("HTTP/1.1 503 ") {
                break told.replace(&known.to_string(), "KEYSTONE");
            }
        };
    }

    let gone = dead_port().await;
    let running = start(gone, &bcrypt, "signatures_per_key = 1");
    let other = Dialect { path: "/v2.1/servers".to_owned(), ..openstack() };
    other.tell(&running, "", &other.sign("AK-MEMBER", "host;x-sdk-date", &[])).await;
    for dialect in &dialects() {
        let headers = dialect.sign("AK-MEMBER", "host;x-sdk-date", &[]);
        story += &dialect.tell(&running, "too many signed requests", &headers).await;
    }
    for dialect in &dialects() {
        let headers = "X-Auth-Token: somebodys\r\n";
        story += &dialect.tell(&running, "an identity service that is down", headers).await;
    }
    compare("credentials.txt", &story.replace(&gone.to_string(), "KEYSTONE"));
}
