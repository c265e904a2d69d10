//! What Huawei's dialects share: the order of the checks, the error's shape, and the list of projects that their
//! SDKs ask for. A dialect is a [`Console`].
//!
//! The order of the checks is the order of the refusals: credential, path, method, project, body, server,
//! permission, operating system, state, console, limits.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode};

use crate::auth::{Caller, policy};
use crate::config::{Dialect, Kind, Permission, Target, Urls};
use crate::ids::{Protocol, RequestId};
use crate::tokens::Options;

use super::answer::{self, Body, Shape, set};
use super::issue::{Ask, By};
use super::trail::Trail;
use super::url::Template;
use super::{Call, Core, Payload, cause};

mod body;
mod path;
mod projects;
mod refusal;

#[cfg(test)]
mod tests;

pub(super) use body::Pair;
pub(super) use path::owns;
pub(super) use refusal::Refusal;

use path::{Ids, Path};

/// Huawei's name for the request id.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers of answers that refuse nothing.
static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::new(std::slice::from_ref(&REQUEST_ID), unkept));

/// A GET's answer may hold a URL that works once.
fn unkept(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The project a caller says it acts for; every SDK sends it.
static PROJECT: HeaderName = HeaderName::from_static("x-project-id");

/// One dialect: a way to one kind of console.
pub(super) struct Console {
    pub(super) dialect: Dialect,
    /// The path, of which the segments in braces are the project's and the server's id.
    pub(super) route: &'static str,
    /// The route's segment between the two ids.
    pub(super) collection: &'static str,
    /// The route's last segment.
    pub(super) action: &'static str,
    /// What a caller needs, as IAM names it.
    pub(super) permission: Permission,
    /// The servers it sees.
    pub(super) kind: Kind,
    pub(super) protocol: Protocol,
    pub(super) form: Form,
    pub(super) template: fn(&Urls<Template>) -> &Template,
    /// Whether a server the caller may open is one that this dialect opens.
    pub(super) admit: fn(&Target) -> Result<(), Refusal>,
}

/// How it is asked and answered.
pub(super) enum Form {
    /// A POST whose body names this pair, answered with pair and URL.
    RemoteConsole(Pair),
    /// A GET, answered with the URL alone.
    Address,
}

impl Form {
    fn methods(&self) -> &'static str {
        match self {
            Self::RemoteConsole(_) => "POST",
            // Not HEAD: it would make a URL that nobody sees.
            Self::Address => "GET",
        }
    }

    fn render(&self, url: &str) -> Body {
        match self {
            Self::RemoteConsole(Pair { protocol, kind }) => {
                let fields = [("protocol", *protocol), ("type", *kind), ("url", url)];
                Body::texts(Some("remote_console"), &fields)
            }
            Self::Address => Body::texts(None, &[("url", url)]),
        }
    }
}

/// Answers a request of a dialect, or, without one, of the paths that belong to none of them.
pub(super) async fn handle(
    core: &Core,
    call: &Call,
    body: &mut Payload,
    console: Option<&Console>,
) -> Response<Full<Bytes>> {
    let path = console.map_or_else(|| Path::without(call.path()), |console| console.path(call.path()));
    // Those that ask for the projects, or get lost, are on their way to some dialect of ours.
    let dialect = console.map_or(Dialect::HuaweiEcs, |console| console.dialect);
    let mut id = [0; RequestId::LEN];
    let id = call.request.encode(&mut id);
    let mut trail = Trail::new((call, id), dialect, path.template(console));
    let result = match (console, &path) {
        (Some(console), Path::Console(ids)) => {
            trail.target = Some(&ids.server);
            open(core, (call, body), console, ids, &mut trail).await
        }
        (_, path) => other(core, (call, body), path, &mut trail).await,
    };
    trail.log(core, result.as_ref().err().map(|refusal| (refusal.status, refusal.cause)));
    let mut response = match result {
        Ok(body) => return SHAPE.answer(StatusCode::OK, body, id),
        Err(refusal) => refuse(&refusal, id),
    };
    let headers = response.headers_mut();
    headers.insert(&REQUEST_ID, answer::id(id));
    unkept(headers);
    response
}

async fn open(
    core: &Core,
    (call, body): (&Call, &mut Payload),
    console: &Console,
    ids: &Ids<'_>,
    trail: &mut Trail<'_>,
) -> Result<Body, Refusal> {
    let caller = core.caller(call, body).await?;
    trail.caller = Some(Arc::clone(&caller));
    check_method(call, console.form.methods())?;
    check_project(&ids.project, &call.headers, &caller)?;
    if let Form::RemoteConsole(pair) = &console.form {
        pair.check(call, body).await?;
    }
    // The URL's project is the caller's, and a server of another is not below it, for administrators neither.
    let entry = core.inventory.look_up(&ids.server);
    let seen = |target: &Target| target.project == caller.project && target.kind == console.kind;
    let entry = entry.filter(|entry| seen(&entry.target)).ok_or_else(|| Refusal::no_server(&ids.server))?;
    if !policy::may(&caller, console.permission, &entry.target.project) {
        return Err(Refusal::forbidden(console.permission));
    }
    trail.protocol = Some(console.protocol);
    (console.admit)(&entry.target)?;
    let ask = Ask {
        request: trail.request,
        entry: &entry,
        protocol: console.protocol,
        by: By::Caller(&caller),
        via: trail.via(),
        ttl: core.settings.lifetimes.get(&console.dialect).copied(),
        options: Options::default(),
        template: (console.template)(&core.settings.urls),
    };
    let issued = core.issue(&ask).await.map_err(|error| Refusal::issue(&error, &ids.server))?;
    Ok(console.form.render(&trail.issued(issued)))
}

/// Paths that lead to no console.
async fn other(
    core: &Core,
    (call, body): (&Call, &mut Payload),
    path: &Path<'_>,
    trail: &mut Trail<'_>,
) -> Result<Body, Refusal> {
    let caller = core.caller(call, body).await?;
    trail.caller = Some(Arc::clone(&caller));
    match path {
        Path::Projects => {
            check_method(call, "GET, HEAD")?;
            Ok(projects::list(core, &caller, call.query()).into())
        }
        Path::Console(_) | Path::Unknown => Err(Refusal::no_route()),
    }
}

fn check_method(call: &Call, allowed: &'static str) -> Result<(), Refusal> {
    let sent = call.method.as_str();
    let known = sent == allowed || allowed.split(", ").any(|method| method == sent);
    known.then_some(()).ok_or_else(|| Refusal::method(allowed))
}

/// The projects in the URL and in the headers are the caller's, whoever the caller is.
fn check_project(project: &str, headers: &HeaderMap, caller: &Caller) -> Result<(), Refusal> {
    let own = caller.project.as_str();
    if project != own {
        return Err(Refusal::project("The project in the URL"));
    }
    let same = headers.get_all(&PROJECT).iter().all(|value| value.as_bytes() == own.as_bytes());
    same.then_some(()).ok_or_else(|| Refusal::project("The project in X-Project-Id"))
}

fn refuse(refusal: &Refusal, request: &str) -> Response<Full<Bytes>> {
    let mut response = answer::json(refusal.status, refusal.body(request));
    let headers = response.headers_mut();
    set(headers, HeaderName::from_static(cause::HEADER), cause::code(refusal.cause));
    if refusal.status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 wants a challenge; this is the scheme of Huawei's SDKs.
        set(headers, WWW_AUTHENTICATE, "SDK-HMAC-SHA256");
    }
    refusal.more.set(headers);
    response
}
