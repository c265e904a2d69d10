//! `/v1/targets`: the inventory, from files and from the database.

use std::sync::Arc;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::audit::{Event, Kind};
use crate::config::target_to_json;
use crate::fleet;
use crate::ids::TargetId;
use crate::targets::{Change, Entry, Registry, RegistryError, Source};
use crate::tokens::{Revoke, Revoked};

use super::{Admin, Asked, Refusal, Reply, done, respond};

/// The most targets one answer lists; `next` leads on.
const MAX_LIMIT: usize = 1000;

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
    Ok(respond(StatusCode::OK, &json!({"targets": targets, "next": next})))
}

/// `GET /v1/targets/{id}`.
pub(super) fn show(registry: &Registry, id: &TargetId) -> Result<Reply, Refusal> {
    let entry = registry.inventory().find(id).ok_or(RegistryError::Unknown)?;
    Ok(respond(StatusCode::OK, &view(registry, &entry)))
}

fn view(registry: &Registry, entry: &Entry) -> Value {
    let source = registry.source(&entry.target.id).map(|source| match source {
        Source::File => "file",
        Source::Database => "database",
    });
    json!({"target": target_to_json(&entry.target), "source": source})
}

/// `PUT /v1/targets/{id}`: on disk and in force when it is answered. Consoles of a server that went elsewhere
/// end.
pub(super) async fn put(
    admin: &Admin,
    id: TargetId,
    document: Value,
    asked: Asked,
) -> Result<Reply, Refusal> {
    let change =
        change(admin, &id, (asked, "target-put"), move |registry, id| registry.put(id, &document)).await?;
    let entry = admin.registry.inventory().find(&id).ok_or(RegistryError::Unknown)?;
    let status = if change.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond(status, &view(&admin.registry, &entry)))
}

/// `DELETE /v1/targets/{id}`: its tokens open nothing any more, its consoles end.
pub(super) async fn remove(admin: &Admin, id: TargetId, asked: Asked) -> Result<Reply, Refusal> {
    change(admin, &id, (asked, "target-removed"), Registry::remove).await?;
    Ok(done())
}

async fn change(
    admin: &Admin,
    id: &TargetId,
    (asked, what): (Asked, &'static str),
    work: impl FnOnce(&Registry, &TargetId) -> Result<Change, RegistryError> + Send + 'static,
) -> Result<Change, Refusal> {
    let (registry, target) = (Arc::clone(&admin.registry), id.clone());
    // The disk decides how long this takes; other sessions of this worker must not wait for it. A caller that
    // hangs up meanwhile does not stop it, so what follows from the change is done beside it, in a task.
    let (revoker, audit) = (admin.revoker.clone(), admin.audit.clone());
    let inventory = Arc::clone(admin.registry.inventory());
    let worked = tokio::spawn(async move {
        let id = target.clone();
        let changed = tokio::task::spawn_blocking(move || work(&registry, &target)).await;
        let change = changed.map_err(|_| Refusal::crashed())??;
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
