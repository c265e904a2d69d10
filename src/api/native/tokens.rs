//! `POST /console/v1/tokens/inspect` and `/revoke`: what a token would open, and the end of it. Tokens stand in
//! bodies, never in a URL, where logs would keep them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::{Event, Kind};
use crate::auth::policy;
use crate::config::Permission;
use crate::tokens::{Grant, Revoke, Token, TokenKey, Why};

use super::super::trail::Trail;
use super::{Context, Refusal};

/// The body of `inspect`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presented {
    token: String,
}

/// The body of `revoke`: exactly one of its fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    token: Option<String>,
    server_id: Option<String>,
    project_id: Option<String>,
    user_id: Option<String>,
}

fn key(text: &str) -> Result<TokenKey, Refusal> {
    // What cannot be a token was never issued as one.
    Token::parse(text).map(|token| token.key()).map_err(|_| Refusal::no_token())
}

/// Tells what the token would open, and does not spend it.
pub(super) async fn inspect(at: &Context<'_>, presented: &Presented) -> Result<Value, Refusal> {
    let key = key(&presented.token)?;
    let peek = at.core.store.peek(key).await.map_err(|_| Refusal::store())?;
    let peek = peek.filter(|peek| policy::may_see(at.caller, &peek.grant.project));
    let peek = peek.ok_or_else(Refusal::no_token)?;
    let grant: &Grant = &peek.grant;
    if !policy::may(at.caller, Permission::NativeShow, &grant.project) {
        return Err(Refusal::forbidden(Permission::NativeShow));
    }
    // The server as it is now decides whether the token would open anything.
    let entry = at.core.inventory.find(&grant.target);
    let entry = entry.filter(|entry| entry.generation == grant.generation);
    let entry = entry.ok_or_else(Refusal::no_token)?;
    Ok(json!({"token": {
        "id": grant.id,
        "server_id": grant.target,
        "server_name": entry.target.name,
        "project_id": grant.project,
        "user_id": grant.user,
        "protocol": grant.protocol,
        "expires_in": peek.remaining.as_secs(),
        "ready": entry.target.console_ready(),
        "view_only": grant.options.view_only,
        "enforce_expiry": grant.options.enforce_expiry,
        "client_address": grant.options.client_address,
        "viewers": grant.options.viewers,
        "uses": 1,
        "record": at.core.recorded(&entry.target, grant.protocol, &grant.options),
    }}))
}

/// Takes back tokens and ends the sessions they opened.
pub(super) async fn revoke(at: &Context<'_>, named: Named, trail: &Trail<'_>) -> Result<Value, Refusal> {
    let Named { token, server_id, project_id, user_id } = named;
    let mut all = Vec::new();
    if let Some(token) = token {
        let key = key(&token)?;
        check_owner(at, key).await?;
        all.push(Revoke::Token(key));
    }
    all.extend(server_id.map(|id| Revoke::Target(id.into())));
    all.extend(project_id.map(|id| Revoke::Project(id.into())));
    all.extend(user_id.map(|id| Revoke::User(id.into())));
    let [which] = &all[..] else {
        return Err(Refusal::schema("expected exactly one of token, server_id, project_id, user_id"));
    };
    if !matches!(which, Revoke::Token(_)) && !policy::holds_everywhere(at.caller, Permission::NativeRevoke) {
        return Err(Refusal::forbidden(Permission::NativeRevoke));
    }
    let revoked = at.core.revoker.revoke(which.clone(), Why::Revoked).await.map_err(|_| Refusal::store())?;
    tracing::info!(
        request = %trail.request, dialect = "native", user = %at.caller.user, by = which.kind(),
        tokens = revoked.tokens, sessions = revoked.sessions, cause = "requested", "revoked"
    );
    at.core.audit.record(|| Event {
        token: match which {
            Revoke::Token(key) => Some(at.core.fingerprinter.fingerprint(key).into()),
            _ => None,
        },
        subject: match which {
            Revoke::Token(_) => None,
            Revoke::Target(id) => Some(id.as_str().into()),
            Revoke::Project(id) => Some(id.as_str().into()),
            Revoke::User(id) => Some(id.as_str().into()),
        },
        cause: Some(which.kind()),
        tokens: Some(revoked.tokens),
        sessions: Some(revoked.sessions),
        ..trail.event(Kind::Revoke)
    });
    Ok(json!({"revoked": {"tokens": revoked.tokens, "sessions": revoked.sessions}}))
}

/// A token is its user's to take back, and an administrator's.
async fn check_owner(at: &Context<'_>, key: TokenKey) -> Result<(), Refusal> {
    let grant = at.core.revoker.holder(key).await.map_err(|_| Refusal::store())?;
    let grant = grant.filter(|grant| policy::may_see(at.caller, &grant.project));
    let grant = grant.ok_or_else(Refusal::no_token)?;
    if !policy::may(at.caller, Permission::NativeRevoke, &grant.project) {
        return Err(Refusal::forbidden(Permission::NativeRevoke));
    }
    let own = grant.user == at.caller.user && grant.project == at.caller.project;
    if own || policy::holds_everywhere(at.caller, Permission::NativeRevoke) {
        return Ok(());
    }
    let message = "Only the user who asked for the token, or an administrator, may revoke it.";
    Err(Refusal::new(hyper::StatusCode::FORBIDDEN, "not-owner", message))
}
