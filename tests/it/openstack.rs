//! The OpenStack clients as users run them, against an issuer: python-openstackclient, openstacksdk, novaclient.

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::support::python;
use crate::support::server::{PROJECT, Running, TOKEN, open, target};
use crate::support::xvnc::Xvnc;

/// The newest microversion of nova 34, and ours.
const NEWEST: &str = "2.104";

/// An issuer and a credential for it.
pub(crate) struct Cloud<'a> {
    /// The compute endpoint: `http://127.0.0.1:8774/v2.1`, with or without a project id at its end.
    pub(crate) endpoint: &'a str,
    /// An `X-Auth-Token` with `member` on the servers' project.
    pub(crate) token: &'a str,
    /// `proxy.public_url`; URL templates are the defaults.
    pub(crate) public_url: &'a str,
}

/// Limits on issuing are tested elsewhere; here many URLs are outstanding at once.
const UNLIMITED: &str = "[limits]\nissue_per_second = 0\noutstanding_per_target = 0\n";

/// A server with a VNC and a serial console.
pub(crate) struct Server<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// `kind = "baremetal"`: the older serial action answers with OTC's URL.
    pub(crate) is_baremetal: bool,
}

/// How a console was asked for, which decides the URL.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    /// `remote-consoles`, 2.6 and above.
    RemoteConsoles,
    /// The older server actions.
    Action,
}

impl Cloud<'_> {
    /// Runs `openstack` without Keystone and returns what it said.
    async fn openstack(&self, version: Option<&str>, args: &[&str]) -> python::Ran {
        let mut all = vec!["--os-auth-type", "admin_token", "--os-endpoint", self.endpoint];
        all.extend(["--os-token", self.token]);
        all.extend(version.iter().flat_map(|version| ["--os-compute-api-version", version]));
        all.extend(args);
        python::run("openstack", &all, &[]).await
    }

    async fn script(&self, file: &str, args: &[&str]) -> Value {
        let path = format!("{}/tests/python/{file}", env!("CARGO_MANIFEST_DIR"));
        let all = [&[path.as_str(), self.endpoint, self.token], args].concat();
        json(&python::run("python", &all, &[]).await.success())
    }

    /// Checks a URL for its form and its token, and hands it on.
    fn checked(&self, server: &Server<'_>, kind: &str, api: Api, console: &Value) -> String {
        let url = console["url"].as_str().unwrap_or_else(|| panic!("no URL: {console}"));
        let page = match (kind, api) {
            ("novnc", _) => format!("{}/vnc_lite.html?path=%3Ftoken%3D", self.public_url),
            (_, Api::Action) if server.is_baremetal => format!("{}/?token=", self.public_url),
            _ => format!("{}/?token=", self.public_url.replacen("http", "ws", 1)),
        };
        let token = url.strip_prefix(&page).unwrap_or_else(|| panic!("{kind} by {api:?}: {url}, not {page}"));
        assert_eq!(uuid::Uuid::parse_str(token).map(|token| token.get_version_num()), Ok(4), "{url}");
        assert_eq!(console["type"], kind);
        if api == Api::RemoteConsoles {
            assert_eq!(console["protocol"], if kind == "novnc" { "vnc" } else { "serial" });
        }
        url.to_owned()
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// `openstack console url show --novnc` and `--serial`, by id and by name, at 2.1, at the newest microversion
/// and at none given. Returns the URLs, each good for one session.
pub(crate) async fn openstackclient_shows_urls(cloud: &Cloud<'_>, server: &Server<'_>) -> Vec<String> {
    let mut urls = Vec::new();
    let ways = [(Some("2.1"), Api::Action), (Some(NEWEST), Api::RemoteConsoles), (None, Api::RemoteConsoles)];
    for (version, api) in ways {
        for (kind, flag) in [("novnc", "--novnc"), ("serial", "--serial")] {
            for who in [server.id, server.name] {
                let ran =
                    cloud.openstack(version, &["console", "url", "show", flag, who, "-f", "json"]).await;
                urls.push(cloud.checked(server, kind, api, &json(&ran.success())));
            }
        }
    }
    urls
}

/// openstacksdk's three calls, by id and by name, at 2.1, at the newest microversion and as negotiated.
/// Returns the URLs.
pub(crate) async fn sdk_gets_urls(cloud: &Cloud<'_>, server: &Server<'_>) -> Vec<String> {
    let mut urls = Vec::new();
    for (who, version) in [
        (server.id, Some("2.1")),
        (server.name, Some("2.1")),
        (server.id, Some(NEWEST)),
        (server.name, Some(NEWEST)),
        (server.name, None),
    ] {
        let option = version.map(|version| ["--compute-api-version", version]);
        let args: Vec<_> = [who].into_iter().chain(option.into_iter().flatten()).collect();
        let answers = cloud.script("sdk_console.py", &args).await;
        assert_eq!(answers["find"]["id"], server.id, "{answers}");
        assert_eq!(answers["find"]["name"], server.name, "{answers}");
        let old = version == Some("2.1");
        let create = if old { Api::Action } else { Api::RemoteConsoles };
        for kind in ["novnc", "serial"] {
            let console = &answers[format!("create_console_{kind}")];
            urls.push(cloud.checked(server, kind, create, console));
            // The SDK posts the older action with whatever version it negotiated.
            let console = &answers[format!("get_server_console_url_{kind}")];
            urls.push(cloud.checked(server, kind, Api::Action, console));
        }
        for (call, kind) in
            [("create_server_remote_console", "novnc"), ("create_server_remote_console_serial", "serial")]
        {
            match old {
                true => assert_eq!(answers[call]["error"], 404, "no such API below 2.6: {answers}"),
                false => urls.push(cloud.checked(server, kind, Api::RemoteConsoles, &answers[call])),
            }
        }
    }
    urls
}

/// novaclient, which finds a name by `GET /servers?name=`. Returns the URLs.
pub(crate) async fn novaclient_gets_urls(cloud: &Cloud<'_>, server: &Server<'_>) -> Vec<String> {
    let mut urls = Vec::new();
    for version in ["2.1", NEWEST] {
        for who in [server.id, server.name] {
            let answers = cloud.script("nova_console.py", &[who, version]).await;
            assert_eq!(answers["find"]["id"], server.id, "{answers}");
            let (api, outer) = match version {
                "2.1" => (Api::Action, "console"),
                _ => (Api::RemoteConsoles, "remote_console"),
            };
            for kind in ["novnc", "serial"] {
                urls.push(cloud.checked(server, kind, api, &answers[kind][outer]));
            }
        }
    }
    urls
}

/// The clients understand our refusals: they show their words, and fail.
pub(crate) async fn openstackclient_shows_refusals(cloud: &Cloud<'_>, server: &Server<'_>) {
    let show = ["console", "url", "show"];
    let wrong = Cloud { token: "no-such-token", ..*cloud };
    let cases = [
        (&wrong, "--novnc", server.name, "The request you have made requires authentication."),
        (cloud, "--novnc", "no-such-server", "No Server found for no-such-server"),
        (cloud, "--spice", server.name, "Unavailable console type spice-html5."),
        (cloud, "--xvpvnc", server.name, "Invalid console type xvpvnc"),
    ];
    for (cloud, flag, who, words) in cases {
        let ran = cloud.openstack(Some(NEWEST), &[&show[..], &[flag, who]].concat()).await;
        assert!(!ran.status.success(), "{flag} {who}: {}", ran.stdout);
        assert!(ran.stderr.contains(words), "{flag} {who}: {}", ran.stderr);
    }
    let ran = cloud.openstack(Some("2.105"), &[&show[..], &["--novnc", server.name]].concat()).await;
    assert!(!ran.status.success() && ran.stderr.contains("2.104"), "too new a version: {}", ran.stderr);
}

const VM: (&str, &str) = ("11111111-2222-4333-8444-555555555555", "web server");

/// Every URL that every client got opens a console, once.
#[tokio::test(flavor = "multi_thread")]
async fn unmodified_clients_get_urls_that_open_consoles() {
    let screen = Xvnc::start(None).await;
    let line = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let consoles = format!(
        "vnc = \"tcp://{}\"\nserial = \"tcp://{}\"\nserial_viewers = \"share\"",
        screen.address(),
        line.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = line.accept().await {
            let _ = socket.write_all(b"login: ").await;
        }
    });
    let running = Running::start(&(target(VM.0, VM.1, &consoles) + UNLIMITED)).await;
    let public_url = format!("http://{}", running.at.proxy);
    let server = Server { id: VM.0, name: VM.1, is_baremetal: false };
    let mut urls = Vec::new();
    for endpoint in [format!("{public_url}/v2.1"), format!("{public_url}/v2.1/{PROJECT}")] {
        let cloud = Cloud { endpoint: &endpoint, token: TOKEN, public_url: &public_url };
        urls.extend(openstackclient_shows_urls(&cloud, &server).await);
        urls.extend(sdk_gets_urls(&cloud, &server).await);
        urls.extend(novaclient_gets_urls(&cloud, &server).await);
        openstackclient_shows_refusals(&cloud, &server).await;
    }
    assert!(urls.len() > 20, "{} URLs", urls.len());
    for url in urls {
        let token = &url[url.len() - 36..];
        let (mut socket, _) =
            open(&running.ws(token), &[]).await.unwrap_or_else(|status| panic!("{status}: {url}"));
        let first = socket.next().await.unwrap().unwrap().into_data();
        let expected: &[u8] = if url.contains("vnc_lite.html") { b"RFB 003.008\n" } else { b"login: " };
        assert_eq!(first, expected, "{url}");
        assert_eq!(open(&running.ws(token), &[]).await.unwrap_err(), 403, "a second use of {url}");
    }
}
