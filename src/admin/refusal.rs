//! Refusals of the admin listener: `{"error":{"code","message","request_id","problems"}}`.

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::ids::RequestId;
use crate::relay::record::LibraryError;
use crate::targets::{DurableError, RegistryError};
use crate::tokens::StoreError;

use super::{ALLOW, Reply, WWW_AUTHENTICATE, respond};

/// An answer that is not the one asked for. A code never changes its meaning.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: String,
    allow: &'static str,
    /// What is wrong with a target, by key.
    problems: Vec<Value>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: "", problems: Vec::new() }
    }

    pub(super) fn unauthorized() -> Self {
        let message = "Send Authorization: Bearer TOKEN, with the token of [admin].";
        Self::new(StatusCode::UNAUTHORIZED, "ADMIN.0001", message)
    }

    pub(super) fn no_route() -> Self {
        let message = "No such path. There are /health/live, /health/ready, /metrics, /v1/targets, /v1/sessions, \
             /v1/recordings, /v1/revoke.";
        Self::new(StatusCode::NOT_FOUND, "ADMIN.0002", message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("This path takes {allow}.");
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "ADMIN.0003", message) }
    }

    pub(super) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ADMIN.0004", message)
    }

    pub(super) fn query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ADMIN.0005", message)
    }

    pub(super) fn no_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ADMIN.0006", "No such session.")
    }

    pub(super) fn crashed() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0012", "The change was not made; see the log.")
    }

    pub(super) fn no_break() -> Self {
        let message = "This console has no break; telnet: and tty: lines have one.";
        Self::new(StatusCode::CONFLICT, "ADMIN.0014", message)
    }

    pub(super) fn no_recordings() -> Self {
        let message = "Sessions are not recorded here: [recording] names no directory.";
        Self::new(StatusCode::NOT_IMPLEMENTED, "ADMIN.0015", message)
    }

    pub(super) fn condition() -> Self {
        let message = "If-Match takes one revision in quotes, or *; If-None-Match takes * only; one of them.";
        Self::new(StatusCode::BAD_REQUEST, "ADMIN.0019", message)
    }

    pub(super) fn respond(self, id: RequestId) -> Reply {
        let mut error = json!({"code": self.code, "message": self.message, "request_id": id.to_string()});
        if !self.problems.is_empty() {
            error["problems"] = self.problems.into();
        }
        let mut response = respond(self.status, &json!({"error": error}));
        let headers = response.headers_mut();
        headers.insert("x-error-code", HeaderValue::from_static(self.code));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static(self.allow));
            }
            _ => {}
        }
        response
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::Invalid(problems) => {
                let by_key =
                    |problem: crate::config::Problem| json!({"key": problem.key, "message": problem.message});
                let problems = problems.into_iter().map(by_key).collect();
                let refusal = Self::new(StatusCode::BAD_REQUEST, "ADMIN.0007", message);
                Self { problems, ..refusal }
            }
            RegistryError::Unknown => Self::new(StatusCode::NOT_FOUND, "ADMIN.0008", message),
            RegistryError::InFile => Self::new(StatusCode::CONFLICT, "ADMIN.0009", message),
            RegistryError::NoDatabase => Self::new(StatusCode::NOT_IMPLEMENTED, "ADMIN.0010", message),
            RegistryError::Durable(DurableError::Full(_)) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "ADMIN.0011", message)
            }
            RegistryError::Durable(_) | RegistryError::Record(..) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0012", message)
            }
            RegistryError::Differs => Self::new(StatusCode::PRECONDITION_FAILED, "ADMIN.0020", message),
            RegistryError::Shared(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0021", message),
            RegistryError::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "ADMIN.0022", message),
            RegistryError::Unusable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0023", message),
        }
    }
}

impl From<LibraryError> for Refusal {
    fn from(error: LibraryError) -> Self {
        match error {
            LibraryError::Unknown => Self::new(StatusCode::NOT_FOUND, "ADMIN.0016", "No such recording."),
            LibraryError::Live => {
                let message = "The session is still being recorded; end it first.";
                Self::new(StatusCode::CONFLICT, "ADMIN.0017", message)
            }
            LibraryError::Io(error) => {
                tracing::error!(%error, "recordings cannot be read");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0018", "The disk failed; see the log.")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    /// If it was a target that changed: it has; what was issued for it no longer opens, but is still counted.
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ADMIN.0013", error.to_string())
    }
}
