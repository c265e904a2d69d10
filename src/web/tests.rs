//! Routing and headers over a small table of files; `pages_in_this_binary` looks at the real one.

use http_body_util::BodyExt;

use super::*;

const FILES: &[File] = &[
    File {
        name: "vnc.html",
        content_type: "text/html; charset=utf-8",
        etag: "11",
        body: b"<html>noVNC</html>",
        gzip: None,
    },
    File {
        name: "serial.html",
        content_type: "text/html; charset=utf-8",
        etag: "22",
        body: b"<html>serial</html>",
        gzip: None,
    },
    File {
        name: "assets/vnc-AB.js",
        content_type: "text/javascript; charset=utf-8",
        etag: "33",
        body: b"let plain",
        gzip: Some(b"packed"),
    },
    File { name: "assets/a.txt", content_type: "text/plain", etag: "44", body: b"text", gzip: None },
];

/// The operator's page, its script, and a viewer's.
const OPERATORS: &[File] = &[
    File { name: "admin.html", content_type: "text/html", etag: "55", body: b"<html>", gzip: None },
    File { name: "assets/admin-AB.js", content_type: "text/javascript", etag: "66", body: b"x", gzip: None },
];

fn web(frame_ancestors: &[&str], https: bool) -> Web {
    let ancestors: Vec<String> = frame_ancestors.iter().map(|s| (*s).to_owned()).collect();
    Web { files: FILES, policies: Policies::new(&ancestors).unwrap(), https }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Option<Page> {
    web(&[], false).respond(&request("GET", uri, headers))
}

fn header<'a>(page: &'a Page, name: &str) -> &'a str {
    page.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn body(page: Page) -> Bytes {
    tokio_test::block_on(page.into_body().collect()).unwrap().to_bytes()
}

#[test]
fn pages_carry_the_header_rules() {
    for (uri, style) in [("/x/y/vnc.html?token=T", "'self'"), ("/x/?token=T", "'self' 'unsafe-inline'")] {
        let page = get(uri, &[]).unwrap();
        assert_eq!(page.status(), 200);
        assert_eq!(
            header(&page, "content-security-policy"),
            format!(
                "default-src 'none'; script-src 'self'; style-src {style}; img-src 'self' data:; font-src 'self'; \
                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert_eq!(header(&page, "cache-control"), "no-store");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        for absent in ["etag", "location", "x-frame-options", "strict-transport-security", "set-cookie"] {
            assert_eq!(header(&page, absent), "", "{absent}");
        }
    }
}

#[test]
fn configuration_decides_framing_and_hsts() {
    let web = web(&["https://dash.example", "'self'"], true);
    for uri in ["/vnc.html", "/?token=T"] {
        let page = web.respond(&request("GET", uri, &[])).unwrap();
        let policy = header(&page, "content-security-policy");
        assert!(policy.ends_with("; frame-ancestors https://dash.example 'self'"), "{policy}");
        assert_eq!(header(&page, "strict-transport-security"), "max-age=63072000");
        assert_eq!(header(&page, "x-frame-options"), "");
    }
}

#[test]
fn the_operators_page_is_on_its_own_listener_and_in_no_frame() {
    let web = Web { files: OPERATORS, ..web(&["https://dash.example"], false) };
    let page = web.operator(&request("GET", "/", &[])).unwrap();
    assert_eq!(page.status(), 200);
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("style-src 'self';") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
    assert_eq!(web.operator(&request("GET", "/assets/admin-AB.js", &[])).unwrap().status(), 200);
    assert_eq!(web.operator(&request("POST", "/", &[])).unwrap().status(), 405);
    for uri in ["/vnc.html", "/admin.html", "/x/", "/x/assets/admin-AB.js", "/assets/none.js"] {
        assert!(web.operator(&request("GET", uri, &[])).is_none(), "{uri}");
    }
    for uri in ["/", "/admin.html", "/assets/admin-AB.js"] {
        assert!(web.respond(&request("GET", uri, &[])).is_none(), "{uri}: viewers' listener");
    }
}

#[test]
fn not_ours_is_none() {
    for uri in
        ["/", "/v2.1", "/servers", "/assets/nothing.js", "/assets/vnc.html.bak", "/serial.html", "/x/a.txt"]
    {
        assert!(get(uri, &[]).is_none(), "{uri}");
    }
}

#[test]
fn methods() {
    let head = web(&[], false).respond(&request("HEAD", "/vnc.html", &[])).unwrap();
    assert_eq!(header(&head, "content-length"), "18");
    assert!(body(head).is_empty());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for uri in ["/vnc.html", "/?token=T", "/assets/a.txt"] {
            let page = web(&[], false).respond(&request(method, uri, &[])).unwrap();
            assert_eq!(
                (page.status().as_u16(), header(&page, "allow")),
                (405, "GET, HEAD"),
                "{method} {uri}"
            );
        }
    }
    assert!(web(&[], false).respond(&request("POST", "/servers", &[])).is_none());
}

#[test]
fn assets_are_cached_packed_and_revalidated() {
    let page = get("/p/assets/vnc-AB.js", &[("accept-encoding", "br, gzip;q=0.8")]).unwrap();
    assert_eq!(header(&page, "content-encoding"), "gzip");
    assert_eq!(header(&page, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&page, "etag"), "\"33-gz\"");
    assert_eq!(header(&page, "vary"), "Accept-Encoding");
    assert_eq!(&body(page)[..], b"packed");

    for accept in ["", "identity", "gzip;q=0", "gzip; q=0.0", "xgzip"] {
        let page = get("/assets/vnc-AB.js", &[("accept-encoding", accept)]).unwrap();
        assert_eq!((header(&page, "content-encoding"), header(&page, "etag")), ("", "\"33\""), "{accept:?}");
        assert_eq!(&body(page)[..], b"let plain", "{accept:?}");
    }

    for (value, status) in
        [("\"44\"", 304), ("W/\"44\"", 304), ("\"1\", \"44\"", 304), ("*", 304), ("\"4\"", 200), ("44", 200)]
    {
        let page = get("/assets/a.txt", &[("if-none-match", value)]).unwrap();
        assert_eq!(page.status(), status, "{value}");
        assert_eq!(header(&page, "etag"), "\"44\"");
        assert_eq!(body(page).is_empty(), status == 304, "{value}");
    }
}

#[test]
fn without_pages_the_remedy_is_named() {
    let web = Web { files: &[], ..web(&[], false) };
    assert_eq!(web.operator(&request("GET", "/", &[])).unwrap().status(), 503);
    for uri in ["/vnc.html", "/a/vnc_lite.html", "/?token=T"] {
        let page = web.respond(&request("GET", uri, &[])).unwrap();
        assert_eq!(page.status(), 503, "{uri}");
        assert_eq!(header(&page, "content-type"), "text/plain; charset=utf-8");
        assert!(String::from_utf8_lossy(&body(page)).contains("cargo xtask build"), "{uri}");
    }
    assert!(web.respond(&request("GET", "/assets/a.txt", &[])).is_none());
}

/// Whatever this binary was built with: all pages or none, and each with what clients look for.
#[test]
fn pages_in_this_binary() {
    let web = Web::new(&[], false).unwrap();
    for name in ["/vnc.html", "/vnc_auto.html", "/vnc_lite.html", "/?token=T"] {
        let page = web.respond(&request("GET", name, &[])).unwrap();
        if !embedded() {
            assert_eq!(page.status(), 503, "{name}");
            continue;
        }
        assert_eq!(page.status(), 200, "{name}");
        let text = String::from_utf8(body(page).to_vec()).unwrap();
        for needle in ["<html", "</html>", "<script"] {
            assert!(text.contains(needle), "{name}: {needle}");
        }
        // Tempest reads the VNC pages for this word.
        assert_eq!(text.contains("noVNC"), name != "/?token=T", "{name}");
        for forbidden in ["style=", "<style", "onclick", "javascript:", "=\"/", "=\"http"] {
            assert!(!text.contains(forbidden), "{name}: {forbidden}");
        }
        for link in text.split("\"assets/").skip(1) {
            let (asset, _) = link.split_once('"').unwrap();
            let found = web.respond(&request("GET", &format!("/any/prefix/assets/{asset}"), &[]));
            assert_eq!(found.unwrap().status(), 200, "{name}: {asset}");
        }
    }
}
