//! OpenStack compute (nova 34.0.0's words), and OTC's BMS API, which is its `os-getSerialConsole`.
//!
//! The order of the checks is the order of the faults: credential, microversion, body, schema, server, policy,
//! console type, state, ability.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::auth::Caller;
use crate::config::Dialect;

use super::answer::{self, is_json, set};
use super::trail::Trail;
use super::{Call, Core, cause};

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

use fault::Fault;
use microversion::Microversion;
use route::{Path, Route};

pub(super) use route::owns;

/// Nova's two names for the request id.
const REQUEST_ID: [&str; 2] = ["x-openstack-request-id", "x-compute-request-id"];

/// Answers a request whose path is [owned](owns).
pub(super) async fn handle(core: &Core, call: Call) -> Response<Full<Bytes>> {
    let path = route::parse(&call.path);
    let base = discovery::base(&core.settings, &call.headers);
    let mut trail = Trail::new(&call, Dialect::Openstack, path.route.template());
    // As nova does, `/v2` knows no microversions, neither in nor out.
    let mut echo = None;
    let result = run(core, call, &path, &base, &mut trail, &mut echo).await;
    trail.log(core, result.as_ref().err().map(|fault| (fault.status, fault.cause)));
    let mut response = match result {
        Ok(body) => answer::json(StatusCode::OK, &body),
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

fn refuse(fault: &Fault, challenge: &str) -> Response<Full<Bytes>> {
    let mut response = answer::json(fault.status, &fault.body());
    let headers = response.headers_mut();
    if fault.status == StatusCode::UNAUTHORIZED {
        set(headers, WWW_AUTHENTICATE, challenge);
    }
    fault.more.set(headers);
    set(headers, HeaderName::from_static(cause::HEADER), cause::code(fault.cause));
    response
}
