//! Server look-ups: enough for clients to find the server whose console they want, by id or by name.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::auth::{Caller, policy};
use crate::config::{Dialect, Kind, State, Target};
use crate::targets::Entry;

use super::super::Core;
use super::super::url::encode;
use super::fault::Fault;

/// The most servers one answer lists (nova's `max_limit`); a link leads on.
const MAX_LIMIT: usize = 1000;

/// The server of this id if the caller may see it. A server of another project is not there at all, and where
/// only OTC's dialect is served, neither is a virtual machine.
pub(super) fn find(core: &Core, caller: &Caller, id: &str) -> Result<Arc<Entry>, Fault> {
    let entry = core.inventory.look_up(id);
    let seen =
        |entry: &Arc<Entry>| policy::may_see(caller, &entry.target.project) && is_served(core, &entry.target);
    entry.filter(seen).ok_or_else(|| Fault::no_server(id))
}

fn is_served(core: &Core, target: &Target) -> bool {
    core.serves(Dialect::Openstack) || target.kind == Kind::Baremetal
}

/// `GET /servers/{id}`.
pub(super) fn show(core: &Core, caller: &Caller, id: &str, base: &str) -> Result<Value, Fault> {
    let entry = find(core, caller, id)?;
    Ok(json!({"server": full(&entry.target, base)}))
}

/// `GET /servers`, `GET /servers/detail`: those of the caller's own project, narrowed by `name`, in pages of
/// `limit` after `marker`. Other filters are not known and, as nova does below 2.75, ignored.
pub(super) fn list(
    core: &Core,
    caller: &Caller,
    query: &str,
    detail: bool,
    base: &str,
) -> Result<Value, Fault> {
    let query = Query::parse(query)?;
    let all = core.inventory.list(&caller.project);
    let mut matching: Vec<&Target> = all.iter().map(|entry| &entry.target).collect();
    matching.retain(|target| is_served(core, target) && query.name.matches(&target.name));
    let start = match &query.marker {
        None => 0,
        Some(marker) => {
            let at = matching.iter().position(|target| target.id.as_str() == marker);
            at.ok_or_else(|| Fault::bad_request("query", format!("marker [{marker}] not found")))? + 1
        }
    };
    let rest = &matching[start..];
    let page = &rest[..rest.len().min(query.limit)];
    let view = |target: &&Target| if detail { full(target, base) } else { brief(target, base) };
    let mut body = Map::new();
    body.insert("servers".to_owned(), page.iter().map(view).collect());
    if let Some(last) = page.last().filter(|_| page.len() < rest.len()) {
        let path = if detail { "/v2.1/servers/detail" } else { "/v2.1/servers" };
        let href = format!("{base}{path}?{}", query.next(last.id.as_str()));
        body.insert("servers_links".to_owned(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Value::Object(body))
}

fn links(target: &Target, base: &str) -> Value {
    let id = encode(target.id.as_str());
    json!([
        {"rel": "self", "href": format!("{base}/v2.1/servers/{id}")},
        {"rel": "bookmark", "href": format!("{base}/servers/{id}")},
    ])
}

fn brief(target: &Target, base: &str) -> Value {
    json!({"id": target.id, "name": target.name, "links": links(target, base)})
}

fn full(target: &Target, base: &str) -> Value {
    let (status, vm_state, task_state, power) = match target.state {
        State::Active => ("ACTIVE", "active", None, 1),
        State::Building => ("BUILD", "building", Some("spawning"), 0),
        State::Deleting => ("ACTIVE", "active", Some("deleting"), 1),
        State::Migrating => ("MIGRATING", "active", Some("migrating"), 1),
        State::Stopped => ("SHUTOFF", "stopped", None, 4),
    };
    json!({
        "id": target.id,
        "name": target.name,
        "tenant_id": target.project,
        "status": status,
        "links": links(target, base),
        "metadata": {},
        "addresses": {},
        "OS-EXT-AZ:availability_zone": target.zone,
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": task_state,
        "OS-EXT-STS:power_state": power,
    })
}

struct Query {
    name: NameFilter,
    limit: usize,
    marker: Option<String>,
    /// The `name` as it was sent, for the link to the next page.
    raw_name: Option<String>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, Fault> {
        let (mut raw_name, mut limit, mut marker) = (None, MAX_LIMIT, None);
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = || percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
            match key {
                "name" => raw_name = Some(value.to_owned()),
                "marker" => marker = Some(decoded()),
                "limit" => {
                    let text = decoded();
                    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                        let message = format!(
                            "Invalid input for query parameters limit. Value: {text}. \
                             '{text}' does not match '^[0-9]*$'"
                        );
                        return Err(Fault::bad_request("query", message));
                    }
                    limit = text.parse().map_or(MAX_LIMIT, |limit: usize| limit.min(MAX_LIMIT));
                }
                _ => {}
            }
        }
        let text = raw_name.as_ref().map(|raw| raw.replace('+', " ")).unwrap_or_default();
        let name = NameFilter::parse(&percent_decode_str(&text).decode_utf8_lossy());
        Ok(Self { name, limit, marker, raw_name })
    }

    /// The query of the next page.
    fn next(&self, last: &str) -> String {
        let name = self.raw_name.as_ref().map(|raw| format!("name={raw}&")).unwrap_or_default();
        format!("{name}limit={}&marker={}", self.limit, encode(last))
    }
}

/// Nova hands `name` to its database as a regular expression. Here only its plain part is known: text anywhere
/// in the name, `^` and `$` as anchors, backslash before punctuation, and a dot that stands for itself.
/// Anything richer is taken literally: no caller's expression is ever run.
#[derive(Debug, Default, PartialEq, Eq)]
struct NameFilter {
    text: String,
    from_start: bool,
    to_end: bool,
}

impl NameFilter {
    fn parse(pattern: &str) -> Self {
        Self::simple(pattern).unwrap_or_else(|| Self { text: pattern.to_owned(), ..Self::default() })
    }

    fn simple(pattern: &str) -> Option<Self> {
        let from_start = pattern.starts_with('^');
        let mut chars = pattern.strip_prefix('^').unwrap_or(pattern).chars().peekable();
        let mut text = String::with_capacity(pattern.len());
        while let Some(char) = chars.next() {
            match char {
                '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
                '$' if chars.peek().is_none() => return Some(Self { text, from_start, to_end: true }),
                '*' | '+' | '?' | '[' | ']' | '(' | ')' | '{' | '}' | '|' | '^' | '$' => return None,
                _ => text.push(char),
            }
        }
        Some(Self { text, from_start, to_end: false })
    }

    fn matches(&self, name: &str) -> bool {
        match (self.from_start, self.to_end) {
            (true, true) => name == self.text,
            (true, false) => name.starts_with(&self.text),
            (false, true) => name.ends_with(&self.text),
            (false, false) => name.contains(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_parts_of_expressions_match_as_in_nova() {
        let check = |pattern: &str, name: &str, matches: bool| {
            assert_eq!(NameFilter::parse(pattern).matches(name), matches, "{pattern} {name}");
        };
        check("", "anything", true);
        check("bm1", "bm1", true);
        check("bm1", "bm10", true);
        check("bm1", "bm2", false);
        check("BM1", "bm1", false);
        check("^bm1$", "bm1", true);
        check("^bm1$", "bm10", false);
        check("^bm", "bm1", true);
        check("^m1", "bm1", false);
        check("1$", "bm1", true);
        check("web.example.org", "web.example.org", true);
        check(r"^web\.example\.org$", "web.example.org", true);
        check(r"a\-b", "a-b", true);
        check(r"cost\$", "cost$", true);
        check(r"\d", "5", false);
        check("a(b", "xa(bx", true);
        check("bm.*", "bm1", false);
        check("bm.*", "bm.*", true);
        check("(a+)+$", "aaaaaaaaaaaaaaaa", false);
    }
}
