//! Every success and every fault of every dialect, byte for byte, against the files in `tests/data/golden`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it golden` writes them anew: read the difference before it is kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use consolegate::api::CAUSES;

use crate::support::server::{ADMIN_TOKEN, PROJECT, Running, TOKEN, http, target};

/// One request and the name of its case.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    /// Method and path; `P` in braces is the caller's project.
    pub(crate) line: &'a str,
    pub(crate) token: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

const VNC: &str = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;
const SERIAL: &str = r#"{"remote_console":{"protocol":"serial","type":"serial"}}"#;
pub(crate) const READER: &str = "a-reader-token-for-tests";
const NEWEST: &[(&str, &str)] = &[("OpenStack-API-Version", "compute latest")];

pub(crate) const fn case<'a>(name: &'a str, line: &'a str, body: &'a str) -> Case<'a> {
    Case { name, line, token: TOKEN, headers: &[], body }
}

/// The servers of all cases. Nothing listens at their consoles: URLs are made, not opened.
pub(crate) fn targets() -> String {
    let mut all = format!(
        "[[auth.token]]\ntoken = \"{READER}\"\nuser = \"onlooker\"\nproject = \"{PROJECT}\"\nroles = [\"reader\"]\n"
    );
    let console =
        "vnc = \"tcp://127.0.0.1:5901\"\nserial = \"tcp://127.0.0.1:4444\"\nzone = \"az1\"\nregion = \"r1\"";
    let extra = "spice = \"tcp://127.0.0.1:5930\"\nmks = \"unix:/run/vm.mks\"";
    all += &target("vm", "web", &format!("{console}\n{extra}"));
    all += &target("bare-vm", "bare", "");
    all += &target("building-vm", "new", &format!("{console}\nstate = \"building\""));
    for (id, more) in [
        ("bm", console),
        ("bare-bm", ""),
        ("building-bm", "state = \"building\"\nvnc = \"unix:/run/v\"\nserial = \"unix:/run/s\""),
        ("windows-bm", "os = \"windows\"\nserial = \"unix:/run/w\""),
    ] {
        all += &target(id, id, more).replace("kind = \"vm\"", "kind = \"baremetal\"");
    }
    all += &target("foreign", "foreign", console).replace(PROJECT, "somebody-elses");
    all
}

/// Runs the cases and compares their story with the dialect's file.
async fn check(file: &str, runs: &[(&str, &[Case<'_>])]) {
    let mut story = String::new();
    for (settings, cases) in runs {
        let running = Running::start(&format!("{settings}\n{}", targets())).await;
        for case in *cases {
            story += &tell(&running, case).await;
        }
        running.drain().await;
    }
    compare(file, &story);
}

/// Holds the story to the file of that name, or writes it.
pub(crate) fn compare(file: &str, story: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, story).expect("cannot write");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (told, kept) in story.split("\n\n## ").zip(golden.split("\n\n## ")) {
        assert_eq!(told, kept, "differs from {}", path.display());
    }
    assert_eq!(story.len(), golden.len(), "{} has more or fewer cases", path.display());
}

/// One case, request and answer, with names in the place of what differs at each run.
pub(crate) async fn tell(running: &Running, case: &Case<'_>) -> String {
    let line = case.line.replace("{P}", PROJECT);
    let (method, path) = line.split_once(' ').expect("no path");
    let mut headers = String::new();
    if !case.token.is_empty() {
        headers += &format!("X-Auth-Token: {}\r\n", case.token);
    }
    case.headers.iter().for_each(|(name, value)| headers += &format!("{name}: {value}\r\n"));
    let said = http(running.at.api, method, path, &headers, case.body).await;
    show(case.name, &line, &headers, case.body, &said).replace(&running.at.api.to_string(), "HOST")
}

/// A request and its answer as the files have them, with names for ids and tokens.
pub(crate) fn show(name: &str, line: &str, headers: &str, body: &str, said: &str) -> String {
    let (head, answer) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: {said}"));
    let shown = |line: &&str| !line.starts_with("date: ") && !line.starts_with("content-length: ");
    let head: Vec<_> = head.lines().filter(shown).collect();
    let answer = match serde_json::from_str::<serde_json::Value>(answer) {
        Ok(json) => serde_json::to_string_pretty(&json).expect("no JSON"),
        Err(_) => answer.to_owned(),
    };
    let request = match body.len() {
        0..300 => body.to_owned(),
        len => format!("({len} bytes)"),
    };
    let headers = headers.replace("\r\n", "\n");
    masked(&format!("## {name}\n\n{line}\n{headers}\n{request}\n\n{}\n\n{answer}\n\n\n", head.join("\n")))
}

/// Names for UUIDs, by what stands before them.
fn masked(text: &str) -> String {
    let mut out = text.to_owned();
    const IDS: [(&str, &str); 6] = [
        ("req-", "REQUEST"),
        ("token=", "TOKEN"),
        ("token%3D", "TOKEN"),
        ("auth-tokens/", "TOKEN"),
        ("\"token\":\"", "TOKEN"),
        ("\"id\": \"", "ID"),
    ];
    for (before, name) in IDS {
        let mut from = 0;
        while let Some(at) = out[from..].find(before) {
            let start = from + at + before.len();
            let uuid = out.get(start..start + 36).filter(|text| uuid::Uuid::parse_str(text).is_ok());
            if uuid.is_some() {
                out.replace_range(start..start + 36, name);
            }
            from = start;
        }
    }
    out
}

/// What every dialect refuses alike, of a good request.
fn common<'a>(good: Case<'a>) -> Vec<Case<'a>> {
    vec![
        Case { name: "no credential", token: "", ..good },
        Case { name: "a wrong credential", token: "wrong", ..good },
        Case { name: "a reader", token: READER, ..good },
    ]
}

/// The limits, each with a server of its own, of a good request that three callers may make.
fn limits<'a>(once: &'a [Case<'a>], often: &'a [Case<'a>]) -> [(&'static str, &'a [Case<'a>]); 3] {
    [
        ("[limits]\nissue_per_second = 1\n", often),
        ("[limits]\noutstanding_per_target = 1\n", once),
        ("[tokens]\ncapacity = 1\n[limits]\noutstanding_per_target = 0\n", once),
    ]
}

/// A dialect's cases: what is good, what all refuse, what this one refuses, and the limits.
pub(crate) async fn dialect(file: &str, good: &[Case<'_>], faults: &[Case<'_>]) {
    let first = good[0];
    let all = [good, &common(first), faults].concat();
    let limited = Case { name: "a limit is reached", ..first };
    let once = [first, limited];
    let often = [first, first, first, limited];
    let runs = [&[("", &all[..])][..], &limits(&once, &often)].concat();
    check(file, &runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huawei_bms() {
    let path = "POST /v1/{P}/baremetalservers/bm/remote_console";
    let at = |server: &'static str| format!("POST /v1/{{P}}/baremetalservers/{server}/remote_console");
    let lines = ["nobody", "foreign", "vm", "building-bm", "bare-bm", "windows-bm"].map(at);
    let names = [
        "no such server",
        "another project's server",
        "a virtual machine",
        "a server that is being built",
        "a server without a console",
        "a Windows server",
    ];
    let mut faults: Vec<_> = names.iter().zip(&lines).map(|(name, line)| case(name, line, SERIAL)).collect();
    faults.extend([
        case("another project", "POST /v1/somebody-elses/baremetalservers/bm/remote_console", SERIAL),
        Case {
            headers: &[("X-Project-Id", "somebody-elses")],
            ..case("another project in the header", path, SERIAL)
        },
        case("another method", "GET /v1/{P}/baremetalservers/bm/remote_console", ""),
        case("no such path", "POST /v1/{P}/baremetalservers/bm/remote_consoles", SERIAL),
        Case { headers: &[("Content-Type", "application/xml")], ..case("another media type", path, SERIAL) },
        case("a body that is not JSON", path, "{"),
        case("no body", path, ""),
        case("another protocol", path, VNC),
    ]);
    let large = format!("{SERIAL}{}", " ".repeat(64 * 1024));
    faults.push(case("a body that is too large", path, &large));
    dialect("huawei-bms.txt", &[case("a serial console", path, SERIAL)], &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huawei_clouddc() {
    let path = "GET /v1/{P}/physicalservers/bm/remote-console-address";
    let at = |server: &'static str| format!("GET /v1/{{P}}/physicalservers/{server}/remote-console-address");
    let lines = ["nobody", "foreign", "vm", "building-bm", "bare-bm"].map(at);
    let names = [
        "no such server",
        "another project's server",
        "a virtual machine",
        "a server that is being built",
        "a server without a console",
    ];
    let mut faults: Vec<_> = names.iter().zip(&lines).map(|(name, line)| case(name, line, "")).collect();
    faults.extend([
        case("another project", "GET /v1/somebody-elses/physicalservers/bm/remote-console-address", ""),
        case("another method", "POST /v1/{P}/physicalservers/bm/remote-console-address", ""),
        case("no such path", "GET /v1/{P}/physicalservers/bm", ""),
    ]);
    dialect("huawei-clouddc.txt", &[case("the console's address", path, "")], &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huawei_ecs() {
    let path = "POST /v1/{P}/cloudservers/vm/remote_console";
    let at = |server: &'static str| format!("POST /v1/{{P}}/cloudservers/{server}/remote_console");
    let lines = ["nobody", "foreign", "bm", "building-vm", "bare-vm"].map(at);
    let names = [
        "no such server",
        "another project's server",
        "a physical server",
        "a server that is being built",
        "a server without a console",
    ];
    let mut faults: Vec<_> = names.iter().zip(&lines).map(|(name, line)| case(name, line, VNC)).collect();
    faults.extend([
        case("another project", "POST /v1/somebody-elses/cloudservers/vm/remote_console", VNC),
        case("another method", "GET /v1/{P}/cloudservers/vm/remote_console", ""),
        Case { headers: &[("Content-Type", "application/xml")], ..case("another media type", path, VNC) },
        case("a body that is not JSON", path, "{"),
        case("another type", path, r#"{"remote_console":{"protocol":"vnc","type":"xvpvnc"}}"#),
    ]);
    let projects = case("the projects of a region", "GET /v3/projects?name=r1", "");
    let good = [case("a VNC console", path, VNC), projects, case("all projects", "GET /v3/projects", "")];
    dialect("huawei-ecs.txt", &good, &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otc() {
    let body = r#"{"os-getSerialConsole":{"type":"serial"}}"#;
    let path = "POST /v2/{P}/servers/bm/action";
    let newest = Case {
        headers: NEWEST,
        ..case("at 2.1 and any microversion", "POST /v2.1/{P}/servers/bm/action", body)
    };
    let faults = [
        case("no such server", "POST /v2/{P}/servers/nobody/action", body),
        case("another project's server", "POST /v2/{P}/servers/foreign/action", body),
        case("a server that is being built", "POST /v2/{P}/servers/building-bm/action", body),
        case("a server without a console", "POST /v2/{P}/servers/bare-bm/action", body),
        case("another project", "POST /v2/somebody-elses/servers/bm/action", body),
        case("another method", "GET /v2/{P}/servers/bm/action", ""),
        case("another action", path, r#"{"os-start":null}"#),
        case("another type", path, r#"{"os-getSerialConsole":{"type":"ssh"}}"#),
        case("a body that is not JSON", path, "{"),
    ];
    dialect("otc.txt", &[case("a serial console", path, body), newest], &faults).await;
}

const TEMPLATES: &str = "[urls]\nopenstack_spice = \"{public_url}/spice_auto.html?token={token}\"\n\
    openstack_spice_direct = \"https://kerbside.example.org/nova?token={token}\"\n\
    openstack_mks = \"{public_url}/mks.html?token={token}\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn openstack() {
    let path = "POST /v2.1/servers/vm/remote-consoles";
    let remote = |name, line, body| Case { headers: NEWEST, ..case(name, line, body) };
    let spice = remote("spice", path, r#"{"remote_console":{"protocol":"spice","type":"spice-html5"}}"#);
    let direct =
        remote("spice-direct", path, r#"{"remote_console":{"protocol":"spice","type":"spice-direct"}}"#);
    let mks = remote("mks", path, r#"{"remote_console":{"protocol":"mks","type":"webmks"}}"#);
    let good = [
        remote("vnc", path, VNC),
        remote("serial", path, SERIAL),
        case(
            "an action, vnc",
            "POST /v2.1/{P}/servers/vm/action",
            r#"{"os-getVNCConsole":{"type":"novnc"}}"#,
        ),
        case(
            "an action, serial",
            "POST /v2/servers/vm/action",
            r#"{"os-getSerialConsole":{"type":"serial"}}"#,
        ),
        case("a server", "GET /v2.1/servers/vm", ""),
        case("servers by name", "GET /v2.1/servers?name=web", ""),
        case("servers by name in detail", "GET /v2.1/servers/detail?name=web", ""),
        Case { token: "", ..case("all versions", "GET /", "") },
        Case { token: "", ..case("version 2.1", "GET /v2.1/", "") },
        Case { token: "", ..case("version 2", "GET /v2", "") },
    ];
    let version = |name, value| Case { headers: value, ..case(name, path, VNC) };
    let lookup = "GET /v2.1/os-console-auth-tokens/0123456789abcdef";
    let admin = |name, headers| Case { token: ADMIN_TOKEN, headers, ..case(name, lookup, "") };
    let faults = [
        version("a version that is malformed", &[("OpenStack-API-Version", "compute 2.x")]),
        version("a version out of range", &[("OpenStack-API-Version", "compute 2.999")]),
        version("a version before remote-consoles", &[("OpenStack-API-Version", "compute 2.5")]),
        Case {
            headers: &[("OpenStack-API-Version", "compute 2.6"), ("Content-Type", "application/xml")],
            ..case("another media type", path, VNC)
        },
        remote("a body that is not JSON", path, "{"),
        remote("no body", path, ""),
        remote("an unknown field", path, r#"{"remote_console":{"protocol":"vnc","type":"novnc","x":1}}"#),
        remote("an unknown protocol", path, r#"{"remote_console":{"protocol":"ssh","type":"novnc"}}"#),
        remote("no such server", "POST /v2.1/servers/nobody/remote-consoles", VNC),
        remote("another project's server", "POST /v2.1/servers/foreign/remote-consoles", VNC),
        remote("another project", "POST /v2.1/somebody-elses/servers/vm/remote-consoles", VNC),
        remote("a bad pair", path, r#"{"remote_console":{"protocol":"vnc","type":"serial"}}"#),
        remote("rdp", path, r#"{"remote_console":{"protocol":"rdp","type":"rdp-html5"}}"#),
        Case { name: "spice without a template", ..spice },
        Case { name: "spice-direct without a template", ..direct },
        Case { name: "mks without a template", ..mks },
        remote("a server that is being built", "POST /v2.1/servers/building-vm/remote-consoles", VNC),
        remote("a server without a console", "POST /v2.1/servers/bare-vm/remote-consoles", VNC),
        case("another action", "POST /v2.1/servers/vm/action", r#"{"os-start":null}"#),
        remote("another method", "DELETE /v2.1/servers/vm", ""),
        remote("no such path", "GET /v2.1/flavors", ""),
        case("a marker that is gone", "GET /v2.1/servers?marker=gone", ""),
        admin("no such token", NEWEST),
        admin("a token before 2.31", &[("OpenStack-API-Version", "compute 2.30")]),
        Case { token: TOKEN, ..admin("a token's console for members", NEWEST) },
    ];
    dialect("openstack.txt", &good, &faults).await;
    check("openstack-templates.txt", &[(TEMPLATES, &[spice, direct, mks])]).await;
}

/// Causes that no request here can bring about.
const ELSEWHERE: &[(&str, &str)] = &[
    ("body-too-slow", "takes ten seconds; a unit test lets them pass at once"),
    ("generator", "the operating system has to fail"),
    ("lifetime", "configuration lets no such lifetime through"),
];

/// Every code in the table is in a golden answer with a status the table names, and the other way round.
#[test]
fn every_cause_has_a_golden_answer() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let mut seen = BTreeSet::new();
    for file in fs::read_dir(dir).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for answer in text.split("HTTP/1.1 ").skip(1) {
            let status: u16 = answer[..3].parse().unwrap();
            let code = answer.lines().find_map(|line| line.strip_prefix("x-error-code: "));
            assert_eq!(code.is_none(), status < 300, "{answer}");
            let Some(code) = code else { continue };
            let cause = CAUSES.iter().find(|cause| cause.code == code).unwrap_or_else(|| panic!("{code}"));
            assert!(cause.statuses.contains(&status), "{code} with {status}");
            seen.insert(cause.word);
        }
    }
    for cause in CAUSES {
        let elsewhere = ELSEWHERE.iter().any(|(word, _)| *word == cause.word);
        assert!(seen.contains(cause.word) != elsewhere, "{}", cause.word);
    }
}
