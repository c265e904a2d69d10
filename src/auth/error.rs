//! Why nobody is known: what clients are told, the word for logs, and the status of an answer.

use hyper::StatusCode;

/// After how many seconds another attempt makes sense when something behind us is down or busy.
const RETRY_AFTER: u32 = 5;

/// Why nobody is known. What is told helps whoever holds a good credential, and tells a guesser nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credential, two, or none that is good; which of them is not said.
    #[error("The request you have made requires authentication.")]
    Unauthenticated,
    /// The token is good, but for no project.
    #[error("The token is for no project: log in with a project, then try again.")]
    Unscoped,
    /// The request is signed in a way we do not check.
    #[error("The signature's algorithm {0} is not supported: sign with SDK-HMAC-SHA256.")]
    Algorithm(&'static str),
    /// Something the signature needs is missing or malformed.
    #[error("The signature is incomplete: {0}.")]
    SignatureForm(&'static str),
    /// The request was signed too long ago, or in the future.
    #[error("X-Sdk-Date is more than 15 minutes from the time here: set the client's clock, then try again.")]
    SignatureDate,
    /// The body is not the one that was signed, or was not signed at all.
    #[error("The body is not what X-Sdk-Content-Sha256 says: sign the body that is sent.")]
    SignaturePayload,
    /// A request with this signature was here already.
    #[error(
        "This request was received before: sign it anew in the next second, for X-Sdk-Date counts seconds."
    )]
    SignatureReplayed,
    /// The temporary credential has ended.
    #[error("The temporary credential has expired: get a new one.")]
    CredentialExpired,
    /// More signed requests with one key than we can remember.
    #[error("Too many signed requests with this access key: try again later.")]
    TooMany,
    /// More passwords to check than we have time for.
    #[error("Too many passwords are being checked: try again later.")]
    Busy,
    /// The store that issuers share cannot be asked whether the request was here before.
    #[error("The service is temporarily unavailable. Try again later.")]
    Store,
    /// The identity service cannot be asked.
    #[error("The identity service is not available: try again later.")]
    Unavailable,
}

impl AuthError {
    /// One word of a fixed set, for logs and for codes of dialects.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Unscoped => "unscoped-token",
            Self::Algorithm(_) => "signature-algorithm",
            Self::SignatureForm(_) => "signature-form",
            Self::SignatureDate => "signature-date",
            Self::SignaturePayload => "signature-payload",
            Self::SignatureReplayed => "signature-replayed",
            Self::CredentialExpired => "credential-expired",
            Self::TooMany => "access-key-busy",
            Self::Busy => "passwords-busy",
            Self::Store => "store",
            Self::Unavailable => "identity",
        }
    }

    /// The status of an answer that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Store | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// Seconds for `Retry-After`, where waiting helps.
    pub fn retry_after(self) -> Option<u32> {
        (self.status() != StatusCode::UNAUTHORIZED).then_some(RETRY_AFTER)
    }
}

/// Why the configured credentials cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// The certificates to trust.
    #[error("auth.keystone: certificates to trust cannot be read: {0}")]
    Roots(std::io::Error),
    /// The TLS library.
    #[error("auth.keystone: {0}")]
    Tls(#[from] rustls::Error),
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rand::rngs::SysError),
}
