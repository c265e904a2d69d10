//! Request bodies, checked in the order and the words of nova's JSON schemas (`compute/schemas/remote_consoles.py`,
//! jsonschema's messages with Python's `repr` of values).

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::fault::Fault;

/// The most of a caller's own value that is given back: enough to see what was wrong.
const MAX_ECHO: usize = 256;

/// One required string property and its `enum`.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) one_of: &'static [&'static str],
}

/// Checks `{outer: {field: value, ...}}`, nothing missing and nothing more, and returns the fields' values.
/// `relaxed`: unknown properties pass, as below `/v2`.
pub(super) fn check<const N: usize>(
    body: &Value,
    outer: &str,
    fields: [&Field; N],
    relaxed: bool,
) -> Result<[&'static str; N], Fault> {
    object(body, outer, fields, relaxed).map_err(|message| Fault::bad_request("schema", message))
}

fn object<const N: usize>(
    body: &Value,
    outer: &str,
    fields: [&Field; N],
    relaxed: bool,
) -> Result<[&'static str; N], String> {
    let Value::Object(top) = body else { return Err(not_of_type(body, "object")) };
    let mut found = None;
    if let Some(value) = top.get(outer) {
        let inner = inner(value, fields, relaxed);
        found = Some(inner.map_err(|message| at(message.at.unwrap_or(outer), message.of, &message.text))?);
    }
    let Some(found) = found else { return Err(format!("'{outer}' is a required property")) };
    match extras(top, &[outer]) {
        Some(message) if !relaxed => Err(message),
        _ => Ok(found),
    }
}

/// What is wrong within the outer property: at which of its own, if any, and of which value.
struct Complaint<'a> {
    at: Option<&'static str>,
    of: &'a Value,
    text: String,
}

fn inner<'a, const N: usize>(
    value: &'a Value,
    fields: [&Field; N],
    relaxed: bool,
) -> Result<[&'static str; N], Complaint<'a>> {
    let whole = |text| Complaint { at: None, of: value, text };
    let Value::Object(map) = value else { return Err(whole(not_of_type(value, "object"))) };
    // As jsonschema goes: the values there are, then what is missing, then what is too much.
    let mut found = [None; N];
    for (found, field) in found.iter_mut().zip(fields) {
        if let Some(of) = map.get(field.name) {
            let complain = |text| Complaint { at: Some(field.name), of, text };
            *found = Some(choice(of, field).map_err(complain)?);
        }
    }
    let mut answer = [""; N];
    for ((answer, found), field) in answer.iter_mut().zip(found).zip(fields) {
        *answer = found.ok_or_else(|| whole(format!("'{}' is a required property", field.name)))?;
    }
    match extras(map, &fields.map(|field| field.name)) {
        Some(message) if !relaxed => Err(whole(message)),
        _ => Ok(answer),
    }
}

fn choice(value: &Value, field: &Field) -> Result<&'static str, String> {
    let Value::String(text) = value else { return Err(not_of_type(value, "string")) };
    let known = field.one_of.iter().find(|known| *known == text);
    known.copied().ok_or_else(|| {
        let list = field.one_of.iter().map(|known| format!("'{known}'")).collect::<Vec<_>>().join(", ");
        format!("{} is not one of [{list}]", repr(value))
    })
}

fn extras(map: &Map<String, Value>, known: &[&str]) -> Option<String> {
    let mut names: Vec<_> = map.keys().filter(|name| !known.contains(&name.as_str())).collect();
    names.sort();
    let verb = if names.len() == 1 { "was" } else { "were" };
    let list = names.into_iter().map(|name| repr(&Value::from(name.as_str()))).collect::<Vec<_>>().join(", ");
    let message =
        format!("Additional properties are not allowed ({} {verb} unexpected)", shorten(list.clone()));
    (!list.is_empty()).then_some(message)
}

fn not_of_type(value: &Value, kind: &str) -> String {
    format!("{} is not of type '{kind}'", repr(value))
}

fn at(path: &str, value: &Value, message: &str) -> String {
    let shown = match value {
        Value::String(text) => shorten(text.clone()),
        other => repr(other),
    };
    format!("Invalid input for field/attribute {path}. Value: {shown}. {message}")
}

/// The value as Python's `repr` writes it, cut to a sensible length.
fn repr(value: &Value) -> String {
    let mut text = String::new();
    write_repr(&mut text, value);
    shorten(text)
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_ECHO {
        let end = (0..=MAX_ECHO).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => _ = write!(out, "{number}"),
        Value::String(text) => quote(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (name, item)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                quote(out, name);
                out.push_str(": ");
                write_repr(out, item);
            }
            out.push('}');
        }
    }
}

/// Double quotes only if that saves escaping single ones; control characters escaped.
fn quote(out: &mut String, text: &str) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if char == mark => out.extend(['\\', char]),
            _ if char.is_control() => _ = write!(out, "\\x{:02x}", u32::from(char)),
            _ => out.push(char),
        }
    }
    out.push(mark);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROTOCOL: Field = Field { name: "protocol", one_of: &["vnc", "spice", "serial", "rdp"] };
    const TYPE: Field =
        Field { name: "type", one_of: &["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5"] };

    fn message(body: &Value, relaxed: bool) -> String {
        match check(body, "remote_console", [&PROTOCOL, &TYPE], relaxed) {
            Ok(values) => values.join("/"),
            Err(fault) => fault.message.into_owned(),
        }
    }

    /// Golden: printed by jsonschema 4 with nova 34's own schema `create_v26`.
    #[test]
    fn speaks_as_jsonschema() {
        let check = |body: Value, expected: &str| assert_eq!(message(&body, false), expected);
        let field = "Invalid input for field/attribute";
        check(json!({"remote_console": {"protocol": "vnc", "type": "novnc"}}), "vnc/novnc");
        check(json!(null), "None is not of type 'object'");
        check(json!([]), "[] is not of type 'object'");
        check(json!(5), "5 is not of type 'object'");
        check(json!({}), "'remote_console' is a required property");
        check(
            json!({"remote_console": null}),
            &format!("{field} remote_console. Value: None. None is not of type 'object'"),
        );
        check(
            json!({"remote_console": [1, "a"]}),
            &format!("{field} remote_console. Value: [1, 'a']. [1, 'a'] is not of type 'object'"),
        );
        check(
            json!({"remote_console": {}}),
            &format!("{field} remote_console. Value: {{}}. 'protocol' is a required property"),
        );
        check(
            json!({"remote_console": {"protocol": "vnc"}}),
            &format!("{field} remote_console. Value: {{'protocol': 'vnc'}}. 'type' is a required property"),
        );
        check(
            json!({"remote_console": {"type": "novnc"}}),
            &format!("{field} remote_console. Value: {{'type': 'novnc'}}. 'protocol' is a required property"),
        );
        check(
            json!({"remote_console": {"protocol": "vnc", "type": "novnc", "z": 1}}),
            &format!(
                "{field} remote_console. Value: {{'protocol': 'vnc', 'type': 'novnc', 'z': 1}}. \
                 Additional properties are not allowed ('z' was unexpected)"
            ),
        );
        check(
            json!({"remote_console": {"a": 2, "b": 1, "protocol": "vnc", "type": "novnc"}}),
            &format!(
                "{field} remote_console. Value: {{'a': 2, 'b': 1, 'protocol': 'vnc', 'type': 'novnc'}}. \
                 Additional properties are not allowed ('a', 'b' were unexpected)"
            ),
        );
        check(
            json!({"remote_console": {"protocol": "vnc", "type": "novnc"}, "x": 1}),
            "Additional properties are not allowed ('x' was unexpected)",
        );
    }

    /// Golden, as above.
    #[test]
    fn shows_values_as_python() {
        let check = |protocol: Value, kind: Value, expected: &str| {
            let body = json!({"remote_console": {"protocol": protocol, "type": kind}});
            assert_eq!(message(&body, false), format!("Invalid input for field/attribute {expected}"));
        };
        let protocols = "is not one of ['vnc', 'spice', 'serial', 'rdp']";
        let types = "is not one of ['novnc', 'xvpvnc', 'spice-html5', 'serial', 'rdp-html5']";
        check(json!("mks"), json!("webmks"), &format!("protocol. Value: mks. 'mks' {protocols}"));
        check(json!(1), json!("novnc"), "protocol. Value: 1. 1 is not of type 'string'");
        check(json!("x"), json!(1), &format!("protocol. Value: x. 'x' {protocols}"));
        check(json!("vnc"), json!("it's"), &format!("type. Value: it's. \"it's\" {types}"));
        let awkward = "a\"'\n\\";
        check(json!("vnc"), json!(awkward), &format!("type. Value: {awkward}. 'a\"\\'\\n\\\\' {types}"));
        check(json!(null), json!(true), "protocol. Value: None. None is not of type 'string'");
        check(
            json!({"a": [1.5, false]}),
            json!("novnc"),
            "protocol. Value: {'a': [1.5, False]}. {'a': [1.5, False]} is not of type 'string'",
        );
        check(json!("é\x7f"), json!("x"), &format!("protocol. Value: é\x7f. 'é\\x7f' {protocols}"));
    }

    #[test]
    fn below_v2_unknown_properties_pass_but_nothing_else_does() {
        let body = json!({"remote_console": {"protocol": "vnc", "type": "novnc", "z": 1}, "x": 1});
        assert_eq!(message(&body, true), "vnc/novnc");
        let body = json!({"remote_console": {"type": "novnc", "z": 1}});
        assert!(message(&body, true).ends_with("'protocol' is a required property"));
    }

    #[test]
    fn gives_little_back() {
        let long =
            message(&json!({"remote_console": {"protocol": "ü".repeat(30_000), "type": "novnc"}}), false);
        assert!(
            long.len() < 700 && long.ends_with("... is not one of ['vnc', 'spice', 'serial', 'rdp']"),
            "{long}"
        );
        let wide: Map<_, _> = (0..9_000).map(|n| (format!("k{n}"), json!(null))).collect();
        assert!(message(&json!({"remote_console": wide}), false).len() < 700);
    }
}
