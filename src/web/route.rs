//! Which page or asset a request path names. Only the end of the path counts: any prefix is ours.

/// The serial page's file; no URL names it, for it answers paths that end in `/`.
pub(super) const SERIAL_PAGE: &str = "serial.html";

/// The page of recordings, on the admin listener too.
pub(super) const RECORDINGS_PAGE: &str = "recordings.html";
/// The operator's page, on the admin listener alone.
pub(super) const OPERATOR_PAGE: &str = "admin.html";

const VNC_PAGES: [&str; 3] = ["vnc.html", "vnc_auto.html", "vnc_lite.html"];

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A page, by its file name.
    Page(&'static str),
    /// `assets/<name>`, by the name alone.
    Asset(&'a str),
}

/// `*/vnc.html`, `*/vnc_auto.html`, `*/vnc_lite.html`, `*/assets/<name>`, and any path ending in `/` whose query
/// has a `token`. Nothing is decoded, joined or looked up on a disk.
///
/// An empty `token` counts: the serial page leaves `?token=` in the address bar, so that a reload finds it again.
pub(super) fn route<'a>(path: &'a str, query: Option<&str>) -> Option<Place<'a>> {
    let (directory, last) = path.rsplit_once('/')?;
    if last.is_empty() {
        return has_token(query?).then_some(Place::Page(SERIAL_PAGE));
    }
    if let Some(page) = VNC_PAGES.into_iter().find(|page| *page == last) {
        return Some(Place::Page(page));
    }
    (directory.rsplit('/').next() == Some("assets")).then_some(Place::Asset(last))
}

fn has_token(query: &str) -> bool {
    query.split('&').any(|pair| pair == "token" || pair.starts_with("token="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let page = |name| Some(Place::Page(name));
        let cases: &[(&str, Option<&str>, Option<Place<'_>>)] = &[
            ("/vnc.html", None, page("vnc.html")),
            ("/vnc_auto.html", Some("token=T"), page("vnc_auto.html")),
            ("/vnc_lite.html", Some("path=%3Ftoken%3DT"), page("vnc_lite.html")),
            ("/vnc/zone.region/vnc_auto.html", Some("token=T"), page("vnc_auto.html")),
            ("//elsewhere.example/vnc.html", None, page("vnc.html")),
            ("/", Some("token=T"), page(SERIAL_PAGE)),
            ("/", Some("a=b&token=T"), page(SERIAL_PAGE)),
            ("/", Some("token="), page(SERIAL_PAGE)),
            ("/", Some("token"), page(SERIAL_PAGE)),
            ("/serial/pod.region/", Some("token=T"), page(SERIAL_PAGE)),
            ("/assets/", Some("token=T"), page(SERIAL_PAGE)),
            ("/assets/a.js", None, Some(Place::Asset("a.js"))),
            ("/x/y/assets/a.js", Some("v=1"), Some(Place::Asset("a.js"))),
            ("/", None, None),
            ("/", Some("mytoken=T"), None),
            ("/", Some("x=token=T"), None),
            ("/serial/pod.region", Some("token=T"), None),
            ("/serial.html", Some("token=T"), None),
            ("/recordings.html", None, None),
            ("/admin.html", None, None),
            ("/vnc.html/", None, None),
            ("/VNC.html", None, None),
            ("/%76nc.html", None, None),
            ("/xassets/a.js", None, None),
            ("/assets/deeper/a.js", None, None),
            ("/assets/..%2fsecret", None, Some(Place::Asset("..%2fsecret"))),
            ("vnc.html", None, None),
            ("*", None, None),
        ];
        for (path, query, expected) in cases {
            assert_eq!(route(path, *query), *expected, "{path} {query:?}");
        }
    }
}
