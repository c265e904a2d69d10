//! The clouds' own documents: their example requests and answers, as they are printed, from `tests/data/examples`.

use serde_json::Value;

use super::server::{Running, http};

/// A document's example.
pub(crate) struct Example {
    pub(crate) name: &'static str,
    /// Target id, project, zone and region that the example is about.
    server: [&'static str; 4],
    kind: &'static str,
    /// Request line, an empty line, body.
    request: &'static str,
    answer: &'static str,
    /// Whether it is for the serial console; else for VNC.
    pub(crate) serial: bool,
}

/// T-Systems OTC, "Obtaining a Remote Login Address".
const OTC: Example = Example {
    name: "OTC",
    server: ["47e9be4e-a7b9-471f-92d9-ffc83814e07a", "9c53a566cb3443ab910cf0daebca90c4", "az1", "dc1"],
    kind: "baremetal",
    request: include_str!("../../data/examples/otc-request.txt"),
    answer: include_str!("../../data/examples/otc-answer.txt"),
    serial: true,
};

/// The same by the path that the document's "URL" section names.
const OTC_V2_1: Example = Example { name: "OTC at v2.1", ..OTC };

/// Huawei BMS, "Obtaining the Address for Remotely Logging In to a BMS".
const BMS: Example = Example {
    name: "Huawei BMS",
    server: [
        "cf2a8b97-b5c6-47ef-9714-eb27adf26e5b",
        "bbf1946d374b44a0a2a95533562ba954",
        "pod05ironic",
        "region-01",
    ],
    kind: "baremetal",
    request: include_str!("../../data/examples/huawei-bms-request.txt"),
    answer: include_str!("../../data/examples/huawei-bms-answer.txt"),
    serial: true,
};

/// Huawei CloudDC, "Obtaining the Console Address"; the document names neither project nor server.
pub(crate) const CLOUDDC: Example = Example {
    name: "Huawei CloudDC",
    server: ["0a1b2c3d-0000-4000-8000-000000000002", "p-clouddc", "testjarvis", "cn-southwest-242"],
    kind: "baremetal",
    request: include_str!("../../data/examples/huawei-clouddc-request.txt"),
    answer: include_str!("../../data/examples/huawei-clouddc-answer.txt"),
    serial: false,
};

/// Huawei ECS, "Obtaining the VNC Login Address". (In the document, the token is partly starred out.)
const ECS: Example = Example {
    name: "Huawei ECS",
    server: ["47bc79ae-df61-4ade-9197-283a74e5d70e", "13c67a214ced4afb88d911ae4bd5721a", "az1", "dc1"],
    kind: "vm",
    request: include_str!("../../data/examples/huawei-ecs-request.txt"),
    answer: include_str!("../../data/examples/huawei-ecs-answer.txt"),
    serial: false,
};

/// nova's API reference, whose example is the sample `os-remote-consoles/v2.6/create-vnc-console`.
pub(crate) const NOVA: Example = Example {
    name: "OpenStack",
    server: ["b48316c5-71e8-45e4-9884-6c78055b9b13", "6f70656e737461636b20342065766572", "nova", "RegionOne"],
    kind: "vm",
    request: include_str!("../../data/examples/nova-request.txt"),
    answer: include_str!("../../data/examples/nova-answer.txt"),
    serial: false,
};

pub(crate) const EXAMPLES: [&Example; 6] = [&OTC, &OTC_V2_1, &BMS, &CLOUDDC, &ECS, &NOVA];

impl Example {
    /// The server it is about.
    pub(crate) fn id(&self) -> &'static str {
        self.server[0]
    }

    /// Its project, whose name is also the `X-Auth-Token` of a member.
    pub(crate) fn project(&self) -> &'static str {
        self.server[1]
    }

    /// Method and path, with the document's placeholders filled in.
    pub(crate) fn line(&self) -> (&'static str, String) {
        let (line, _) = self.request.split_once("\n\n").expect("a request line");
        let (method, url) = line.split_once(" https://").expect("a method and a URL");
        let (endpoint, path) = url.split_once('}').expect("an endpoint");
        let path = match endpoint {
            // The endpoint of the catalogue ends in the version.
            "{compute endpoint" => format!("/v2.1{path}"),
            _ if self.name == OTC_V2_1.name => path.replace("/v2/", "/v2.1/"),
            _ => path.to_owned(),
        };
        let path = path.replace("{project_id}", self.project());
        (method, path.replace("{server_id}", self.id()).replace("{id}", self.id()))
    }

    fn body(&self) -> &'static str {
        self.request.split_once("\n\n").expect("a body, if an empty one").1
    }

    /// The answer that the document shows.
    pub(crate) fn printed(&self) -> Value {
        // OTC's document lost a quotation mark.
        let text = self.answer.replace(" type\": \"serial\"", " \"type\": \"serial\"");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Sends the example as it stands and returns what came back.
    pub(crate) async fn ask(&self, running: &Running) -> Value {
        let (method, path) = self.line();
        // A document's request has nothing about versions; nova's own needs one.
        let version = if self.name == NOVA.name { "OpenStack-API-Version: compute 2.6\r\n" } else { "" };
        let headers =
            format!("X-Auth-Token: {}\r\nContent-Type: application/json\r\n{version}", self.project());
        let said = http(running.at.api, method, &path, &headers, self.body()).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {said}"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {said}", self.name);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

/// A server that knows every example's server, whose consoles are at these endpoints, and a member of its project.
pub(crate) async fn start(vnc: &str, serial: &str) -> Running {
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

/// The URL in an answer of any dialect.
pub(crate) fn url(answer: &Value) -> &str {
    let inner = ["remote_console", "console"].iter().find_map(|outer| answer.get(outer)).unwrap_or(answer);
    inner["url"].as_str().unwrap_or_else(|| panic!("no URL: {answer}"))
}

/// Path and query of a URL, and its token, which is 36 characters after `token`.
pub(crate) fn taken_apart(url: &str) -> (String, &str) {
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
pub(crate) fn without_url(answer: &Value) -> Value {
    serde_json::from_str(&answer.to_string().replace(url(answer), "URL")).expect("no JSON")
}
