//! Paths: `/v2.1`, `/v2`, with and without a project id, and what lies below.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path taken apart. No `Debug`: it may hold a token.
pub(super) struct Path<'a> {
    /// Below `/v2`: nova's API before microversions.
    pub(super) legacy: bool,
    /// The project id in the path, if there is one.
    pub(super) project: Option<Cow<'a, str>>,
    pub(super) route: Route<'a>,
}

/// What a path names.
pub(super) enum Route<'a> {
    /// `/`: all versions.
    Versions,
    /// `/v2.1` or `/v2`: that version.
    Version,
    /// `servers`, `servers/detail`.
    Servers { detail: bool },
    /// `servers/{id}`.
    Server(Cow<'a, str>),
    /// `servers/{id}/remote-consoles`.
    RemoteConsoles(Cow<'a, str>),
    /// `servers/{id}/action`.
    Action(Cow<'a, str>),
    /// `os-console-auth-tokens/{token}`.
    AuthToken(Cow<'a, str>),
    /// Below a version, but nothing of ours.
    Unknown,
}

const READ: &str = "GET, HEAD";
const CREATE: &str = "POST";

impl Route<'_> {
    /// The route's template: a name for logs and metrics, without anybody's ids.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::Versions => "/",
            Self::Version => "/v2.1",
            Self::Servers { detail: false } => "/v2.1/servers",
            Self::Servers { detail: true } => "/v2.1/servers/detail",
            Self::Server(_) => "/v2.1/servers/{id}",
            Self::RemoteConsoles(_) => "/v2.1/servers/{id}/remote-consoles",
            Self::Action(_) => "/v2.1/servers/{id}/action",
            Self::AuthToken(_) => "/v2.1/os-console-auth-tokens/{token}",
            Self::Unknown => "unknown",
        }
    }

    /// The methods it answers, as in `Allow`.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::RemoteConsoles(_) | Self::Action(_) => CREATE,
            _ => READ,
        }
    }

    /// Whether anybody may ask, without a credential.
    pub(super) fn is_discovery(&self) -> bool {
        matches!(self, Self::Versions | Self::Version)
    }
}

/// Whether the path is the compute API's. With a token in the query, `/`, `/v2` and `/v2.1` are a console's
/// page on a listener that serves both.
pub(in crate::api) fn owns(path: &str, query: &str) -> bool {
    let has_token = || query.split('&').any(|pair| pair == "token" || pair.starts_with("token="));
    match path.strip_prefix("/v2.1").or_else(|| path.strip_prefix("/v2")) {
        Some("" | "/") => !has_token(),
        Some(rest) => rest.starts_with('/'),
        None => path == "/" && !has_token(),
    }
}

/// Takes a path apart that is [owned](owns).
pub(super) fn parse(path: &str) -> Path<'_> {
    let (legacy, rest) = match path.strip_prefix("/v2.1") {
        Some(rest) => (false, rest),
        None => (true, path.strip_prefix("/v2").unwrap_or_default()),
    };
    if path == "/" {
        return Path { legacy: false, project: None, route: Route::Versions };
    }
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Path { legacy, project: None, route: Route::Version };
    }
    let unknown = |project| Path { legacy, project, route: Route::Unknown };
    let Some(segments) = segments(rest) else { return unknown(None) };
    let [first, second, third, fourth, more] = segments;
    match first {
        Some(name) if name == "servers" || name == "os-console-auth-tokens" => {
            Path { legacy, project: None, route: below_project(name, second, third, fourth.or(more)) }
        }
        Some(project) if !project.is_empty() => match second {
            Some(name) => {
                Path { legacy, project: Some(project), route: below_project(name, third, fourth, more) }
            }
            None => unknown(Some(project)),
        },
        _ => unknown(None),
    }
}

/// The first five segments of a path, decoded; the fifth stands for all that follow. None if one is no text.
fn segments(path: &str) -> Option<[Option<Cow<'_, str>>; 5]> {
    let plain = !path.contains('%');
    let mut all = [const { None }; 5];
    let (mut at, mut left) = (0, Some(path));
    while let Some(rest) = left {
        // Segments are short: a search that looks at many bytes at once takes longer to begin.
        let end = rest.bytes().position(|byte| byte == b'/');
        let segment = end.map_or(rest, |end| &rest[..end]);
        let text = match plain {
            true => Cow::Borrowed(segment),
            false => percent_decode_str(segment).decode_utf8().ok()?,
        };
        all[at.min(4)] = Some(text);
        (at, left) = (at + 1, end.map(|end| &rest[end + 1..]));
    }
    Some(all)
}

/// What a path names: at most three segments.
fn below_project<'a>(
    name: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
    what: Option<Cow<'a, str>>,
    more: Option<Cow<'a, str>>,
) -> Route<'a> {
    match (&*name, id, what.as_deref(), more) {
        ("servers", None, None, None) => Route::Servers { detail: false },
        ("servers", Some(id), None, None) if id == "detail" => Route::Servers { detail: true },
        ("servers", Some(id), what, None) if !id.is_empty() => match what {
            None => Route::Server(id),
            Some("remote-consoles") => Route::RemoteConsoles(id),
            Some("action") => Route::Action(id),
            Some(_) => Route::Unknown,
        },
        ("os-console-auth-tokens", Some(token), None, None) if !token.is_empty() => Route::AuthToken(token),
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owns_its_paths_and_no_page() {
        let check = |path: &str, query: &str, own: bool| assert_eq!(owns(path, query), own, "{path}?{query}");
        for path in ["/", "/v2.1", "/v2.1/", "/v2", "/v2/"] {
            check(path, "", true);
            check(path, "limit=1&tokens=2", true);
            check(path, "token=x", false);
            check(path, "a=b&token=x", false);
            check(path, "token", false);
        }
        check("/v2.1/servers", "token=x", true);
        check("/v2/p/servers/s/action", "", true);
        for path in
            ["", "*", "/v2.10", "/v2.1x/servers", "/v3", "/v1/p/servers", "/vnc.html", "//v2.1", "/V2.1"]
        {
            check(path, "", false);
        }
    }

    #[test]
    fn every_form_of_every_path() {
        let check = |path: &str, template: &str, id: &str| {
            for (prefix, legacy) in [("/v2.1", false), ("/v2", true)] {
                for project in [None, Some("9c53a566cb3443ab910cf0daebca90c4")] {
                    for slash in ["", "/"] {
                        let middle = project.map(|p| format!("/{p}")).unwrap_or_default();
                        let whole = format!("{prefix}{middle}{path}{slash}");
                        let parsed = parse(&whole);
                        assert_eq!((parsed.legacy, parsed.project.as_deref()), (legacy, project), "{path}");
                        assert_eq!(parsed.route.template(), template, "{path}");
                        let found = match parsed.route {
                            Route::Server(id) | Route::RemoteConsoles(id) => id,
                            Route::Action(id) | Route::AuthToken(id) => id,
                            _ => Cow::default(),
                        };
                        assert_eq!(found, id, "{path}");
                    }
                }
            }
        };
        check("/servers", "/v2.1/servers", "");
        check("/servers/detail", "/v2.1/servers/detail", "");
        check("/servers/abc", "/v2.1/servers/{id}", "abc");
        check("/servers/a%20b%2F", "/v2.1/servers/{id}", "a b/");
        check("/servers/abc/remote-consoles", "/v2.1/servers/{id}/remote-consoles", "abc");
        check("/servers/abc/action", "/v2.1/servers/{id}/action", "abc");
        check("/os-console-auth-tokens/t", "/v2.1/os-console-auth-tokens/{token}", "t");
        check("/servers/abc/actions", "unknown", "");
        check("/servers//action", "unknown", "");
        check("/servers/a/b/c", "unknown", "");
        check("/os-console-auth-tokens", "unknown", "");
    }

    #[test]
    fn versions_and_the_rest() {
        let check = |path: &str, template: &str| assert_eq!(parse(path).route.template(), template, "{path}");
        check("/", "/");
        check("/v2.1", "/v2.1");
        check("/v2.1/", "/v2.1");
        check("/v2", "/v2.1");
        check("/v2.1/p", "unknown");
        check("/v2.1/p/images", "unknown");
        check("/v2.1//servers", "unknown");
        check("/v2.1/servers/%ff", "unknown");
    }
}
