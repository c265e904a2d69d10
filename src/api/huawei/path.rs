//! Paths: `/v1/{project_id}/...` of each dialect, and the list of projects.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Console;

/// What a path names. No `Debug`: nothing is known of what is in it.
pub(super) enum Path<'a> {
    /// A dialect's console.
    Console(Ids<'a>),
    /// `/v3/projects`.
    Projects,
    /// Nothing of ours.
    Unknown,
}

/// The ids in a console's path.
pub(super) struct Ids<'a> {
    pub(super) project: Cow<'a, str>,
    pub(super) server: Cow<'a, str>,
}

/// What stands before the project's id.
const ROOT: &str = "/v1/";

const PROJECTS: &str = "/v3/projects";

/// Whether the path is Huawei's, if no dialect's own.
pub(in crate::api) fn owns(path: &str) -> bool {
    path.starts_with(ROOT) || is_projects(path)
}

fn is_projects(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == PROJECTS
}

impl Path<'_> {
    /// The route's template, for logs and metrics.
    pub(super) fn template(&self, console: Option<&Console>) -> &'static str {
        match (self, console) {
            (Self::Console(_), Some(console)) => console.route,
            (Self::Projects, _) => PROJECTS,
            (Self::Console(_) | Self::Unknown, _) => "unknown",
        }
    }

    /// A path that is no dialect's.
    pub(super) fn without(path: &str) -> Self {
        if is_projects(path) { Self::Projects } else { Self::Unknown }
    }
}

/// An id as it was meant; `None` if that is no text.
fn decode(id: &str) -> Option<Cow<'_, str>> {
    match id.contains('%') {
        true => percent_decode_str(id).decode_utf8().ok(),
        false => Some(Cow::Borrowed(id)),
    }
}

impl Console {
    /// Whether the path is this dialect's.
    pub(in crate::api) fn owns(&self, path: &str) -> bool {
        matches!(self.path(path), Path::Console(_))
    }

    /// Takes the path apart: the route's names as they are, anything not empty in the place of its braces.
    pub(super) fn path<'a>(&self, path: &'a str) -> Path<'a> {
        let ids = || {
            let path = path.strip_suffix('/').unwrap_or(path);
            let (project, rest) = segment(path.strip_prefix(ROOT)?)?;
            let (server, rest) = segment(rest.strip_prefix(self.collection)?.strip_prefix('/')?)?;
            let both = rest == self.action && !project.is_empty() && !server.is_empty();
            both.then_some((project, server))
        };
        let decoded = ids().and_then(|(project, server)| Some((decode(project)?, decode(server)?)));
        decoded.map_or(Path::Unknown, |(project, server)| Path::Console(Ids { project, server }))
    }
}

/// What stands before the next slash, and behind it. Segments are short: a search that looks at many bytes at once takes
/// longer to begin.
fn segment(path: &str) -> Option<(&str, &str)> {
    let end = path.bytes().position(|byte| byte == b'/')?;
    Some((&path[..end], &path[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::super::super::{huawei_bms, huawei_clouddc, huawei_ecs};
    use super::*;

    #[test]
    fn each_dialect_owns_its_path_alone() {
        let all = [&huawei_bms::CONSOLE, &huawei_clouddc::CONSOLE, &huawei_ecs::CONSOLE];
        let check = |path: &str, expected: Option<usize>| {
            for (at, console) in all.iter().enumerate() {
                assert_eq!(console.owns(path), expected == Some(at), "{path}");
            }
        };
        check("/v1/p/baremetalservers/s/remote_console", Some(0));
        check("/v1/p/baremetalservers/s/remote_console/", Some(0));
        check("/v1/p/physicalservers/s/remote-console-address", Some(1));
        check("/v1/p/cloudservers/s/remote_console", Some(2));
        for path in [
            "/v1/p/cloudservers/s/remote_consoles",
            "/v1/p/cloudservers/s/remote_console/x",
            "/v1/p/cloudservers/s/remote_console//",
            "/v1/p/cloudservers//remote_console",
            "/v1//cloudservers/s/remote_console",
            "/v1/p/cloudservers/%ff/remote_console",
            "/v1/p/physicalservers/s/remote_console",
            "/v1/p/cloudservers/s",
            "/v1.1/p/cloudservers/s/remote_console",
            "/v2/p/cloudservers/s/remote_console",
            "/v1",
            "",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn routes_are_made_of_their_parts() {
        for console in [&huawei_bms::CONSOLE, &huawei_clouddc::CONSOLE, &huawei_ecs::CONSOLE] {
            let Console { route, collection, action, .. } = console;
            let segments: Vec<&str> = route.split('/').collect();
            let ["", "v1", "{project_id}", of, id, last] = segments[..] else { panic!("{route}") };
            assert_eq!((of, last), (*collection, *action));
            assert!(id.starts_with('{') && id.ends_with('}'), "{route}");
        }
    }

    #[test]
    fn ids_are_decoded() {
        let Path::Console(Ids { project, server }) =
            huawei_ecs::CONSOLE.path("/v1/a%2Fb/cloudservers/c%20d/remote_console")
        else {
            panic!("not a path of ours")
        };
        assert_eq!((&*project, &*server), ("a/b", "c d"));
    }

    #[test]
    fn what_is_left_is_refused_in_huaweis_words_and_pages_are_not() {
        let check = |path: &str, own: bool| assert_eq!(owns(path), own, "{path}");
        check("/v1/p/cloudservers", true);
        check("/v3/projects", true);
        check("/v3/projects/", true);
        check("/v3/projects/x", false);
        check("/v3", false);
        check("/v1", false);
        check("/v1.html", false);
        check("/", false);
    }
}
