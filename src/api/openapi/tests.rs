//! The document against the router: every operation is there, and every answer has the shape it is said to have.

use serde_json::{Value, json};

use crate::config::Dialect;

use super::super::testing::{Ask, Fixture, Reply};
use super::{Document, PIECES, assemble};

/// Microversions decide what OpenStack's paths answer; the newest knows all that is documented.
const NEWEST: &[(&str, &str)] = &[("OpenStack-API-Version", "compute 2.104")];

fn whole() -> Value {
    assemble(|_| true)
}

/// Every operation: path template, method, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        methods
            .into_iter()
            .map(|(method, said)| (path.clone(), method.to_uppercase(), said))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

/// The path with its parameters' examples in it; `token` for a token.
fn concrete(path: &str, operation: &Value, token: &str) -> String {
    let mut path = path.replace("{token}", token);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
        path = path.replace(&name, parameter["example"].as_str().unwrap_or("unknown"));
    }
    path
}

/// The answer's status is one the document names, and its body is as that says.
fn check(document: &Value, what: &str, operation: &Value, reply: &Reply) {
    let said = &operation["responses"][reply.status.to_string()];
    assert!(!said.is_null(), "{what}: {} is not documented: {}", reply.status, reply.body);
    let said =
        said["$ref"].as_str().map_or(said, |to| document.pointer(&to[1..]).expect("a reference that leads"));
    let schema = &said["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{what}: {}", reply.status);
    let root = json!({"components": document["components"], "allOf": [schema]});
    let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{what}: {error}"));
    let problems: Vec<_> = validator.iter_errors(&reply.body).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{what} {}: {problems:?} in {}", reply.status, reply.body);
}

#[test]
fn every_operation_is_answered_as_documented() {
    let document = whole();
    for (path, method, operation) in operations(&document) {
        let fixture = Fixture::new();
        let issue = fixture.call(&Ask {
            method: "POST",
            uri: "/console/v1/servers/vm/consoles",
            body: "{\"protocol\":\"vnc\"}",
            ..Ask::default()
        });
        let url = issue.body["console"]["url"].as_str().unwrap();
        let token = &url[url.len() - 36..];
        let uri = concrete(&path, &operation, token);
        let mut example = operation["requestBody"]["content"]["application/json"]["example"].clone();
        if example.get("token").is_some() {
            example["token"] = token.into();
        }
        let body = if example.is_null() { String::new() } else { example.to_string() };
        let what = format!("{method} {path}");
        let ask = |token: &'static str, body: &str| {
            fixture.call(&Ask { method: &method, uri: &uri, token, headers: NEWEST, body })
        };
        let reply = ask("admin", &body);
        assert!((200..300).contains(&reply.status), "{what}: {} {}", reply.status, reply.body);
        check(&document, &what, &operation, &reply);
        // And as it is refused, for every reason a caller can give.
        let is_open = operation["security"] == json!([]);
        let bodies = ["{", "[]", "{}", "{\"x\":1}", "null", "", &body];
        for (token, body) in ["", "reader", "stranger"].into_iter().flat_map(|t| bodies.map(|body| (t, body)))
        {
            let reply = ask(token, body);
            check(&document, &what, &operation, &reply);
            assert_eq!(token.is_empty() && !is_open, reply.status == 401, "{what}");
        }
        let last = if uri.contains("/bm") { "/bm" } else { "/vm" };
        for server in ["none", "foreign", "building", "no-vnc", "building-bare", "%ff", "a%2Fb"] {
            if !path.contains("{server_id}") && !path.contains("{id}") {
                continue;
            }
            let uri = uri.replace(last, &format!("/{server}"));
            let reply = fixture.call(&Ask {
                method: &method,
                uri: &uri,
                headers: NEWEST,
                body: &body,
                ..Ask::default()
            });
            check(&document, &format!("{what} of {server}"), &operation, &reply);
        }
    }
}

#[test]
fn the_pieces_are_whole() {
    for (dialect, piece) in PIECES {
        let piece: Value = serde_json::from_str(piece).unwrap_or_else(|error| panic!("{dialect:?}: {error}"));
        assert!(piece["tag"]["name"].is_string() && piece["paths"].is_object(), "{dialect:?}");
        let alone = assemble(|other| other == *dialect);
        // Nothing refers to what only another dialect brings.
        let text = alone.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(alone.pointer(pointer).is_some(), "{dialect:?}: {pointer}");
        }
        for (path, method, operation) in operations(&alone) {
            let what = format!("{dialect:?} {method} {path}");
            assert_eq!(operation["tags"], json!([piece["tag"]["name"]]), "{what}");
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{what}");
        }
    }
    let whole = whole();
    let ids: Vec<_> =
        operations(&whole).into_iter().map(|(.., said)| said["operationId"].to_string()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
}

#[test]
fn only_what_is_switched_on_is_shown() {
    let native = assemble(|dialect| dialect == Dialect::Native);
    assert!(native["paths"].as_object().unwrap().keys().all(|path| path.starts_with("/console/v1/")));
    assert_eq!(native["tags"].as_array().unwrap().len(), 1);
}

#[test]
fn the_page_shows_every_operation_and_runs_nothing() {
    let document = Document::new(|_| true);
    let page = std::str::from_utf8(&document.page).unwrap();
    for (path, method, _) in operations(&whole()) {
        assert!(page.contains(&format!("{method}</span> <code>{path}</code>")), "{method} {path}");
    }
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("http://"));
    let answer =
        |method: hyper::Method, path: &str| document.respond(&method, path).map(|reply| reply.status());
    assert_eq!(answer(hyper::Method::GET, "/openapi.html").unwrap(), 200);
    assert_eq!(answer(hyper::Method::GET, "/openapi.json").unwrap(), 200);
    assert_eq!(answer(hyper::Method::POST, "/openapi.json").unwrap(), 405);
    assert_eq!(answer(hyper::Method::GET, "/openapi"), None);
}
