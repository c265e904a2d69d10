//! One target as JSON, for the admin API: the keys of a `[[target]]` table, read by the same code.

use std::net::IpAddr;
use std::path::Path;

use rustls_pki_types::ServerName;
use serde_json::{Value, json};

use super::{ConfigError, Endpoint, Kind, Os, Password, Problem, State, Target, Trust, Viewers, VncSecurity};
use super::{document, serial_file, serial_hub, target_file};

/// Reads a target from a JSON object with the keys of a `[[target]]` table.
///
/// # Errors
/// With everything that is wrong in it, each under its key.
pub fn target_from_json(value: &Value) -> Result<Target, Vec<Problem>> {
    let problem =
        |message: String| vec![Problem { file: "target".into(), line: None, key: String::new(), message }];
    if !value.is_object() {
        return Err(problem("expected a JSON object with the keys of a [[target]] table".to_owned()));
    }
    // A caller of the API has no say over this host's files and environment: what they hold would be proved to
    // whatever host the caller names.
    for key in ["password_file", "password_env"] {
        if value.get("vnc_security").and_then(|security| security.get(key)).is_some() {
            let message =
                "is not taken here; give the password itself, which is kept and never shown".to_owned();
            let key = format!("vnc_security.{key}");
            return Err(vec![Problem { file: "target".into(), line: None, key, message }]);
        }
    }
    // TOML has no null.
    let text = toml::to_string(&json!({"target": [value]}))
        .map_err(|error| problem(format!("holds a value that no setting takes (null, perhaps): {error}")))?;
    let read = |text: &str| {
        let mut targets = target_file::Targets::default();
        document::parse(Path::new("target"), text, |_| None, |root, _| targets.read(root))?;
        Ok(targets.list)
    };
    match read(&text) {
        Ok(mut list) => match list.pop() {
            // Whoever may register targets could run anything as our user.
            Some(Target { serial: Some(Endpoint::Command(_)), .. }) => {
                let message = "runs a program: only the configuration's own files may have one".to_owned();
                Err(vec![Problem { file: "target".into(), line: None, key: "serial".to_owned(), message }])
            }
            target => target.ok_or_else(|| problem("is no target".to_owned())),
        },
        Err(ConfigError::Invalid(problems)) => Err(problems.into_iter().map(by_key).collect()),
        Err(ConfigError::Unreadable { source, .. }) => Err(problem(source.to_string())),
    }
}

/// A request has no lines, and no table around its keys.
fn by_key(problem: Problem) -> Problem {
    let key = problem.key.strip_prefix("target").unwrap_or(&problem.key).trim_start_matches('.').to_owned();
    Problem { line: None, key, ..problem }
}

/// The target with all its settings, as [`target_from_json`] reads them, but for the password.
pub fn target_to_json(target: &Target) -> Value {
    // Every field by name: a new setting has to be thought of here.
    let Target {
        id,
        name,
        project,
        kind,
        state,
        os,
        zone,
        region,
        vnc,
        serial,
        spice,
        mks,
        vnc_viewers,
        serial_viewers,
        serial_reconnect,
        serial_hub: hub,
        vnc_view_only,
        record,
        vnc_security,
    } = target;
    let mut value = json!({
        "id": id,
        "name": name,
        "project": project,
        "kind": match kind { Kind::Vm => "vm", Kind::Baremetal => "baremetal" },
        "state": match state {
            State::Active => "active",
            State::Building => "building",
            State::Deleting => "deleting",
            State::Migrating => "migrating",
            State::Stopped => "stopped",
        },
        "os": match os { Os::Linux => "linux", Os::Windows => "windows" },
        "zone": zone,
        "region": region,
        "vnc_viewers": viewers(*vnc_viewers),
        "serial_viewers": viewers(*serial_viewers),
        "vnc_view_only": vnc_view_only,
        "vnc_security": security(vnc_security),
    });
    for (key, endpoint) in [("vnc", vnc), ("serial", serial), ("spice", spice), ("mks", mks)] {
        if let Some(endpoint) = endpoint {
            value[key] = Endpoint::to_string(endpoint).into();
        }
    }
    if let Some(record) = record {
        value["record"] = record.as_str().into();
    }
    if let Some(line) = serial_file::to_json(serial.as_ref(), *serial_reconnect) {
        value["serial_line"] = line;
    }
    if let Some(hub) = serial_hub::to_json(*hub, *serial_viewers) {
        value["serial_hub"] = hub;
    }
    value
}

/// The target with all its settings and the password: what is kept, and shown to nobody.
pub fn target_to_record(target: &Target) -> Value {
    let mut value = target_to_json(target);
    if let Some(password) = &target.vnc_security.password {
        value["vnc_security"]["password"] = Password::reveal(password).into();
    }
    value
}

fn viewers(viewers: Viewers) -> &'static str {
    match viewers {
        Viewers::Deny => "deny",
        Viewers::Steal => "steal",
        Viewers::Share => "share",
        Viewers::Hub => "hub",
    }
}

fn security(security: &VncSecurity) -> Value {
    let VncSecurity { types, username, password: _, tls } = security;
    let mut value = json!({"types": types.iter().map(|one| one.name()).collect::<Vec<_>>()});
    if let Some(username) = username {
        value["username"] = username.as_str().into();
    }
    let Some(tls) = tls else { return value };
    match &tls.trust {
        Trust::Authority { authority, name } => {
            value["ca"] = authority.file.display().to_string().into();
            value["name"] = match name {
                ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
                name => name.to_str().into_owned(),
            }
            .into();
        }
        Trust::Pin(pin) => {
            value["pin"] = pin.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
    }
    if let Some(client) = &tls.client {
        value["certificate"] = client.certificate.display().to_string().into();
        value["key"] = client.key.display().to_string().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let full = json!({
            "id": "a", "name": "b \"quoted\"\n".trim(), "project": "p", "kind": "baremetal", "state": "stopped",
            "os": "windows", "zone": "z", "region": "r", "vnc": "tcp://127.0.0.1:5901", "serial": "unix:/s",
            "vnc_viewers": "steal", "serial_viewers": "share", "vnc_view_only": true, "record": "required",
            "vnc_security": {"types": ["pass-through"]},
        });
        let target = target_from_json(&full).unwrap();
        assert_eq!(target_to_json(&target), full);
        let least = target_from_json(&json!({"id": "a", "project": "p"})).unwrap();
        assert_eq!(target_from_json(&target_to_json(&least)).unwrap(), least);
    }

    #[test]
    fn serial_lines_are_read_back() {
        let pin = "0123456789abcdef".repeat(4);
        for (serial, line) in [
            ("tls://h.example:1", json!({"ca": "/ca.pem", "server_name": "bmc1"})),
            ("tls://[::1]:1", json!({"server_name": "::1", "reconnect": "5m"})),
            ("tls://10.0.0.1:1", json!({"pin": pin})),
            ("telnet://h:23", json!({"baud": 9600, "parity": "even", "flow": "xon-xoff", "dtr": false})),
            ("tty:/dev/ttyS1", json!({"data_bits": 7, "parity": "odd", "stop_bits": 2, "rts": true})),
            ("tty:/dev/ttyS1", json!({"parity": "none", "flow": "rts-cts"})),
            ("tcp://h:1", json!({"reconnect": "30s"})),
        ] {
            let full = json!({"id": "a", "project": "p", "serial": serial, "serial_line": line});
            let written = target_to_json(&target_from_json(&full).unwrap());
            assert_eq!(
                (&written["serial"], &written["serial_line"]),
                (&full["serial"], &full["serial_line"])
            );
        }
        let bare = json!({"id": "a", "project": "p", "serial": "telnet://h:23"});
        assert_eq!(target_to_json(&target_from_json(&bare).unwrap()).get("serial_line"), None);
        for (written, read) in [
            (json!({"capture": true, "first": 0}), json!({"capture": true, "first": 0, "last": 1048576})),
            (
                json!({"last": 8192, "linger": "0s"}),
                json!({"capture": false, "first": 65536, "last": 8192, "linger": "0s"}),
            ),
        ] {
            let hub = json!({"id": "a", "project": "p", "serial": "tty:/dev/ttyS1", "serial_viewers": "hub",
                "serial_hub": written});
            assert_eq!(target_to_json(&target_from_json(&hub).unwrap())["serial_hub"], read);
        }
    }

    #[test]
    fn a_password_is_kept_and_not_shown() {
        let security = json!({
            "types": ["vencrypt-x509-plain", "vnc"], "username": "anne", "password": "open sesame",
            "pin": "ab".repeat(32),
        });
        let full = json!({"id": "a", "project": "p", "vnc": "tcp://h:1", "vnc_security": security});
        let target = target_from_json(&full).unwrap();
        assert_eq!(target_to_record(&target)["vnc_security"], security);
        assert_eq!(target_from_json(&target_to_record(&target)).unwrap(), target);
        let shown = target_to_json(&target).to_string() + &format!("{target:?}");
        assert!(shown.contains("anne") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn mistakes_are_told_by_key() {
        let check = |value: Value, key: &str, part: &str| {
            let problems = target_from_json(&value).unwrap_err();
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            assert_eq!(problem.key, key);
            assert!(problem.message.contains(part) && problem.line.is_none(), "{problem:?}");
        };
        check(json!({"id": "a"}), "project", "is required here");
        check(json!({"id": "a", "project": "p", "vcn": "x"}), "vcn", "did you mean vnc?");
        check(json!({"id": "a", "project": "p", "vnc": 3}), "vnc", "expected \"tcp://host:port\"");
        check(json!({"id": "a", "project": "p", "vnc": null}), "", "null");
        check(json!({"id": "a", "project": "p", "x": u64::MAX}), "x", "unknown setting");
        check(
            json!({"id": "a", "project": "p", "vnc_security": {"types": ["x"]}}),
            "vnc_security.types",
            "none",
        );
        check(
            json!({"id": "a", "project": "p", "serial": "command:/bin/sh"}),
            "serial",
            "only the configuration's own files",
        );
        for key in ["password_file", "password_env"] {
            let wrong = json!({"id": "a", "project": "p", "vnc_security": {"types": ["vnc"], key: "SET"}});
            check(wrong, &format!("vnc_security.{key}"), "is not taken here; give the password itself");
        }
        check(json!([]), "", "expected a JSON object");
    }
}
