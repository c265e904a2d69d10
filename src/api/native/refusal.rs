//! Refusals of the native API: `{"error":{"code","message","request_id"}}`.

use std::borrow::Cow;

use hyper::StatusCode;

use super::super::IssueError;
use super::{BodyError, cause};

/// After how many seconds a client may try again when the token store is full or out of reach.
const RETRY_AFTER: u32 = 5;

/// The time a person takes to open one of the links that are out.
const RETRY_OUTSTANDING: u32 = 30;

/// Longest message that quotes what the caller sent.
const MESSAGE: usize = 300;

/// An answer that is not the one asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// One word for logs, of the table of causes.
    pub(super) cause: &'static str,
    pub(super) message: Cow<'static, str>,
    /// Seconds; told with 429 and 503.
    pub(super) retry_after: u32,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        cause: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, cause, message: message.into(), retry_after: RETRY_AFTER }
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

    pub(super) fn unauthenticated() -> Self {
        let message = "Send one valid credential, such as X-Auth-Token.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    pub(super) fn forbidden(permission: &str) -> Self {
        let message = format!("No role of the caller permits {permission}.");
        Self::new(StatusCode::FORBIDDEN, "policy", message)
    }

    pub(super) fn no_server() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-server", "No such server.")
    }

    pub(super) fn no_token() -> Self {
        let message = "No such token, or it is expired or spent, or its server is no longer there.";
        Self::new(StatusCode::NOT_FOUND, "no-token", message)
    }

    pub(super) fn store() -> Self {
        let message = "The token store is full or does not answer. Try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", message)
    }

    pub(super) fn code(&self) -> &'static str {
        cause::code(self.cause)
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
            IssueError::Lifetime(_) => Self::bad("ttl", error.to_string()),
            IssueError::Store(crate::tokens::StoreError::Outstanding(_)) => {
                let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "outstanding", error.to_string());
                Self { retry_after: RETRY_OUTSTANDING, ..refusal }
            }
            IssueError::Store(_) => Self::store(),
            IssueError::Token(_) => {
                let message = "No token can be made. Try again later.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "generator", message)
            }
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", error.to_string())
            }
            BodyError::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", error.to_string()),
            BodyError::Broken => Self::bad("malformed-body", error.to_string()),
        }
    }
}
