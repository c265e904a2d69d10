//! OpenStack compute (nova 34.0.0's words), and OTC's BMS API, which is its `os-getSerialConsole`.
//!
//! The order of the checks is the order of the faults: credential, microversion, body, schema, server, policy,
//! console type, state, ability.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::auth::Caller;
use crate::config::Dialect;
use crate::ids::{GrantId, Protocol, RequestId};

use super::{Call, Core};

mod auth_tokens;
mod consoles;
mod discovery;
mod fault;
mod microversion;
mod route;
mod schema;
mod servers;

#[cfg(test)]
mod tests;

use fault::{Fault, More};
use microversion::Microversion;
use route::{Path, Route};

pub(super) use route::owns;

/// Nova's two names for the request id.
const REQUEST_ID: [&str; 2] = ["x-openstack-request-id", "x-compute-request-id"];

/// What the log says of a request, gathered on its way.
struct Trail {
    request: RequestId,
    route: &'static str,
    caller: Option<Caller>,
    target: Option<String>,
    protocol: Option<Protocol>,
    issued: Option<(GrantId, String)>,
}

/// Answers a request whose path is [owned](owns).
pub(super) async fn answer(core: &Core, call: Call) -> Response<Full<Bytes>> {
    let path = route::parse(&call.path);
    let base = discovery::base(&core.settings, &call.headers);
    let mut trail = Trail {
        request: call.request,
        route: path.route.template(),
        caller: None,
        target: None,
        protocol: None,
        issued: None,
    };
    // As nova does, `/v2` knows no microversions, neither in nor out.
    let mut echo = None;
    let result = run(core, call, &path, &base, &mut trail, &mut echo).await;
    trail.log(result.as_ref().err());
    let mut response = match result {
        Ok(body) => respond(StatusCode::OK, &body),
        Err(fault) => refuse(&fault, &core.authenticator.challenge(&base)),
    };
    let request = trail.request.to_string();
    let headers = response.headers_mut();
    for name in REQUEST_ID {
        set(headers, HeaderName::from_static(name), &request);
    }
    if let Some(version) = echo.filter(|_| !path.legacy) {
        let version: Microversion = version;
        set(headers, HeaderName::from_static(microversion::HEADER), &format!("compute {version}"));
        set(headers, HeaderName::from_static(microversion::LEGACY_HEADER), &version.to_string());
        headers.insert(VARY, HeaderValue::from_static("OpenStack-API-Version, X-OpenStack-Nova-API-Version"));
    }
    response
}

async fn run(
    core: &Core,
    mut call: Call,
    path: &Path,
    base: &str,
    trail: &mut Trail,
    echo: &mut Option<Microversion>,
) -> Result<Value, Fault> {
    if path.route.is_discovery() {
        check_method(&call, &path.route)?;
        return Ok(match path.route {
            Route::Versions => discovery::versions(base),
            _ => discovery::version(base, path.legacy),
        });
    }
    let caller = core.caller(&mut call).await?;
    trail.caller = Some(caller.clone());
    let version = if path.legacy { Microversion::MIN } else { Microversion::of(&call.headers)? };
    *echo = Some(version);
    check_route(core, &path.route, version)?;
    check_method(&call, &path.route)?;
    let query = call.query.clone();
    let body = body(call, &path.route).await?;
    check_project(path, &caller)?;
    let at = consoles::Context { core, caller: &caller, version, legacy: path.legacy };
    match &path.route {
        Route::Servers { detail } => servers::list(core, &caller, &query, *detail, base),
        Route::Server(id) => servers::show(core, &caller, id, base),
        Route::RemoteConsoles(id) => {
            trail.target = Some(id.clone());
            consoles::create(at, id, &body, trail).await
        }
        Route::Action(id) => {
            trail.target = Some(id.clone());
            consoles::action(at, id, &body, trail).await
        }
        Route::AuthToken(token) => auth_tokens::show(core, &caller, version, token).await,
        Route::Versions | Route::Version | Route::Unknown => Err(Fault::no_route()),
    }
}

/// Whether there is such a route in this version and these dialects.
fn check_route(core: &Core, route: &Route, version: Microversion) -> Result<(), Fault> {
    let nova = core.serves(Dialect::Openstack);
    let there = match route {
        Route::Unknown => false,
        Route::RemoteConsoles(_) => nova && consoles::is_created_at(version),
        Route::AuthToken(_) => nova,
        _ => true,
    };
    there.then_some(()).ok_or_else(Fault::no_route)
}

fn check_method(call: &Call, route: &Route) -> Result<(), Fault> {
    let allowed = route.methods();
    let known = allowed.split(", ").any(|method| method == call.method.as_str());
    known.then_some(()).ok_or_else(|| Fault::method(allowed))
}

/// The project in the URL is the caller's, whoever the caller is.
fn check_project(path: &Path, caller: &Caller) -> Result<(), Fault> {
    match &path.project {
        Some(project) if project != caller.project.as_str() => Err(Fault::bad_request(
            "project",
            format!(
                "Malformed request URL: URL's project_id '{project}' doesn't match Context's project_id '{}'",
                caller.project
            ),
        )),
        _ => Ok(()),
    }
}

/// The body as JSON, of the routes that have one; an empty one is `null`, as for nova's schemas. A media type
/// that is not JSON is refused wherever it is sent.
async fn body(call: Call, route: &Route) -> Result<Value, Fault> {
    if !is_json(&call.headers) {
        let message = "Unsupported Content-Type";
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message));
    }
    if !matches!(route, Route::RemoteConsoles(_) | Route::Action(_)) {
        return Ok(Value::Null);
    }
    let bytes = call.body.await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|_| Fault::malformed_body())
}

/// Nova takes no type and `text/plain`, some libraries' default, for JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    let known = ["", "text/plain", "application/json", "application/vnd.openstack.compute+json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(fault: &Fault, challenge: &str) -> Response<Full<Bytes>> {
    let mut response = respond(fault.status, &fault.body());
    let headers = response.headers_mut();
    if fault.status == StatusCode::UNAUTHORIZED {
        set(headers, WWW_AUTHENTICATE, challenge);
    }
    match fault.more {
        More::Nothing => {}
        More::Allow(methods) => set(headers, ALLOW, methods),
        More::RetryAfter(seconds) => set(headers, RETRY_AFTER, &seconds.to_string()),
        More::Close => set(headers, CONNECTION, "close"),
    }
    response
}

/// All values come from here and are visible ASCII.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Trail {
    /// One line a decision: a console issued, a request refused. Neither path nor query, for both may hold a
    /// token; names that callers chose are escaped.
    fn log(&self, fault: Option<&Fault>) {
        let user = self.caller.as_ref().map(|caller| caller.user.as_str());
        let project = self.caller.as_ref().map(|caller| caller.project.as_str());
        let (request, route, target) = (&self.request, self.route, self.target.as_deref());
        let protocol = self.protocol.map(Protocol::as_str);
        match (fault, &self.issued) {
            // Clients look a name up as if it were an id first: no refusal worth a line.
            (Some(Fault { cause: "no-server", .. }), _) if target.is_none() => {
                tracing::debug!(%request, route, project, user, "no such server");
            }
            (Some(Fault { status, cause, .. }), _) => {
                let status = status.as_u16();
                tracing::info!(%request, route, target, project, user, protocol, status, cause, "request refused");
            }
            (None, Some((grant, token))) => {
                tracing::info!(
                    %request, route, target, project, user, protocol, %grant, token, cause = "requested",
                    "console issued"
                );
            }
            (None, None) => tracing::debug!(%request, route, project, user, "request answered"),
        }
    }
}
