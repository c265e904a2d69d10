//! Faults as nova words them: `{"<name>":{"code":N,"message":"..."}}`, and why each was given.

use std::borrow::Cow;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::auth::AuthError;
use crate::tokens::StoreError;

use super::super::answer::More;
use super::super::identity::UnknownCaller;
use super::super::issue::OUTSTANDING_RETRY;
use super::super::{BodyError, IssueError};

/// After how many seconds a client may try again when the token store is full or out of reach.
const RETRY_AFTER: u32 = 5;

/// An answer that is not the one asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) message: Cow<'static, str>,
    /// One word for logs, of a fixed set: the message may hold what the caller sent.
    pub(super) cause: &'static str,
    pub(super) more: More,
}

impl Fault {
    pub(super) fn new(
        status: StatusCode,
        cause: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, message: message.into(), cause, more: More::Nothing }
    }

    pub(super) fn bad_request(cause: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, cause, message)
    }

    /// webob's words for a 400 without an explanation.
    pub(super) fn bare_bad_request(cause: &'static str) -> Self {
        Self::bad_request(
            cause,
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        )
    }

    pub(super) fn malformed_body() -> Self {
        Self::bad_request("malformed-body", "Malformed request body")
    }

    pub(super) fn forbidden(policy: &str) -> Self {
        let message = format!("Policy doesn't allow {policy} to be performed.");
        Self::new(StatusCode::FORBIDDEN, "policy", message)
    }

    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", "The resource could not be found.")
    }

    pub(super) fn no_server(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-server", format!("Instance {id} could not be found."))
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = "The method specified is not allowed for this resource.";
        let fault = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
        Self { more: More::Allow(allow), ..fault }
    }

    /// Why no console was issued for the server of this id.
    pub(super) fn issue(error: &IssueError, id: &str) -> Self {
        match error {
            IssueError::Unknown => Self::no_server(id),
            IssueError::NotReady => {
                Self::new(StatusCode::CONFLICT, "not-ready", format!("Instance {id} is not ready"))
            }
            IssueError::NoConsole(_) => {
                let message = "The requested functionality is not supported.";
                Self::new(StatusCode::NOT_IMPLEMENTED, "no-console", message)
            }
            IssueError::Lifetime(_) => Self::bad_request("lifetime", error.to_string()),
            IssueError::TooFast(retry) => {
                let message = "Too many console URLs were asked for at once. Try again later.";
                Self::over_limit("issue-rate", message, *retry)
            }
            IssueError::Store(StoreError::Outstanding(most)) => {
                let message = format!(
                    "Instance {id} has {most} console URLs that were not opened. Open one, or wait until one \
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
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, cause, message);
        Self { more: More::RetryAfter(retry), ..fault }
    }

    /// Something behind us does not answer; nothing more is said about it.
    pub(super) fn unavailable(cause: &'static str) -> Self {
        let message = "The service is temporarily unavailable. Try again later.";
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, cause, message);
        Self { more: More::RetryAfter(RETRY_AFTER), ..fault }
    }

    /// Without keystonemiddleware's one exception, the name of a fault is its status's.
    fn name(&self) -> &'static str {
        match self.status.as_u16() {
            400 => "badRequest",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "itemNotFound",
            405 => "badMethod",
            409 => "conflictingRequest",
            413 | 429 => "overLimit",
            415 => "badMediaType",
            501 => "notImplemented",
            503 => "serviceUnavailable",
            _ => "computeFault",
        }
    }

    /// The JSON body. A 401 is keystonemiddleware's, which stands before nova.
    pub(super) fn body(&self) -> Value {
        let code = self.status.as_u16();
        if self.status == StatusCode::UNAUTHORIZED {
            return json!({"error": {"code": code, "title": "Unauthorized", "message": self.message}});
        }
        json!({self.name(): {"code": code, "message": self.message}})
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        let fault = Self::new(error.status(), error.cause(), error.to_string());
        Self { more: error.retry_after().map_or(More::Nothing, More::RetryAfter), ..fault }
    }
}

impl From<UnknownCaller> for Fault {
    fn from(error: UnknownCaller) -> Self {
        match error {
            UnknownCaller::Auth(error) => error.into(),
            UnknownCaller::Body(error) => error.into(),
        }
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        let (status, cause) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            BodyError::Broken => return Self { more: More::Close, ..Self::malformed_body() },
        };
        Self { more: More::Close, ..Self::new(status, cause, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_name() {
        let names = [
            (400, "badRequest"),
            (403, "forbidden"),
            (404, "itemNotFound"),
            (405, "badMethod"),
            (406, "computeFault"),
            (408, "computeFault"),
            (409, "conflictingRequest"),
            (413, "overLimit"),
            (415, "badMediaType"),
            (429, "overLimit"),
            (500, "computeFault"),
            (501, "notImplemented"),
            (503, "serviceUnavailable"),
        ];
        for (code, name) in names {
            let fault = Fault::new(StatusCode::from_u16(code).unwrap(), "test", "why");
            assert_eq!(fault.body(), json!({name: {"code": code, "message": "why"}}));
        }
    }

    #[test]
    fn a_401_is_keystonemiddlewares() {
        let body = r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}"#;
        assert_eq!(Fault::from(AuthError::Unauthenticated).body().to_string(), body);
    }

    #[test]
    fn a_key_that_signs_too_much_is_told_when_to_come_back() {
        let fault = Fault::from(AuthError::TooMany);
        let message = "Too many signed requests with this access key: try again later.";
        assert_eq!(fault.body(), json!({"overLimit": {"code": 429, "message": message}}));
        assert_eq!((fault.cause, fault.more), ("access-key-busy", More::RetryAfter(RETRY_AFTER)));
    }
}
