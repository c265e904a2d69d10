//! Refusals of the native API: `{"error":{"code","message","request_id"}}`.

use std::borrow::Cow;

use hyper::StatusCode;

use crate::auth::AuthError;
use crate::config::Permission;
use crate::tokens::StoreError;

use super::super::answer::More;
use super::super::identity::UnknownCaller;
use super::super::issue::OUTSTANDING_RETRY;
use super::super::{BodyError, IssueError};

/// After how many seconds a client may try again when the token store is full or out of reach.
const RETRY_AFTER: u32 = 5;

/// Longest message that quotes what the caller sent.
const MESSAGE: usize = 300;

/// An answer that is not the one asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The cause by its word, which has the code.
    pub(super) cause: &'static str,
    pub(super) message: Cow<'static, str>,
    pub(super) more: More,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        cause: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, cause, message: message.into(), more: More::Nothing }
    }

    pub(super) fn bad(cause: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, cause, message)
    }

    /// What a reader of JSON said; it may quote the body, so it is cut.
    pub(super) fn schema(said: &str) -> Self {
        let cut: String = said.chars().take(MESSAGE).collect();
        let dots = if cut.len() < said.len() { "..." } else { "" };
        Self::bad("schema", format!("{cut}{dots}"))
    }

    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", "There is no such path here.")
    }

    pub(super) fn method() -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This path takes POST only.");
        Self { more: More::Allow("POST"), ..refusal }
    }

    pub(super) fn forbidden(permission: Permission) -> Self {
        let message = format!("You need the permission {}.", permission.name());
        Self::new(StatusCode::FORBIDDEN, "policy", message)
    }

    pub(super) fn no_server() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-server", "There is no such server.")
    }

    pub(super) fn no_token() -> Self {
        let message = "No such token, or it is expired or spent, or its server is no longer there.";
        Self::new(StatusCode::NOT_FOUND, "no-token", message)
    }

    pub(super) fn store() -> Self {
        Self::unavailable("store", "The token store is full or does not answer. Try again later.")
    }

    fn unavailable(cause: &'static str, message: &'static str) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, cause, message);
        Self { more: More::RetryAfter(RETRY_AFTER), ..refusal }
    }

    fn over_limit(cause: &'static str, error: &IssueError, retry: u32) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, cause, error.to_string());
        Self { more: More::RetryAfter(retry), ..refusal }
    }
}

impl From<IssueError> for Refusal {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Unknown => Self::no_server(),
            IssueError::NotReady => {
                let message = "The server is building, being deleted or migrated, or stopped.";
                Self::new(StatusCode::CONFLICT, "not-ready", message)
            }
            IssueError::NoConsole(_) => Self::bad("no-console", error.to_string()),
            // Also the configured one is at most this maximum.
            IssueError::Lifetime(_) => Self::bad("ttl", error.to_string()),
            IssueError::TooFast(retry) => Self::over_limit("issue-rate", &error, retry),
            IssueError::Store(StoreError::Outstanding(_)) => {
                Self::over_limit("outstanding", &error, OUTSTANDING_RETRY)
            }
            IssueError::Store(_) => Self::store(),
            IssueError::Token(_) => Self::unavailable("generator", "No token can be made. Try again later."),
            IssueError::Audit(_) => {
                Self::unavailable("audit", "The decision cannot be written down. Try again later.")
            }
        }
    }
}

impl From<UnknownCaller> for Refusal {
    fn from(error: UnknownCaller) -> Self {
        match error {
            UnknownCaller::Body(error) => error.into(),
            UnknownCaller::Auth(AuthError::Unauthenticated) => {
                let message = "Send one valid credential, such as X-Auth-Token.";
                Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
            }
            UnknownCaller::Auth(error) => {
                let refusal = Self::new(error.status(), error.cause(), error.to_string());
                Self { more: error.retry_after().map_or(More::Nothing, More::RetryAfter), ..refusal }
            }
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let (status, cause) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "malformed-body"),
        };
        // The rest of such a request is not worth reading.
        Self { more: More::Close, ..Self::new(status, cause, error.to_string()) }
    }
}
