//! `/v1/recordings`: the recorded sessions of this directory, whichever process recorded them.

use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::Either;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Event, Kind};
use crate::net::file_body::FileBody;
use crate::relay::record::{Kept, Library, LibraryError, Part};

use super::{Admin, Asked, Refusal, Reply, done, respond};

/// The most recordings one answer lists; `next` leads on.
const MAX_LIMIT: usize = 1000;

/// What a list is asked for.
struct Wanted {
    limit: usize,
    marker: Option<Uuid>,
    target: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut wanted = Self { limit: MAX_LIMIT, marker: None, target: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "limit" => {
                    let number = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    wanted.limit =
                        number.ok_or_else(|| Refusal::query("limit is a number from 1 to 1000."))?;
                }
                "marker" => {
                    let id = value.parse().map_err(|_| Refusal::query("marker is a recording's id."))?;
                    wanted.marker = Some(id);
                }
                "target" => wanted.target = Some(value),
                _ => return Err(Refusal::query("Known here: limit, marker, target.")),
            }
        }
        Ok(wanted)
    }
}

fn library(admin: &Admin) -> Result<Library, Refusal> {
    let recorder = admin.proxy.recorder().ok_or_else(Refusal::no_recordings)?;
    Ok(recorder.library().clone())
}

/// Does what the disk decides the time of; other connections of this worker must not wait for it.
async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::crashed())?
}

/// `GET /v1/recordings?limit=&marker=&target=`: the newest first, after `marker`.
pub(super) async fn list(admin: &Admin, query: &str) -> Result<Reply, Refusal> {
    let (library, wanted) = (library(admin)?, Wanted::parse(query)?);
    let body = off_the_worker(move || {
        let mut all = library.list().map_err(LibraryError::from)?;
        all.reverse();
        let after = match wanted.marker {
            Some(id) => all.iter().position(|kept| kept.id == id).ok_or(LibraryError::Unknown)? + 1,
            None => 0,
        };
        let (mut found, mut next) = (Vec::new(), None);
        for kept in &all[after..] {
            let view = view(&library, kept);
            if wanted.target.as_ref().is_some_and(|target| view["target"] != target.as_str()) {
                continue;
            }
            if found.len() == wanted.limit {
                next = found.last().map(|last: &Value| last["id"].clone());
                break;
            }
            found.push(view);
        }
        Ok(json!({"recordings": found, "next": next}))
    });
    Ok(respond(StatusCode::OK, &body.await?))
}

/// `GET /v1/recordings/{id}`.
pub(super) async fn show(admin: &Admin, id: Uuid) -> Result<Reply, Refusal> {
    let library = library(admin)?;
    let found = off_the_worker(move || Ok(view(&library, &library.find(id)?)));
    Ok(respond(StatusCode::OK, &json!({"recording": found.await?})))
}

fn view(library: &Library, kept: &Kept) -> Value {
    // A journal that cannot be read says nothing; the data may be whole.
    let journal = library.journal(kept).unwrap_or_default();
    let mut view = journal.about().map_or_else(|| json!({"id": kept.id}), |about| about.json());
    view["format"] = match kept.data() {
        Some(Part::Text) => "asciicast-v2".into(),
        Some(_) => "fbs-001.001".into(),
        None => Value::Null,
    };
    view["bytes"] = kept.bytes.into();
    view["live"] = library.is_live(kept).into();
    let ended = journal.ended();
    view["ended"] = ended
        .map(|(at, cause, millis)| {
            let at = humantime::format_rfc3339_millis(at).to_string();
            json!({"at": at, "cause": cause, "millis": millis})
        })
        .into();
    let file = |part: &Part| (word(*part).to_owned(), Value::from(kept.name(*part)));
    view["files"] = kept.parts.iter().map(file).collect();
    view
}

fn word(part: Part) -> &'static str {
    match part {
        Part::Text | Part::Screen => "data",
        Part::Input => "input",
        Part::Journal => "journal",
    }
}

/// `GET /v1/recordings/{id}/data`, `/input`, `/journal`: a file as it is now; of a session that is still recorded, as
/// much of it as there is.
pub(super) async fn download(admin: &Admin, id: Uuid, file: &str, asked: Asked) -> Result<Reply, Refusal> {
    let library = library(admin)?;
    let wanted = file.to_owned();
    let opened = off_the_worker(move || {
        let kept = library.find(id)?;
        let part = kept.parts.iter().copied().find(|part| word(*part) == wanted);
        let part = part.ok_or(LibraryError::Unknown)?;
        let file = library.open(&kept, part)?;
        let len = file.metadata().map_err(LibraryError::from)?.len();
        let target = library.journal(&kept).ok().and_then(|journal| Some(journal.about()?.target.clone()));
        Ok((part, kept.name(part), file, len, target))
    });
    let (part, name, file, len, target) = opened.await?;
    let cause = match part {
        Part::Journal => None,
        Part::Input => Some("recording-input-downloaded"),
        Part::Text | Part::Screen => Some("recording-downloaded"),
    };
    // The journal says no more than the list does.
    if let Some(cause) = cause {
        let target = target.as_ref().map(|target| target.as_str().into());
        admin.audit.record(|| Event {
            session: Some(id),
            target,
            cause: Some(cause),
            ..asked.event(Kind::Admin)
        });
        tracing::info!(request = %asked.request, listener = "admin", session = %id, cause, "recording read");
    }
    let mut response = Reply::new(Either::Right(FileBody::new(file, len)));
    let headers = response.headers_mut();
    let kind = match part {
        Part::Text => "application/x-asciicast",
        Part::Journal => "application/jsonl",
        Part::Screen | Part::Input => "application/octet-stream",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Our own names: digits, letters, dots and hyphens.
    if let Ok(attachment) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, attachment);
    }
    Ok(response)
}

/// `DELETE /v1/recordings/{id}`: all of its files.
pub(super) async fn remove(admin: &Admin, id: Uuid, asked: Asked) -> Result<Reply, Refusal> {
    let library = library(admin)?;
    let target = off_the_worker(move || {
        let about = library.journal(&library.find(id)?).ok();
        library.remove(id)?;
        Ok(about.and_then(|journal| Some(journal.about()?.target.clone())))
    });
    let target = target.await?;
    admin.audit.record(|| Event {
        session: Some(id),
        target: target.as_ref().map(|target| target.as_str().into()),
        cause: Some("recording-removed"),
        ..asked.event(Kind::Admin)
    });
    tracing::info!(request = %asked.request, listener = "admin", session = %id, "recording removed by an operator");
    Ok(done())
}
