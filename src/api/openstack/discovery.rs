//! Version discovery, as keystoneauth needs it before its first call (nova API guide, "Versions").

use hyper::header::{HOST, HeaderMap};
use serde_json::{Value, json};

use super::super::Settings;
use super::microversion::Microversion;

/// Nova's own dates of the two documents; clients only show them.
const UPDATED: [(&str, &str); 2] = [("v2.0", "2025-07-04T12:00:00Z"), ("v2.1", "2013-07-23T11:33:21Z")];

/// The scheme and host the client used, for links it can follow; the listening address if it sent none that
/// is fit to be put into a URL.
pub(super) struct Base<'a> {
    settings: &'a Settings,
    headers: &'a HeaderMap,
}

impl<'a> Base<'a> {
    pub(super) fn new(settings: &'a Settings, headers: &'a HeaderMap) -> Self {
        Self { settings, headers }
    }

    /// As it is put before a path.
    pub(super) fn url(&self) -> String {
        let scheme = if self.settings.tls { "https" } else { "http" };
        let fit = |host: &&str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            (1..=255).contains(&host.len()) && host.bytes().all(known)
        };
        match self.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(fit) {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("{scheme}://{}", self.settings.listen),
        }
    }
}

/// `GET /`.
pub(super) fn versions(base: &str) -> Value {
    let version = |legacy: bool| {
        let mut version = document(legacy);
        version["links"] = json!([{"rel": "self", "href": href(base, legacy)}]);
        version
    };
    json!({"versions": [version(true), version(false)]})
}

/// `GET /v2.1`, `GET /v2`.
pub(super) fn version(base: &str, legacy: bool) -> Value {
    let mut version = document(legacy);
    let number = if legacy { "2" } else { "2.1" };
    version["links"] = json!([
        {"rel": "self", "href": href(base, legacy)},
        {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
    ]);
    version["media-types"] = json!([{
        "base": "application/json",
        "type": format!("application/vnd.openstack.compute+json;version={number}"),
    }]);
    json!({"version": version})
}

fn document(legacy: bool) -> Value {
    let (id, updated) = UPDATED[usize::from(!legacy)];
    if legacy {
        return json!({
            "id": id, "status": "DEPRECATED", "version": "", "min_version": "", "updated": updated,
        });
    }
    json!({
        "id": id,
        "status": "CURRENT",
        "version": Microversion::MAX.to_string(),
        "min_version": Microversion::MIN.to_string(),
        "updated": updated,
    })
}

fn href(base: &str, legacy: bool) -> String {
    format!("{base}/{}/", if legacy { "v2" } else { "v2.1" })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[test]
    fn links_go_where_the_client_came_from() {
        let check = |tls: bool, host: Option<&str>, expected: &str| {
            let settings = Settings { tls, ..testing::settings() };
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().unwrap());
            }
            assert_eq!(Base::new(&settings, &headers).url(), expected);
        };
        check(false, Some("api.example.org:8774"), "http://api.example.org:8774");
        check(true, Some("[::1]:8774"), "https://[::1]:8774");
        check(false, None, "http://127.0.0.1:8774");
        check(false, Some(""), "http://127.0.0.1:8774");
        check(false, Some("evil/\"><script>"), "http://127.0.0.1:8774");
        check(false, Some("user@evil"), "http://127.0.0.1:8774");
        check(false, Some(&"a".repeat(256)), "http://127.0.0.1:8774");
    }
}
