//! Discovery and server look-ups.

use super::*;

fn get(uri: &str) -> Reply {
    Fixture::new().call(&Ask { uri, ..Ask::default() })
}

#[test]
fn discovery_needs_no_credential() {
    let check = |uri: &str, golden: Value| {
        for method in ["GET", "HEAD"] {
            let ask =
                Ask { uri, method, token: "", headers: &[("OpenStack-API-Version", "x")], ..Ask::default() };
            let reply = Fixture::new().call(&ask);
            assert_eq!((reply.status, reply.body), (200, golden.clone()), "{uri}");
            assert!(reply.headers.contains_key("x-openstack-request-id"));
        }
    };
    let docs = json!({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"});
    let v21 = json!({"version": {
        "id": "v2.1", "status": "CURRENT", "version": "2.104", "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": "http://api:8774/v2.1/"}, docs],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
        ],
    }});
    let v20 = json!({"version": {
        "id": "v2.0", "status": "DEPRECATED", "version": "", "min_version": "",
        "updated": "2025-07-04T12:00:00Z",
        "links": [{"rel": "self", "href": "http://api:8774/v2/"}, docs],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2"}
        ],
    }});
    let all = json!({"versions": [
        {
            "id": "v2.0", "status": "DEPRECATED", "version": "", "min_version": "",
            "updated": "2025-07-04T12:00:00Z", "links": [{"rel": "self", "href": "http://api:8774/v2/"}],
        },
        {
            "id": "v2.1", "status": "CURRENT", "version": "2.104", "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z", "links": [{"rel": "self", "href": "http://api:8774/v2.1/"}],
        },
    ]});
    check("/v2.1", v21.clone());
    check("/v2.1/", v21);
    check("/v2", v20.clone());
    check("/v2/", v20);
    check("/", all);
}

#[test]
fn a_server_by_id() {
    for prefix in ["/v2.1", "/v2"] {
        for project in [String::new(), format!("/{PROJECT}")] {
            let reply = get(&format!("{prefix}{project}/servers/bm"));
            let golden = json!({"server": {
                "id": "bm", "name": "name-of-bm", "tenant_id": PROJECT, "status": "ACTIVE",
                "metadata": {}, "addresses": {}, "OS-EXT-AZ:availability_zone": "az1",
                "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": null, "OS-EXT-STS:power_state": 1,
                "links": [
                    {"rel": "self", "href": "http://api:8774/v2.1/servers/bm"},
                    {"rel": "bookmark", "href": "http://api:8774/servers/bm"},
                ],
            }});
            assert_eq!((reply.status, reply.body), (200, golden));
        }
    }
    for (server, status) in [
        ("building", "BUILD"),
        ("deleting", "ACTIVE"),
        ("migrating", "MIGRATING"),
        ("stopped", "SHUTOFF"),
        ("stopped-bm", "SHUTOFF"),
    ] {
        assert_eq!(get(&format!("/v2.1/servers/{server}")).body["server"]["status"], status);
    }
}

#[test]
fn a_server_that_is_not_there_and_one_of_others_are_alike() {
    for server in ["foreign", "nobody"] {
        let reply = get(&format!("/v2.1/servers/{server}"));
        assert_fault(&reply, 404, "itemNotFound", &format!("Instance {server} could not be found."));
    }
    let fixture = Fixture::new();
    let reply = fixture.call(&Ask { uri: "/v2.1/servers/foreign", token: "admin", ..Ask::default() });
    assert_eq!(reply.status, 200, "administrators see all");
    let reply = fixture.call(&Ask { uri: "/v2.1/servers/vm", token: "reader", ..Ask::default() });
    assert_eq!(reply.status, 200, "readers may look");
}

fn ids(reply: &Reply) -> Vec<&str> {
    reply.body["servers"].as_array().unwrap().iter().map(|server| server["id"].as_str().unwrap()).collect()
}

#[test]
fn servers_by_name() {
    let check = |query: &str, expected: &[&str]| {
        for path in ["/servers", "/servers/detail"] {
            let reply = get(&format!("/v2.1{path}{query}"));
            let mut found = ids(&reply);
            found.sort_unstable();
            assert_eq!(found, expected, "{path}{query}");
        }
    };
    check("?name=name-of-vm", &["vm"]);
    check("?name=%5Ename-of-vm%24", &["vm"]);
    check("?name=of-stopped", &["stopped", "stopped-bm"]);
    check("?name=name-of-foreign", &[]);
    check("?name=nobody&all_tenants=1", &[]);
    check("?other=x&name=unix", &["unix"]);
    assert_eq!(ids(&get("/v2.1/servers")).len(), 11, "all of the project's and no other's");

    let brief = get("/v2.1/servers?name=name-of-vm");
    let links = brief.body["servers"][0]["links"].clone();
    assert_eq!(brief.body, json!({"servers": [{"id": "vm", "name": "name-of-vm", "links": links}]}));
    let full = get("/v2.1/servers/detail?name=name-of-vm");
    assert_eq!(full.body["servers"][0], get("/v2.1/servers/vm").body["server"]);
}

#[test]
fn servers_in_pages() {
    let fixture = Fixture::new();
    let mut uri = "/v2.1/servers/detail?name=name&limit=4".to_owned();
    let mut seen = Vec::new();
    for page in [4, 4, 3] {
        let reply = fixture.call(&Ask { uri: &uri, ..Ask::default() });
        assert_eq!(ids(&reply).len(), page);
        seen.extend(ids(&reply).into_iter().map(String::from));
        match reply.body.get("servers_links") {
            Some(links) => {
                let href = links[0]["href"].as_str().unwrap();
                uri = href.strip_prefix("http://api:8774").unwrap().to_owned();
            }
            None => assert_eq!(page, 3, "the last page has no link"),
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 11);

    assert!(ids(&get("/v2.1/servers?limit=0")).is_empty());
    assert_fault(&get("/v2.1/servers?marker=gone"), 400, "badRequest", "marker [gone] not found");
    let message = "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'";
    assert_fault(&get("/v2.1/servers?limit=-1"), 400, "badRequest", message);
}
