//! OpenStack compute (nova 34.0.0's words), and OTC's BMS API, which is its `os-getSerialConsole`.
//!
//! The order of the checks is the order of the faults: credential, microversion, body, schema, server, policy,
//! console type, state, ability.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::auth::Caller;
use crate::config::Dialect;
use crate::ids::RequestId;

use super::answer::{self, Body, Shape, is_json, set};
use super::body::Sent;
use super::trail::Trail;
use super::{Call, Core, Payload, cause};

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

use discovery::Base;
use fault::Fault;
use microversion::Microversion;
use route::{Path, Route};

pub(super) use route::owns;

/// Nova's two names for the request id.
static REQUEST_ID: [HeaderName; 2] =
    [HeaderName::from_static("x-openstack-request-id"), HeaderName::from_static("x-compute-request-id")];

/// Answers a request whose path is [owned](owns).
pub(super) async fn handle(core: &Core, call: &Call, body: &mut Payload) -> Response<Full<Bytes>> {
    let path = route::parse(call.path());
    let base = Base::new(&core.settings, &call.headers);
    let mut id = [0; RequestId::LEN];
    let id = call.request.encode(&mut id);
    let mut trail = Trail::new((call, id), Dialect::Openstack, path.route.template());
    // As nova does, `/v2` knows no microversions, neither in nor out.
    let mut echo = None;
    let result = run(core, (call, body), &path, &base, &mut trail, &mut echo).await;
    trail.log(core, result.as_ref().err().map(|fault| (fault.status, fault.cause)));
    let version = echo.filter(|_| !path.legacy);
    let mut response = match result {
        Ok(body) => return shape(version).answer(StatusCode::OK, body, id),
        Err(fault) => refuse(&fault, &core.authenticator.challenge(&base.url())),
    };
    let request = answer::id(id);
    let headers = response.headers_mut();
    for name in &REQUEST_ID {
        headers.insert(name, request.clone());
    }
    tell_version(version, headers);
    response
}

/// The headers of answers in this version.
fn shape(version: Option<Microversion>) -> &'static Shape {
    /// By minor version; there is no 2.0, and in its place those that speak of no version.
    static SHAPES: [OnceLock<Shape>; Microversion::MAX.0 as usize + 1] =
        [const { OnceLock::new() }; Microversion::MAX.0 as usize + 1];
    let place = version.map_or(0, |Microversion(minor)| minor.min(Microversion::MAX.0) as usize);
    SHAPES[place].get_or_init(|| Shape::new(&REQUEST_ID, |headers| tell_version(version, headers)))
}

fn tell_version(version: Option<Microversion>, headers: &mut HeaderMap) {
    if let Some(version) = version {
        version.set(headers);
        headers.insert(VARY, HeaderValue::from_static("OpenStack-API-Version, X-OpenStack-Nova-API-Version"));
    }
}

async fn run<'a>(
    core: &Core,
    (call, body): (&Call, &mut Payload),
    path: &'a Path<'_>,
    base: &Base<'_>,
    trail: &mut Trail<'a>,
    echo: &mut Option<Microversion>,
) -> Result<Body, Fault> {
    if path.route.is_discovery() {
        check_method(call, &path.route)?;
        return Ok(match path.route {
            Route::Versions => discovery::versions(&base.url()).into(),
            _ => discovery::version(&base.url(), path.legacy).into(),
        });
    }
    let caller = core.caller(call, body).await?;
    trail.caller = Some(Arc::clone(&caller));
    let version = if path.legacy { Microversion::MIN } else { Microversion::of(&call.headers)? };
    *echo = Some(version);
    check_route(core, &path.route, version)?;
    check_method(call, &path.route)?;
    let body = read(call, body, &path.route).await?;
    check_project(path, &caller)?;
    let at = consoles::Context { core, caller: &caller, version, legacy: path.legacy };
    match &path.route {
        Route::Servers { detail } => {
            Ok(servers::list(core, &caller, call.query(), *detail, &base.url())?.into())
        }
        Route::Server(id) => Ok(servers::show(core, &caller, id, &base.url())?.into()),
        Route::RemoteConsoles(id) => {
            trail.target = Some(id);
            consoles::create(at, id, &body, trail).await
        }
        Route::Action(id) => {
            trail.target = Some(id);
            consoles::action(at, id, &body, trail).await
        }
        Route::AuthToken(token) => Ok(auth_tokens::show(core, &caller, version, token).await?.into()),
        Route::Versions | Route::Version | Route::Unknown => Err(Fault::no_route()),
    }
}

/// Whether there is such a route in this version and these dialects.
fn check_route(core: &Core, route: &Route<'_>, version: Microversion) -> Result<(), Fault> {
    let nova = core.serves(Dialect::Openstack);
    let there = match route {
        Route::Unknown => false,
        Route::RemoteConsoles(_) => nova && consoles::is_created_at(version),
        Route::AuthToken(_) => nova,
        _ => true,
    };
    there.then_some(()).ok_or_else(Fault::no_route)
}

fn check_method(call: &Call, route: &Route<'_>) -> Result<(), Fault> {
    let allowed = route.methods();
    let sent = call.method.as_str();
    let known = sent == allowed || allowed.split(", ").any(|method| method == sent);
    known.then_some(()).ok_or_else(|| Fault::method(allowed))
}

/// The project in the URL is the caller's, whoever the caller is.
fn check_project(path: &Path<'_>, caller: &Caller) -> Result<(), Fault> {
    match &path.project {
        Some(project) if *project != caller.project.as_str() => Err(Fault::bad_request(
            "project",
            format!(
                "Malformed request URL: URL's project_id '{project}' doesn't match Context's project_id '{}'",
                caller.project
            ),
        )),
        _ => Ok(()),
    }
}

/// The body, of the routes that have one; an empty one is `null`, as for nova's schemas. A media type that is not
/// JSON is refused wherever it is sent.
async fn read(call: &Call, body: &mut Payload, route: &Route<'_>) -> Result<Sent, Fault> {
    if !is_json(&call.headers) {
        let message = "Unsupported Content-Type";
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message));
    }
    if !matches!(route, Route::RemoteConsoles(_) | Route::Action(_)) {
        return Ok(Sent::Any(Value::Null));
    }
    Sent::read(&body.read().await?).map_err(|_| Fault::malformed_body())
}

fn refuse(fault: &Fault, challenge: &str) -> Response<Full<Bytes>> {
    let mut response = answer::json(fault.status, fault.body());
    let headers = response.headers_mut();
    if fault.status == StatusCode::UNAUTHORIZED {
        set(headers, WWW_AUTHENTICATE, challenge);
    }
    fault.more.set(headers);
    set(headers, HeaderName::from_static(cause::HEADER), cause::code(fault.cause));
    response
}
