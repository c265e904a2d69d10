//! `/v1/sessions` and `/v1/revoke`: who is on which console of the fleet now, and the end of that.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Event, Kind};
use crate::fleet::{Broken, Listed};
use crate::tokens::{Revoke, Token, Why};

use super::{Admin, Asked, Refusal, Reply, done, passed_on, respond};

/// `GET /v1/sessions`: oldest first. At most `limits.sessions` lines a proxy, so there are no pages. When the store
/// does not answer, it is this process' own, and `complete` is false. Whether a session is recorded is known of this
/// process' own.
pub(super) async fn list(admin: &Admin) -> Reply {
    let (mut all, complete) = admin.roster.list().await;
    all.sort_unstable_by_key(|session| (seconds(session), session.id));
    let local = admin.proxy.sessions();
    let recorded = |id| Some(local.find(id)?.is_recorded());
    let sessions: Vec<_> = all.iter().map(|session| view(session, recorded(session.id))).collect();
    respond(StatusCode::OK, &json!({"sessions": sessions, "complete": complete}))
}

/// As exact as other processes know it.
fn seconds(session: &Listed) -> u64 {
    session.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn view(session: &Listed, recorded: Option<bool>) -> Value {
    let grant = &session.grant;
    json!({
        "id": session.id,
        "grant": grant.id,
        "target": grant.target,
        "protocol": grant.protocol,
        "project": grant.project,
        "user": grant.user,
        "proxy": session.proxy,
        "source": session.source,
        "view_only": grant.options.view_only,
        "recording": recorded,
        "since": humantime::format_rfc3339_seconds(session.since).to_string(),
        "bytes_to_viewer": session.moved.to_viewer,
        "bytes_to_target": session.moved.to_target,
        "rate_to_viewer": session.moved.viewer_rate,
        "rate_to_target": session.moved.target_rate,
    })
}

/// `DELETE /v1/sessions/{id}`: the viewer is closed with 1008, at whichever proxy it is.
pub(super) async fn end(admin: &Admin, id: &str, asked: Asked) -> Result<Reply, Refusal> {
    let session = id.parse::<Uuid>().map_err(|_| Refusal::no_session())?;
    if !admin.roster.end_one(session, Why::Revoked).await? {
        return Err(Refusal::no_session());
    }
    let (session_id, cause) = (Some(session), Some("session-ended"));
    admin.audit.record(|| Event { session: session_id, cause, ..asked.event(Kind::Admin) });
    let request = asked.request;
    tracing::info!(%request, listener = "admin", %session, "session ended by an operator");
    Ok(done())
}

/// `POST /v1/revoke` with one of `token`, `target`, `project` and `user`: takes back the links that were not opened,
/// and ends the sessions of those that were.
pub(super) async fn revoke(admin: &Admin, document: &Value, asked: Asked) -> Result<Reply, Refusal> {
    let which = which(document)?;
    let revoked = admin.revoker.revoke(which.clone(), Why::Revoked).await?;
    let (request, tokens, sessions) = (asked.request, revoked.tokens, revoked.sessions);
    admin.audit.record(|| Event {
        subject: match &which {
            Revoke::Token(_) => None,
            Revoke::Target(id) => Some(id.as_str().into()),
            Revoke::Project(id) => Some(id.as_str().into()),
            Revoke::User(id) => Some(id.as_str().into()),
        },
        cause: Some(which.kind()),
        tokens: Some(tokens),
        sessions: Some(sessions),
        ..asked.event(Kind::Revoke)
    });
    tracing::info!(%request, listener = "admin", by = which.kind(), tokens, sessions, "revoked by an operator");
    Ok(respond(StatusCode::OK, &json!({"tokens": tokens, "sessions": sessions})))
}

fn which(document: &Value) -> Result<Revoke, Refusal> {
    let wrong = || Refusal::body("Expected exactly one of token, target, project, user, a text.");
    let fields = document.as_object().filter(|fields| fields.len() == 1).ok_or_else(wrong)?;
    let (key, value) = fields.iter().next().ok_or_else(wrong)?;
    let value = value.as_str().filter(|value| !value.is_empty()).ok_or_else(wrong)?;
    match key.as_str() {
        // What cannot be a token was never issued as one.
        "token" => Token::parse(value).map(|token| Revoke::Token(token.key())).map_err(|_| wrong()),
        "target" => Ok(Revoke::Target(value.into())),
        "project" => Ok(Revoke::Project(value.into())),
        "user" => Ok(Revoke::User(value.into())),
        _ => Err(wrong()),
    }
}

/// `POST /v1/sessions/{id}/break`: a break on the session's serial line, as SysRq and boot loaders want it. 204: it is
/// on the line. 202: the proxy that has the session was told, and alone knows whether the line has breaks.
pub(super) async fn send_break(admin: &Admin, id: &str, asked: Asked) -> Result<Reply, Refusal> {
    let session = id.parse::<Uuid>().map_err(|_| Refusal::no_session())?;
    let (reply, cause) = match admin.roster.send_break(session).await? {
        Broken::Sent => (done(), "break-sent"),
        Broken::Told => (passed_on(), "break-passed-on"),
        Broken::Never => return Err(Refusal::no_break()),
        Broken::Unknown => return Err(Refusal::no_session()),
    };
    let session_id = Some(session);
    admin.audit.record(|| Event { session: session_id, cause: Some(cause), ..asked.event(Kind::Admin) });
    let request = asked.request;
    tracing::info!(%request, listener = "admin", %session, cause, "break sent by an operator");
    Ok(reply)
}
