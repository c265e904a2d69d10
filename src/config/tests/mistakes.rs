//! Each mistake gives its line, its key, what was found and the remedy.

use super::*;

/// What a configuration needs once `api` listens beyond loopback.
const EXPOSED: &str = "[listen]\napi = \"0.0.0.0:1\"\n";

#[test]
fn syntax() {
    assert!(errors("[proxy]\nping = \n").starts_with("c.toml:2: "));
    assert!(errors("[proxy]\nping = \"1s\"\nping = \"2s\"\n").contains("duplicate key"));
    check("proxy = 3", "1: proxy: expected a table, [proxy]");
    check("[target]\nid = \"a\"", "1: target: expected tables, each under [[target]]");
    check("target = [1]", "1: target: expected tables, each under [[target]]");
}

#[test]
fn unknown_settings() {
    check("[proxy]\npign = \"30s\"", "2: proxy.pign: unknown setting; did you mean ping?");
    check("\n[prox]\nping = \"30s\"", "2: prox: unknown setting; did you mean proxy?");
    check(
        "[inventory]\naudience = 1",
        "2: inventory.audience: unknown setting; known here: database, file, key_file, shared",
    );
    check_target(
        "viewers = \"deny\"",
        "4: target.viewers: unknown setting; known here: id, kind, mks, name, \
        os, project, record, region, serial, serial_hub, serial_line, serial_viewers, spice, state, vnc, vnc_security, vnc_view_only, \
        vnc_viewers, zone",
    );
    let sections =
        ["listen", "admin", "api", "tls", "proxy", "tokens", "limits", "urls", "auth", "audit", "inventory"];
    for section in sections {
        let all = errors(&format!("[{section}]\nzzz = 1"));
        assert!(all.contains(&format!("c.toml:2: {section}.zzz: unknown setting; known here: ")), "{all}");
    }
    check_target(
        "vnc_security.zzz = 1",
        "4: target.vnc_security.zzz: unknown setting; known here: ca, certificate, key, name, password, \
        password_env, password_file, pin, types, username",
    );
}

#[test]
fn wrong_types_and_values() {
    let duration = "expected a duration such as \"30s\", or \"0s\" for off, found";
    check("[proxy]\nping = \"abc\"", &format!("2: proxy.ping: {duration} \"abc\""));
    check("[proxy]\nping = 30", &format!("2: proxy.ping: {duration} 30"));
    check("[proxy]\n\nworkers = -1", "3: proxy.workers: expected a whole number from 0 to 1024, found -1");
    check("[proxy]\nworkers = 2000", "2: proxy.workers: expected a whole number from 0 to 1024, found 2000");
    check("[tokens]\nenforce = \"yes\"", "2: tokens.enforce: expected true or false, found \"yes\"");
    check(
        "[tokens]\ncapacity = 0",
        "2: tokens.capacity: expected a whole number from 1 to 100000000, found 0",
    );
    check("[tokens]\nformat = 1", "2: tokens.format: expected \"uuid\" or \"base64url\", found 1");
    check(
        "[limits]\nsessions = 1.5",
        "2: limits.sessions: expected a whole number from 0 to 100000000, found 1.5",
    );
    check(
        "[api]\ndialects = \"openstack\"",
        "2: api.dialects: expected a list of strings such as [\"a\", \"b\"], \
        found \"openstack\"",
    );
    check(
        "[api]\ndialects = []",
        "2: api.dialects: expected at least one dialect, \"openstack\", found an empty list",
    );
    check(
        "[listen]\napi = \"localhost:1\"",
        "2: listen.api: expected an address and port such as \
        \"127.0.0.1:6080\" or \"[::1]:6080\" (not a host name), found \"localhost:1\"",
    );
    check(
        "[proxy]\nallowed_origins = [\n  \"https://a\",\n  \"null\",\n]",
        "4: proxy.allowed_origins: expected \
        an origin such as \"https://dashboard.example.org\" (scheme, host, port), found \"null\"",
    );
    check(
        "[proxy]\nframe_ancestors = [\"*\"]",
        "2: proxy.frame_ancestors: expected \"'self'\" or an origin such \
        as \"https://*.example.org\", found \"*\"",
    );
    check(
        "[proxy]\ntrusted_proxies = [\"10.0.0.0/8\"]",
        "2: proxy.trusted_proxies: expected one address such \
        as \"10.0.0.1\" (networks are not in this version), found \"10.0.0.0/8\"",
    );
    check(
        "[proxy]\npublic_url = \"console.example.org\"",
        "2: proxy.public_url: expected a URL such as \
        \"https://console.example.org\" or \"http://127.0.0.1:6080\", found \"console.example.org\"",
    );
    check("[proxy]\nping = \"\\u001b[2J\"", &format!("2: proxy.ping: {duration} \"\\u{{1b}}[2J\""));
    assert!(errors(&format!("[proxy]\nping = \"{}\"", "x".repeat(9000))).len() < 300);
}

#[test]
fn impossible_values() {
    check(
        "[tokens]\nttl = \"0s\"",
        "2: tokens.ttl: expected a duration above zero such as \"30s\" or \"10m\", \
        found \"0s\"",
    );
    check(
        "[tokens]\nttl = \"2h\"",
        "2: tokens.ttl: is longer than tokens.max_ttl, 1h; shorten it or raise that",
    );
    check(
        "[tokens]\nmax_ttl = \"25h\"",
        "2: tokens.max_ttl: expected at most \"24h\": a link that works longer \
        is a password",
    );
    check(
        "[listen]\nadmin = \"127.0.0.1:6080\"",
        "2: listen.admin: needs a port of its own: proxy listens on \
        127.0.0.1:6080",
    );
    check(
        "[listen]\napi = \"127.0.0.1:9091\"",
        "1: listen.admin: needs a port of its own: api listens on \
        127.0.0.1:9091",
    );
    check(
        "[listen]\nallow_plain = true\nproxy = \"[::]:8774\"\n[proxy]\npublic_url = \"http://h\"",
        "3: listen.proxy: overlaps api, 127.0.0.1:8774; write both alike or use another port",
    );
    check(
        "[listen]\nproxy = \"192.0.2.1:80\"",
        "2: listen.proxy: plain HTTP on 192.0.2.1:80 would show tokens \
        and consoles to the network; add [tls], or set listen.allow_plain = true if something in front of it \
        speaks TLS",
    );
    check(
        "[listen]\nallow_plain = true\nproxy = \"0.0.0.0:80\"",
        " proxy.public_url: is required, for proxy \
        listens on every address (0.0.0.0:80); write the URL that browsers use",
    );
    check(
        &format!("{EXPOSED}allow_plain = true"),
        " auth.token: is required, for api listens on 0.0.0.0:1; \
        add [[auth.token]], [auth.keystone], [[auth.access_key]] or [[auth.basic]]",
    );
    check(
        "[listen]\nallow_plain = true\nadmin = \"0.0.0.0:1\"\n[admin]",
        "4: admin.token: is required, for \
        admin listens on 0.0.0.0:1; add token_file",
    );
    assert!(parse("[listen]\napi = \"127.0.0.1:6080\"").is_ok(), "one port may serve both");
    assert!(parse("[listen]\napi = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"").is_ok(), "0 is no clash");
}

#[test]
fn audit() {
    check("[audit]\nsync = true", "1: audit.file: is required under [audit]; add it, or remove [audit]");
    check("[audit]\nfile = \"\"", "2: audit.file: expected the path of a file, found \"\"");
    check(
        "[audit]\nfile = \"a\"\non_failure = \"stop\"",
        "3: audit.on_failure: expected \"refuse\" or \"continue\", found \"stop\"",
    );
    check("[audit]\nfile = \"a\"\nsync = 1", "3: audit.sync: expected true or false, found 1");
    check(
        "[audit]\nfile = \"a\"\non_failur = \"refuse\"",
        "3: audit.on_failur: unknown setting; did you mean on_failure?",
    );
    let found = parse("[audit]\nfile = \"a.jsonl\"").unwrap().audit.unwrap();
    let expected = Audit { file: "a.jsonl".into(), on_failure: OnAuditFailure::Refuse, sync: false };
    assert_eq!(found, expected);
    let other = parse("[audit]\nfile = \"a.jsonl\"\non_failure = \"continue\"\nsync = true").unwrap().audit;
    assert_eq!(other, Some(Audit { on_failure: OnAuditFailure::Continue, sync: true, ..expected }));
}

#[test]
fn recording() {
    let missing = "is required under [recording]; add it, or remove [recording]";
    check("[recording]\ninput = true", &format!("1: recording.directory: {missing}"));
    let three = "expected \"off\", \"on\" or \"required\"";
    let with = |line: &str, expected: &str| {
        check(&format!("[recording]\ndirectory = \"r\"\n{line}"), &format!("3: recording.{expected}"));
    };
    with("record = \"yes\"", &format!("record: {three}, found \"yes\""));
    with("input = 1", "input: expected true or false, found 1");
    with("on_failure = \"refuse\"", "on_failure: expected \"stop\" or \"end\", found \"refuse\"");
    with("max_age = \"a\"", "max_age: expected a duration such as \"30s\", or \"0s\" for off, found \"a\"");
    let size = "expected a size such as \"500MiB\" or \"20GiB\", or \"0\" for no limit";
    with("max_size = \"20GB\"", &format!("max_size: {size}, found \"20GB\""));
    with("max_siz = \"1GiB\"", "max_siz: unknown setting; did you mean max_size?");
    check_target("record = \"always\"", &format!("4: target.record: {three}, found \"always\""));
    let place = "needs a place for recordings; add [recording] with its directory";
    check_target("record = \"on\"", &format!("4: target.record: {place}"));
    check(
        "[recording]\ndirectory = \"r\"\n[[target]]\nid = \"a\"\nproject = \"p\"\nspice = \"unix:/a\"\nrecord = \"required\"",
        "7: target.record: is \"required\", and SPICE and MKS consoles cannot be recorded; remove those, or make it \"on\"",
    );
    let text = "[recording]\ndirectory = \"r\"\nmax_age = \"30d\"\nmax_size = \"2TiB\"\n\
                [[target]]\nid = \"a\"\nproject = \"p\"\nrecord = \"off\"";
    let config = parse(text).unwrap();
    assert_eq!(config.targets[0].record, Some(Record::Off));
    let expected = Recording {
        directory: "r".into(),
        record: Record::Off,
        input: false,
        on_failure: OnRecordingFailure::Stop,
        max_age: Some(std::time::Duration::from_secs(30 * 86_400)),
        max_size: Some(2 << 40),
    };
    assert_eq!(config.recording, Some(expected));
    assert!(Record::Required > Record::On && Record::On > Record::Off, "the strictest is the greatest");
}

#[test]
fn templates() {
    check(
        "[urls]\nopenstack_novnc = \"{public_url}/vnc.html\"",
        "2: urls.openstack_novnc: expected a template \
        that holds token={token} (or token%3D{token} inside path=), found \"{public_url}/vnc.html\"",
    );
    check(
        "[urls]\notc_serial = \"{public_url}/?token={tokn}\"",
        "2: urls.otc_serial: unknown placeholder \
        {tokn}; did you mean token?",
    );
    check(
        "[urls]\notc_serial = \"{public_url}/?token={token}}\"",
        "2: urls.otc_serial: a brace without its partner",
    );
    check(
        "[urls]\nopenstack_serial = \"/?token={token}\"",
        "2: urls.openstack_serial: expected a template that \
        begins with {public_url}, {public_ws_url} or a scheme, found \"/?token={token}\"",
    );
}

#[test]
fn dialects() {
    check(
        "[api]\ndialects = [\"otc\", \"ecs\"]",
        "2: api.dialects: expected \"openstack\", \"otc\", \"huawei-bms\", \"huawei-clouddc\", \
        \"huawei-ecs\", \"native\", found \"ecs\"",
    );
    check(
        "[tokens]\nmax_ttl = \"30m\"\n[api.ttl]\nhuawei-ecs = \"31m\"",
        "4: api.ttl.huawei-ecs: is longer than tokens.max_ttl, 30m; shorten it or raise that",
    );
    check(
        "[api.ttl]\nhuawei_ecs = \"1m\"",
        "2: api.ttl.huawei_ecs: unknown setting; did you mean huawei-ecs?",
    );
    let config = parse("[tokens]\nttl = \"5m\"\n[api.ttl]\nhuawei-bms = \"1h\"").unwrap();
    assert_eq!(config.dialects.len(), 6, "all are on");
    for dialect in &config.dialects {
        let minutes = if *dialect == Dialect::HuaweiBms { 60 } else { 5 };
        assert_eq!(config.lifetimes[dialect], std::time::Duration::from_secs(60 * minutes), "{dialect:?}");
    }
}

#[test]
fn serial_lines() {
    let schemes = "\"tcp://host:port\", \"tls://host:port\", \"telnet://host:port\", \"unix:/path\", \
                   \"tty:/dev/ttyS0\" or \"command:/path/of/program\"";
    let serial = |text: &str, expected: &str| {
        check_target(&format!("serial = \"{text}\""), &format!("4: target.serial: expected {expected}"));
    };
    serial("telnet://h", &format!("{schemes}, found \"telnet://h\""));
    serial("ssh://h:22", &format!("{schemes}, found \"ssh://h:22\""));
    let program =
        "an absolute path, such as \"command:/usr/bin/ipmitool\", found \"command:ipmitool -H bmc1\"";
    serial("command:ipmitool -H bmc1", program);
    serial("tty:ttyS0", "an absolute path, such as \"tty:/dev/ttyS0\", found \"tty:ttyS0\"");
    let kind = "is of a kind that only serial consoles have";
    check_target("vnc = \"telnet://h:23\"", &format!("4: target.vnc: {kind}"));

    let line = |endpoint: &str, setting: &str, expected: &str| {
        let lines = format!("serial = \"{endpoint}\"\n[target.serial_line]\n{setting}");
        check_target(&lines, &format!("6: target.serial_line.{expected}"));
    };
    line("tty:/dev/ttyS0", "baud = 1", "baud: expected a whole number from 50 to 12000000, found 1");
    line("tty:/dev/ttyS0", "data_bits = 9", "data_bits: expected a whole number from 5 to 8, found 9");
    line(
        "tty:/dev/ttyS0",
        "parity = \"mark\"",
        "parity: expected \"none\", \"odd\" or \"even\", found \"mark\"",
    );
    line("tty:/dev/ttyS0", "stop_bits = 3", "stop_bits: expected a whole number from 1 to 2, found 3");
    let flow = "flow: expected \"none\", \"xon-xoff\" or \"rts-cts\", found \"hardware\"";
    line("tty:/dev/ttyS0", "flow = \"hardware\"", flow);
    let rts = "rts: belongs to the flow control \"rts-cts\"; remove one of the two";
    line("tty:/dev/ttyS0", "rts = true\nflow = \"rts-cts\"", rts);
    line("tty:/dev/ttyS0", "dtr = 1", "dtr: expected true or false, found 1");
    let pin = "pin: expected a certificate's SHA-256 fingerprint, 64 hexadecimal digits, found \"ab:cd\"";
    line("tls://h:1", "pin = \"ab:cd\"", pin);
    let both = format!("ca = \"a.pem\"\npin = \"{}\"", "0".repeat(64));
    line("tls://h:1", &both, "ca: is not looked at when there is a pin; keep one of the two");
    let name = "server_name: expected a host name or an address, such as \"ts1.example.org\", found \"a b\"";
    line("tls://h:1", "server_name = \"a b\"", name);
    line("tcp://h:1", "reconnect = \"2h\"", "reconnect: expected at most \"1h\", found \"2h\"");
    let other = "is for telnet: and tty: endpoints, and serial is tcp://h:1; remove it";
    line("tcp://h:1", "baud = 9600", &format!("baud: {other}"));
    let other = "is for command: endpoints, and serial is telnet://h:1; remove it";
    line("telnet://h:1", "args = [\"-v\"]", &format!("args: {other}"));
    line(
        "command:/bin/a",
        "ca = \"a\"",
        "ca: is for tls: endpoints, and serial is command:/bin/a; remove it",
    );
    let many = format!("args = [{}]", "\"a\",".repeat(65));
    line("command:/bin/a", &many, "args: has more than 64 arguments; put them into a script");
    line("unix:/a", "bauds = 1", "bauds: unknown setting; did you mean baud?");
    check_target(
        "serial = \"tty:/dev/ttyS0\"\nserial_viewers = \"steal\"",
        "5: target.serial_viewers: a tty: is open once, so it takes \"deny\" or \"hub\" only",
    );
    check_target(
        "[target.serial_line]\nbaud = 9600",
        "4: target.serial_line: is for a target with a serial endpoint; add serial, or remove this",
    );
}

#[test]
fn hubs() {
    check_target(
        "serial_viewers = \"hub\"",
        "4: target.serial_viewers: \"hub\" is for a target with a serial endpoint; add serial, or remove this",
    );
    check_target(
        "serial_viewers = \"hubs\"",
        "4: target.serial_viewers: expected \"deny\", \"steal\", \"share\" or \"hub\", found \"hubs\"",
    );
    let serial = |more: &str| format!("serial = \"tcp://h:1\"\n{more}");
    let hub = |more: &str| serial(&format!("serial_viewers = \"hub\"\n[target.serial_hub]\n{more}"));
    check_target(
        &serial("[target.serial_hub]\ncapture = true"),
        "5: target.serial_hub: is for a target with serial_viewers = \"hub\"; add that, or remove this",
    );
    let found = "expected a whole number from 4096 to 67108864, found";
    check_target(&hub("last = 100"), &format!("7: target.serial_hub.last: {found} 100"));
    check_target(&hub("last = \"1MiB\""), &format!("7: target.serial_hub.last: {found} \"1MiB\""));
    check_target(
        &hub("linger = \"soon\""),
        "7: target.serial_hub.linger: expected a duration such as \"1m\" or \"0s\", found \"soon\"",
    );
    check_target(
        &hub("linger = \"5m\"\ncapture = true"),
        "7: target.serial_hub.linger: is not looked at with capture = true; remove one of the two",
    );
    check_target(
        &hub("captures = true"),
        "7: target.serial_hub.captures: unknown setting; did you mean capture?",
    );
}

#[test]
fn coming_back() {
    check(
        "[tokens]\nresume_grace = \"2h\"",
        "2: tokens.resume_grace: expected at most \"1h\": until then the viewer's cookie is a way in",
    );
    check(
        "[tokens]\nresume_times = 0",
        "2: tokens.resume_times: expected a whole number from 1 to 1000, found 0",
    );
}

#[test]
fn targets() {
    check("[[target]]\nid = \"a\"", "1: target.project: is required here; add it");
    check("\n[[target]]\nproject = \"a\"", "2: target.id: is required here; add it");
    check_target("kind = \"pod\"", "4: target.kind: expected \"vm\" or \"baremetal\", found \"pod\"");
    check_target(
        "state = 1",
        "4: target.state: expected \"active\", \"building\", \"deleting\", \"migrating\" or \
        \"stopped\", found 1",
    );
    check_target("os = \"bsd\"", "4: target.os: expected \"linux\" or \"windows\", found \"bsd\"");
    check_target(
        "vnc_viewers = \"hub\"",
        "4: target.vnc_viewers: expected \"deny\", \"steal\" or \"share\", \
        found \"hub\"",
    );
    check_target(
        "vnc = \"127.0.0.1:5901\"",
        "4: target.vnc: expected \"tcp://host:port\" or \"unix:/path\", \
        found \"127.0.0.1:5901\"",
    );
    check_target(
        "vnc = \"unix:/a\"\nserial = \"unix:/a\"",
        "5: target.serial: is the same endpoint as vnc; a \
        console speaks one protocol",
    );
    check_target(
        "spice = \"unix:/a\"\nmks = \"unix:/a\"",
        "5: target.mks: is the same endpoint as spice; a console speaks one protocol",
    );
    check_target("vnc_view_only = 1", "4: target.vnc_view_only: expected true or false, found 1");
    check_target(
        "[[target]]\nid = \"a\"\nproject = \"q\"",
        "5: target.id: the target a is at c.toml:1 already",
    );
    let found =
        parse("[[target]]\nid = \"a\"\nproject = \"p\"\n[target.vnc_security]\ntypes = [\"pass-through\"]");
    let target = found.unwrap().targets.remove(0);
    assert_eq!((target.name.as_str(), target.kind, target.state), ("a", Kind::Vm, State::Active));
    assert_eq!(target.vnc_security.types, [VncType::PassThrough]);
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let text = "[proxy]\nping = 1\nzzz = 1\n[[target]]\nid = \"\"\n[listen]\napi = \"x\"\n";
    let found = errors(text);
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["c.toml:2", "c.toml:3", "c.toml:4", "c.toml:5", "c.toml:7"]);
}

#[test]
fn fixed_tokens() {
    let who = "user = \"u\"\nproject = \"p\"\n";
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret"
    let config = parse(&format!("[[auth.token]]\ntoken = \"secret\"\n{who}")).unwrap();
    assert_eq!(config.auth.tokens[0].roles, ["member"]);
    let by_digest = parse(&format!("[[auth.token]]\ntoken_sha256 = \"{digest}\"\n{who}")).unwrap();
    assert_eq!(config.auth.tokens[0].sha256, by_digest.auth.tokens[0].sha256);
    assert!(config.generated.token.is_none());

    check(
        &format!("[[auth.token]]\n{who}"),
        "1: auth.token.token: is required here; add one of token_sha256, \
        token_file, token_env, token",
    );
    check(
        &format!("[[auth.token]]\ntoken_sha256 = \"{digest}\"\ntoken = \"x\"\n{who}"),
        "2: \
        auth.token.token_sha256: is given beside the token itself; keep one",
    );
    check(
        &format!("[[auth.token]]\ntoken_sha256 = \"abc\"\n{who}"),
        "2: auth.token.token_sha256: expected 64 \
        hexadecimal digits (printf %s TOKEN | sha256sum), found \"abc\"",
    );
    check("[[auth.token]]\ntoken = \"x\"\nproject = \"p\"", "1: auth.token.user: is required here; add it");
    let twice = format!("[[auth.token]]\ntoken = \"x\"\n{who}");
    check(
        &format!("{twice}{twice}"),
        "6: auth.token.token: is the same as another [[auth.token]]; each needs \
        its own",
    );
}

#[test]
fn no_secret_is_shown() {
    let hide = "hunter2-hunter2";
    let config = parse(&format!(
        "[admin]\ntoken = \"{hide}\"\n[[auth.token]]\ntoken = \"{hide}\"\nuser = \"u\"\n\
        project = \"p\""
    ))
    .unwrap();
    assert!(!format!("{config:?}").contains(hide));
    let digest = format!("{:?}", config.auth.tokens[0].sha256);
    assert!(!format!("{config:?}").contains(&digest), "a short token can be guessed from its digest");
    for text in [
        format!("[admin]\ntoken = [\"{hide}\"]"),
        format!("[admin]\ntoken = \"{hide} \""),
        format!("[admin]\ntoken = \"{hide}\"\ntoken_env = \"SET\""),
        format!("[admin]\ntokn = \"{hide}\""),
        format!("[admin]\ntoken = {hide}"),
        format!("[admin]\ntoken = \"{hide}\" x"),
        format!("[admin]\ntoken = \"{hide}\n"),
        format!("admin = \"{hide}\""),
        format!("[[auth.token]]\ntoken = \"{hide}\"\ntoken_sha256 = \"x\""),
    ] {
        assert!(!errors(&text).contains("hunter2"), "{}", errors(&text));
    }
}
