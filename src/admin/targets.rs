//! `/v1/targets`: the inventory, from files and from what was registered, here or with the fleet.

use std::sync::Arc;

use http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::audit::{Event, Kind};
use crate::config::target_to_json;
use crate::fleet;
use crate::ids::TargetId;
use crate::targets::{Change, Entry, Expected, Registrar, Registry, RegistryError, Source};
use crate::tokens::{Revoke, Revoked};

use super::{Admin, Asked, Refusal, Reply, done, respond};

/// The most targets one answer lists; `next` leads on.
const MAX_LIMIT: usize = 1000;

/// The most targets one answer names that cannot be used here; more have one reason, a key that is missing.
const MAX_UNUSABLE: usize = 100;

/// `GET /v1/targets?limit=&marker=&project=`: by id, after `marker`.
pub(super) fn list(registry: &Registry, query: &str) -> Result<Reply, Refusal> {
    let (mut limit, mut marker, mut project) = (MAX_LIMIT, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit = number.ok_or_else(|| Refusal::query("limit is a number from 1 to 1000."))?;
            }
            "marker" => marker = Some(TargetId::from(value)),
            "project" => project = Some(value),
            _ => return Err(Refusal::query("Known here: limit, marker, project.")),
        }
    }
    let mut all = registry.inventory().all();
    all.retain(|entry| {
        marker.as_ref().is_none_or(|marker| entry.target.id > *marker)
            && project.as_ref().is_none_or(|project| entry.target.project.as_str() == project)
    });
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|entry| entry.target.id.clone());
    let targets: Vec<_> = all.iter().map(|entry| view(registry, entry)).collect();
    let mut list = json!({"targets": targets, "next": next});
    let unusable = registry.unusable();
    if !unusable.is_empty() {
        let named =
            unusable.iter().take(MAX_UNUSABLE).map(|(id, reason)| json!({"id": id, "reason": reason}));
        list["unusable"] = json!({"count": unusable.len(), "targets": named.collect::<Vec<_>>()});
    }
    Ok(respond(StatusCode::OK, &list))
}

/// `GET /v1/targets/{id}`.
pub(super) fn show(registry: &Registry, id: &TargetId) -> Result<Reply, Refusal> {
    Ok(one(registry, &*find(registry, id)?, StatusCode::OK))
}

/// What is served under this id, or why nothing is.
fn find(registry: &Registry, id: &TargetId) -> Result<Arc<Entry>, RegistryError> {
    registry.inventory().find(id).ok_or_else(|| match registry.registered(id).map(|one| one.target) {
        Some(Err(reason)) => RegistryError::Unusable(reason),
        _ => RegistryError::Unknown,
    })
}

fn view(registry: &Registry, entry: &Entry) -> Value {
    let source = registry.source(&entry.target.id);
    let mut view = json!({"target": target_to_json(&entry.target), "source": source.map(Source::as_str)});
    if source.is_some_and(|source| source != Source::File)
        && let Some(revision) = registry.revision(&entry.target.id)
    {
        view["revision"] = revision.into();
    }
    view
}

/// A target alone, with its revision as an ETag.
fn one(registry: &Registry, entry: &Entry, status: StatusCode) -> Reply {
    let view = view(registry, entry);
    let mut reply = respond(status, &view);
    let tag = view["revision"].as_str().and_then(|tag| HeaderValue::from_str(&format!("\"{tag}\"")).ok());
    if let Some(tag) = tag {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

/// What a change is made on: `If-Match: "REVISION"` or `*`, `If-None-Match: *`, or nothing (RFC 9110 section 13.1).
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Refusal> {
    let single = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| ()),
            _ => Err(()),
        }
    };
    let unknown = |()| Refusal::condition();
    let (matches, differs) = (single(IF_MATCH).map_err(unknown)?, single(IF_NONE_MATCH).map_err(unknown)?);
    match (matches, differs) {
        (None, None) => Ok(Expected::Anything),
        (Some("*"), None) => Ok(Expected::Something),
        (None, Some("*")) => Ok(Expected::Nothing),
        (Some(tag), None) => {
            let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let revision = revision.filter(|tag| tag.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            revision.map(|tag| Expected::Revision(tag.to_owned())).ok_or_else(Refusal::condition)
        }
        _ => Err(Refusal::condition()),
    }
}

/// `PUT /v1/targets/{id}`: kept and in force when it is answered. Consoles of a server that went elsewhere end.
pub(super) async fn put(
    admin: &Admin,
    id: TargetId,
    document: Value,
    expected: Expected,
    asked: Asked,
) -> Result<Reply, Refusal> {
    // First this: without it the document is of no interest.
    let registrar = registrar(admin)?;
    // It may name files, which are looked at.
    let (registry, key) = (Arc::clone(&admin.registry), id.clone());
    let read = tokio::task::spawn_blocking(move || registry.read(&key, &document)).await;
    let target = read.map_err(|_| Refusal::crashed())??;
    let work = async move { registrar.put(target, expected).await };
    let change = change(admin, &id, (asked, "target-put"), work).await?;
    // Another member may have sealed it anew meanwhile, with a key that is not known here.
    let entry = find(&admin.registry, &id)?;
    let status = if change.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(one(&admin.registry, &entry, status))
}

/// `DELETE /v1/targets/{id}`: its tokens open nothing any more, its consoles end.
pub(super) async fn remove(
    admin: &Admin,
    id: TargetId,
    expected: Expected,
    asked: Asked,
) -> Result<Reply, Refusal> {
    let (registrar, target) = (registrar(admin)?, id.clone());
    let work = async move { registrar.remove(target, expected).await };
    change(admin, &id, (asked, "target-removed"), work).await?;
    Ok(done())
}

fn registrar(admin: &Admin) -> Result<Arc<dyn Registrar>, Refusal> {
    Ok(admin.registrar.clone().ok_or(RegistryError::NoDatabase)?)
}

async fn change(
    admin: &Admin,
    id: &TargetId,
    (asked, what): (Asked, &'static str),
    work: impl Future<Output = Result<Change, RegistryError>> + Send + 'static,
) -> Result<Change, Refusal> {
    // A caller that hangs up meanwhile does not stop it: it, and what follows from it, is done in a task.
    let (revoker, audit, id) = (admin.revoker.clone(), admin.audit.clone(), id.clone());
    let inventory = Arc::clone(admin.registry.inventory());
    let worked = tokio::spawn(async move {
        let change = work.await?;
        let ended = match change.void {
            true => {
                let why = fleet::why(inventory.find(&id).as_deref());
                revoker.revoke(Revoke::Target(id.clone()), why).await
            }
            false => Ok(Revoked::default()),
        };
        audit.record(|| Event {
            target: Some(id.as_str().into()),
            cause: Some(what),
            tokens: ended.as_ref().ok().map(|ended| ended.tokens),
            sessions: ended.as_ref().ok().map(|ended| ended.sessions),
            ..asked.event(Kind::Admin)
        });
        let ended = ended?;
        tracing::info!(
            request = %asked.request, listener = "admin", target = %id, created = change.created, tokens = ended.tokens,
            sessions = ended.sessions, "target changed"
        );
        Ok::<_, Refusal>(change)
    });
    worked.await.map_err(|_| Refusal::crashed())?
}
