//! `/v1/sessions`: who is on which console of this process now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Event, Kind};
use crate::proxy::{Session, Sessions};
use crate::relay::End;

use super::{Admin, Asked, Refusal, Reply, done, respond};

/// `GET /v1/sessions`: oldest first. At most `limits.sessions` lines, so there are no pages.
pub(super) fn list(sessions: &Sessions) -> Reply {
    let mut all = sessions.list();
    all.sort_unstable_by_key(|session| (session.since, session.id));
    let sessions: Vec<_> = all.iter().map(view).collect();
    respond(StatusCode::OK, &json!({"sessions": sessions}))
}

fn view(session: &Arc<Session>) -> Value {
    let grant = &session.grant;
    json!({
        "id": session.id,
        "grant": grant.id,
        "target": grant.target,
        "protocol": grant.protocol,
        "project": grant.project,
        "user": grant.user,
        "source": session.source,
        "view_only": grant.options.view_only,
        "recording": session.recorded.load(Ordering::Relaxed),
        "since": humantime::format_rfc3339_seconds(session.since).to_string(),
        "bytes_to_viewer": session.counters.down.load(Ordering::Relaxed),
        "bytes_to_target": session.counters.up.load(Ordering::Relaxed),
    })
}

/// `DELETE /v1/sessions/{id}`: the viewer is closed with 1008.
pub(super) fn end(admin: &Admin, id: &str, asked: Asked) -> Result<Reply, Refusal> {
    let session = id.parse::<Uuid>().map_err(|_| Refusal::no_session())?;
    if !admin.proxy.sessions().stop(session, &End::Revoked) {
        return Err(Refusal::no_session());
    }
    let (session_id, cause) = (Some(session), Some("session-ended"));
    admin.audit.record(|| Event { session: session_id, cause, ..asked.event(Kind::Admin) });
    let request = asked.request;
    tracing::info!(%request, listener = "admin", %session, "session ended by an operator");
    Ok(done())
}

/// `POST /v1/sessions/{id}/break`: a break on the session's serial line, as SysRq and boot loaders want it.
pub(super) fn send_break(admin: &Admin, id: &str, asked: Asked) -> Result<Reply, Refusal> {
    let sessions = admin.proxy.sessions();
    let session = id.parse::<Uuid>().ok().and_then(|id| sessions.find(id)).ok_or_else(Refusal::no_session)?;
    if !session.send_break() {
        return Err(Refusal::no_break());
    }
    let (session_id, cause) = (Some(session.id), Some("break-sent"));
    admin.audit.record(|| Event { session: session_id, cause, ..asked.event(Kind::Admin) });
    let request = asked.request;
    tracing::info!(%request, listener = "admin", session = %session.id, "break sent by an operator");
    Ok(done())
}
