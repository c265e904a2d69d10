//! Refusals: `{"error_code", "error_msg", "request_id"}`, with codes of our own.

use std::borrow::Cow;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::auth::AuthError;
use crate::config::Permission;
use crate::tokens::StoreError;

use super::super::answer::More;
use super::super::identity::UnknownCaller;
use super::super::issue::OUTSTANDING_RETRY;
use super::super::{BodyError, IssueError, cause};

/// After how many seconds a client may try again when the token store is full or out of reach.
const RETRY_AFTER: u32 = 5;

/// An answer that is not the one asked for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: Cow<'static, str>,
    /// The cause by its word, which has the code.
    pub(super) cause: &'static str,
    pub(super) more: More,
}

impl Refusal {
    pub(in crate::api) fn new(
        status: StatusCode,
        cause: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, message: message.into(), cause, more: More::Nothing }
    }

    pub(super) fn malformed_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-body", "The body is not JSON.")
    }

    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", "There is no such API here.")
    }

    pub(super) fn no_server(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-server", format!("Server {id} could not be found."))
    }

    pub(super) fn forbidden(permission: Permission) -> Self {
        let message = format!("You need the permission {}.", permission.name());
        Self::new(StatusCode::FORBIDDEN, "policy", message)
    }

    pub(super) fn project(which: &str) -> Self {
        let message = format!("{which} is not the one your credential is for.");
        Self::new(StatusCode::FORBIDDEN, "project", message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("Use {allow}.");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
        Self { more: More::Allow(allow), ..refusal }
    }

    /// Why no console was issued for the server of this id.
    pub(super) fn issue(error: &IssueError, id: &str) -> Self {
        match error {
            IssueError::Unknown => Self::no_server(id),
            IssueError::NotReady => {
                Self::new(StatusCode::CONFLICT, "not-ready", format!("Server {id} is not ready."))
            }
            IssueError::NoConsole(protocol) => {
                let message = format!("Server {id} has no {protocol} console.");
                Self::new(StatusCode::BAD_REQUEST, "no-console", message)
            }
            // The lifetime is our own configuration's; a caller can neither choose nor mend it.
            IssueError::Lifetime(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "lifetime", error.to_string())
            }
            IssueError::TooFast(retry) => {
                Self::over_limit("issue-rate", "Too many console addresses at once. Try again later.", *retry)
            }
            IssueError::Store(StoreError::Outstanding(most)) => {
                let message = format!(
                    "Server {id} has {most} console addresses that were not opened. Open one, or wait until one \
                     expires."
                );
                Self::over_limit("outstanding", message, OUTSTANDING_RETRY)
            }
            IssueError::Store(_) => Self::unavailable("store"),
            IssueError::Token(_) => Self::unavailable("generator"),
            IssueError::Audit(_) => Self::unavailable("audit"),
        }
    }

    fn over_limit(cause: &'static str, message: impl Into<Cow<'static, str>>, retry: u32) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, cause, message);
        Self { more: More::RetryAfter(retry), ..refusal }
    }

    /// Something behind us does not answer; nothing more is said about it.
    fn unavailable(cause: &'static str) -> Self {
        let message = "The service is temporarily unavailable. Try again later.";
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, cause, message);
        Self { more: More::RetryAfter(RETRY_AFTER), ..refusal }
    }

    /// The JSON body.
    pub(super) fn body(&self, request: &str) -> Value {
        json!({"error_code": cause::code(self.cause), "error_msg": self.message, "request_id": request})
    }
}

impl From<UnknownCaller> for Refusal {
    fn from(error: UnknownCaller) -> Self {
        match error {
            UnknownCaller::Body(error) => error.into(),
            UnknownCaller::Auth(AuthError::Unauthenticated) => {
                let message =
                    "Send a valid credential: X-Auth-Token, or a request signed with SDK-HMAC-SHA256.";
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
            BodyError::Broken => return Self { more: More::Close, ..Self::malformed_body() },
        };
        Self { more: More::Close, ..Self::new(status, cause, error.to_string()) }
    }
}
