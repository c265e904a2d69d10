//! The small languages inside the settings: durations, names, endpoints, origins, URLs, URL templates.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Fault, suggestion};
use super::target::{Endpoint, Host};

/// Longest duration any setting takes; beyond it, it is a slip of units.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Longest id, name, zone or region: what Nova's own tables hold.
const NAME_MAX: usize = 255;

/// Longest path of a Unix socket, without the final zero: `sun_path` of unix(7).
const SUN_PATH_MAX: usize = 107;

/// Longest URL template, so that the URL stays within the 4 KiB our own listeners accept.
const TEMPLATE_MAX: usize = 2048;

/// What a URL template may hold in braces.
const PLACEHOLDERS: [&str; 6] = ["token", "public_url", "public_ws_url", "id", "zone", "region"];

/// A length of time above zero.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let parsed = duration_or_zero(text, "a duration such as \"30s\" or \"10m\"")?;
    if parsed.is_zero() {
        return Err(Fault::expected("a duration above zero such as \"30s\" or \"10m\""));
    }
    Ok(parsed)
}

/// A length of time; zero means off.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, Fault> {
    let parsed = duration_or_zero(text, "a duration such as \"30s\", or \"0s\" for off")?;
    Ok(Some(parsed).filter(|duration| !duration.is_zero()))
}

/// A length of time, zero included, in humantime's notation; `form` says what was expected.
pub(super) fn duration_or_zero(text: &str, form: &str) -> Result<Duration, Fault> {
    let parsed = humantime::parse_duration(text).map_err(|_| Fault::expected(form))?;
    match parsed.as_millis() {
        0 if !parsed.is_zero() => Err(Fault::expected("at least one millisecond")),
        _ if parsed > LONGEST => Err(Fault::expected("a duration of at most 366 days")),
        _ => Ok(parsed),
    }
}

/// A count of bytes such as `20GiB`; `0` means no limit.
pub(super) fn size_or_none(text: &str) -> Result<Option<u64>, Fault> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let form = || Fault::expected("a size such as \"500MiB\" or \"20GiB\", or \"0\" for no limit");
    if text == "0" {
        return Ok(None);
    }
    let unit = UNITS.iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?.trim_end(), *shift)));
    let (digits, shift) = unit.ok_or_else(form)?;
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    // 2^10 of the largest unit is more than file systems hold.
    let number = number.filter(|number| (1..=1 << (50 - shift)).contains(number)).ok_or_else(form)?;
    Ok(Some(number << shift))
}

/// An address to listen on: a literal address and a port.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        Fault::expected("an address and port such as \"127.0.0.1:6080\" or \"[::1]:6080\" (not a host name)")
    })
}

/// A literal address.
pub(super) fn ip(text: &str) -> Result<IpAddr, Fault> {
    if text.contains('/') {
        return Err(Fault::expected("one address such as \"10.0.0.1\" (networks are not in this version)"));
    }
    text.parse().map_err(|_| Fault::expected("an address such as \"10.0.0.1\""))
}

/// An id that stands in URL paths and look-ups.
pub(super) fn id(text: &str) -> Result<String, Fault> {
    // `/servers/detail` is a list in the compute API; a server of that name could never be addressed.
    if matches!(text, "." | ".." | "detail") {
        return Err(Fault::expected("an id that is not taken by the API's own paths"));
    }
    word(text)
}

/// A word that may stand in a URL: id, zone, region.
pub(super) fn word(text: &str) -> Result<String, Fault> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._~:-".contains(&b);
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(fits) {
        return Err(Fault::expected("1 to 255 letters, digits or . _ ~ : -"));
    }
    Ok(text.to_owned())
}

/// A name for people.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    if text.trim().is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(Fault::expected("a name of 1 to 255 bytes without control characters"));
    }
    Ok(text.to_owned())
}

/// Where a console listens: `tcp://host:port` or `unix:/path`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Fault> {
    const FORM: &str = "\"tcp://host:port\" or \"unix:/path\"";
    let form = || Fault::expected(FORM);
    let (scheme, rest) = text.split_once(':').ok_or_else(form)?;
    match scheme {
        "tcp" => dialled(rest).map(|(host, port)| Endpoint::Tcp(host, port)).ok_or_else(form),
        "unix" => unix_path(rest).map(Endpoint::Unix),
        "tls" | "telnet" | "tty" | "command" => {
            Err(Fault::said("is of a kind that only serial consoles have"))
        }
        _ => Err(form()),
    }
}

/// `//host:port`, as it stands behind the scheme.
pub(super) fn dialled(text: &str) -> Option<(Host, u16)> {
    let (host, port) = authority(text.strip_prefix("//")?)?;
    Some((host, port?))
}

/// A host name or a literal address.
pub(super) fn host_name(text: &str) -> Result<Host, Fault> {
    let parsed = text.parse().map(Host::Ip).ok().or_else(|| host(text));
    parsed.ok_or_else(|| Fault::expected("a host name or an address, such as \"ts1.example.org\""))
}

fn unix_path(text: &str) -> Result<PathBuf, Fault> {
    // `unix:/path` and `unix:///path` are one; in `unix://path` the path would be taken for a host.
    let path = text.strip_prefix("//").unwrap_or(text);
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Fault::expected("an absolute path after unix:, such as \"unix:/run/bm1.serial\""));
    }
    if path.len() > SUN_PATH_MAX {
        return Err(Fault::expected("a socket path of at most 107 bytes"));
    }
    Ok(Path::new(path).to_owned())
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; `None` is malformed.
pub(super) fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']')?;
            let host = Host::Ip(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?));
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            (host(name)?, port)
        }
    };
    let port = match port {
        // `parse` would take a sign.
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((host, port))
}

/// A dotted address or a host name (RFC 1123 labels; underscores are seen in the wild).
fn host(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return ip.is_ipv4().then_some(Host::Ip(ip));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // "127.1" and "0x7f.1" are addresses to some resolvers: a name's last label is never a number.
    let last = name.rsplit('.').next().unwrap_or(name);
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    (name.len() <= 253 && !number && name.split('.').all(label))
        .then(|| Host::Name(name.to_ascii_lowercase()))
}

fn scheme(text: &str) -> Option<(&'static str, &str)> {
    ["http", "https"].into_iter().find_map(|scheme| {
        let head = text.get(..scheme.len())?;
        let rest = text[scheme.len()..].strip_prefix("://")?;
        head.eq_ignore_ascii_case(scheme).then_some((scheme, rest))
    })
}

fn shown(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        Host::Ip(ip) => ip.to_string(),
    }
}

/// `scheme://host[:port]` as browsers send it in `Origin` (RFC 6454 section 6.2): lower case, the scheme's
/// default port left out.
pub(super) fn origin(text: &str) -> Result<String, Fault> {
    let form = || Fault::expected("an origin such as \"https://dashboard.example.org\" (scheme, host, port)");
    let (scheme, rest) = scheme(text).ok_or_else(form)?;
    let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(form)?;
    let default = if scheme == "https" { 443 } else { 80 };
    Ok(match port {
        Some(port) if port != default => format!("{scheme}://{}:{port}", shown(&host)),
        _ => format!("{scheme}://{}", shown(&host)),
    })
}

/// A source of CSP's `frame-ancestors`: `'self'`, or an origin, whose host may begin with `*.`.
pub(super) fn frame_ancestor(text: &str) -> Result<String, Fault> {
    if text == "'self'" {
        return Ok(text.to_owned());
    }
    let form = || Fault::expected("\"'self'\" or an origin such as \"https://*.example.org\"");
    match text.split_once("://*.") {
        Some((scheme, rest)) => origin(&format!("{scheme}://{rest}"))
            .map(|origin| origin.replacen("://", "://*.", 1))
            .map_err(|_| form()),
        None => origin(text).map_err(|_| form()),
    }
}

/// Where browsers reach the proxy: scheme, host, port if written, path prefix; no trailing slash.
pub(super) fn public_url(text: &str) -> Result<String, Fault> {
    let form =
        || Fault::expected("a URL such as \"https://console.example.org\" or \"http://127.0.0.1:6080\"");
    let (scheme, rest) = scheme(text).ok_or_else(form)?;
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority(place).ok_or_else(form)?;
    if matches!(host, Host::Ip(ip) if ip.is_unspecified()) {
        return Err(Fault::expected("an address that browsers can reach"));
    }
    let path = path.trim_end_matches('/');
    let clean = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    if !path.split('/').skip(1).all(clean) {
        return Err(Fault::expected("a plain path prefix (no query, fragment or escapes)"));
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{scheme}://{}{port}{path}", shown(&host)))
}

/// A URL template: known placeholders only, and the token where the proxy looks for it.
pub(super) fn template(text: &str) -> Result<String, Fault> {
    if text.len() > TEMPLATE_MAX || text.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(Fault::expected("a URL template of at most 2048 bytes, without spaces"));
    }
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let name = rest[at..].strip_prefix('{').and_then(|after| after.split_once('}'));
        let (name, after) = name.ok_or_else(|| Fault::said("a brace without its partner"))?;
        if !PLACEHOLDERS.contains(&name) {
            let hint = suggestion(name, &PLACEHOLDERS);
            return Err(Fault::Said(format!("unknown placeholder {{{}}}; {hint}", name.escape_debug())));
        }
        rest = after;
    }
    if !["{public_url}", "{public_ws_url}", "http://", "https://", "ws://", "wss://"]
        .iter()
        .any(|start| text.starts_with(start))
    {
        return Err(Fault::expected("a template that begins with {public_url}, {public_ws_url} or a scheme"));
    }
    // The proxy takes the token from the query alone, plain or inside an escaped `path`.
    if !text.contains("token={token}") && !text.contains("token%3D{token}") {
        return Err(Fault::expected("a template that holds token={token} (or token%3D{token} inside path=)"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good<T: std::fmt::Debug>(parse: fn(&str) -> Result<T, Fault>, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(format!("{:?}", parse(text).as_ref()), format!("Ok({expected})"), "{text}");
        }
    }

    fn bad<T: std::fmt::Debug>(parse: fn(&str) -> Result<T, Fault>, cases: &[&str]) {
        for text in cases {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }

    #[test]
    fn durations() {
        good(duration, &[("10m", "600s"), ("1h 30m", "5400s"), ("1500ms", "1.5s")]);
        bad(duration, &["", "0s", "600", "abc", "-1s", "1ns", "900y"]);
        good(duration_or_off, &[("0s", "None"), ("30s", "Some(30s)")]);
        bad(duration_or_off, &["", "off", "1us"]);
    }

    #[test]
    fn sizes() {
        let cases = [("0", "None"), ("1KiB", "Some(1024)"), ("20 GiB", "Some(21474836480)")];
        good(size_or_none, &cases);
        bad(size_or_none, &["", "1", "0MiB", "-1MiB", "+1MiB", "1.5GiB", "1GB", "1gib", "1025TiB", "MiB"]);
    }

    #[test]
    fn endpoints() {
        for text in ["tcp://127.0.0.1:5901", "tcp://[::1]:5901", "tcp://bm1.example.org:1", "unix:/run/a b"] {
            assert_eq!(endpoint(text).map(|e| e.to_string()), Ok(text.to_owned()));
        }
        good(endpoint, &[("unix:///run/x", "Unix(\"/run/x\")"), ("tcp://A.B.:1", "Tcp(Name(\"a.b\"), 1)")]);
        bad(endpoint, &["", "tcp:", "tcp://", "tcp://h", "tcp://h:0", "tcp://h:65536", "tcp://h:+1", "h:1"]);
        bad(
            endpoint,
            &["tcp://127.1:1", "tcp://0x7f.0x1:1", "tcp://::1:1", "tcp://[1.2.3.4]:1", "tcp://a/b:1"],
        );
        bad(
            endpoint,
            &["tcp://u@h:1", "tcp://-a:1", "tcp://a..b:1", "unix:run", "unix://run/x", "http://h:1"],
        );
        bad(endpoint, &[&format!("unix:/{}", "x".repeat(107))]);
        assert!(matches!(endpoint("telnet://h:23"), Err(Fault::Said(_))));
    }

    #[test]
    fn origins() {
        let cases = [
            ("https://A.example:443", "\"https://a.example\""),
            ("http://a.example:80/", "\"http://a.example\""),
            ("HTTP://a:443", "\"http://a:443\""),
            ("http://[0:0::1]:8", "\"http://[::1]:8\""),
        ];
        good(origin, &cases);
        bad(
            origin,
            &["null", "*", "a.example", "https://a/b", "https://a:", "ws://a", "https://u@a", "https://*"],
        );
        good(frame_ancestor, &[("'self'", "\"'self'\""), ("https://*.A.b:443", "\"https://*.a.b\"")]);
        bad(
            frame_ancestor,
            &["self", "'none'", "*", "https://a; script-src *", "https://a.*", "https://*.*.a"],
        );
    }

    #[test]
    fn public_urls() {
        let cases = [
            ("https://H.example:443/", "\"https://h.example:443\""),
            ("http://127.0.0.1:6080", "\"http://127.0.0.1:6080\""),
            ("https://[::1]/a/b", "\"https://[::1]/a/b\""),
        ];
        good(public_url, &cases);
        bad(
            public_url,
            &["console.example.org", "//h", "ftp://h", "https://", "http://0.0.0.0:1", "http://[::]"],
        );
        bad(public_url, &["https://h/?a", "https://h/#a", "https://h//a", "https://h/../a", "https://h/%2e"]);
    }

    #[test]
    fn templates() {
        for text in [
            "{public_url}/vnc_lite.html?path=%3Ftoken%3D{token}",
            "{public_ws_url}/?token={token}",
            "{public_url}/serial/{zone}.{region}/?token={token}",
            "https://other.example/{id}?token={token}",
        ] {
            assert_eq!(template(text), Ok(text.to_owned()));
        }
        bad(
            template,
            &["", "{public_url}/", "{public_url}/{token}", "/?token={token}", "{public_url}?token={tokn}"],
        );
        bad(
            template,
            &["{public_url}/?token={token}{", "{public_url}}/?token={token}", "{public_url}/ ?token={token}"],
        );
    }

    #[test]
    fn names() {
        bad(id, &["", "detail", "..", "a/b", "a b", "a?", "é", &"x".repeat(256)]);
        good(id, &[("47e9be4e-a7b9-471f-92d9-ffc83814e07a", "\"47e9be4e-a7b9-471f-92d9-ffc83814e07a\"")]);
        bad(name, &["", " ", "a\nb", "a\u{9b}b"]);
        good(name, &[("bm1 (lab) é", "\"bm1 (lab) é\"")]);
        bad(ip, &["10.0.0.0/8", "host", "1.2.3"]);
        bad(listen, &["localhost:1", "1.2.3.4", ":80", "::1:80"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|(tcp|unix|https?)://?[\\[\\]a-z0-9.:/*{}-]{0,20}") {
            let _ = (endpoint(&text), origin(&text), public_url(&text));
            let _ = (template(&text), frame_ancestor(&text));
        }

        #[test]
        fn what_is_accepted_is_stable(text in "(https?|HTTP)://[a-zA-Z0-9.\\[\\]:-]{1,20}(/[a-z]{1,3})?/?") {
            if let Ok(once) = public_url(&text) {
                prop_assert_eq!(public_url(&once), Ok(once.clone()));
            }
            if let Ok(once) = origin(&text) {
                prop_assert_eq!(origin(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn an_endpoint_reads_back(text in "(tcp://[a-z0-9.\\[\\]:-]{1,20}:[0-9]{1,5}|unix:/[ -~]{0,20})") {
            if let Ok(once) = endpoint(&text) {
                prop_assert_eq!(endpoint(&once.to_string()), Ok(once));
            }
        }
    }
}
