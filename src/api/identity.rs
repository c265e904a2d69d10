//! Who calls: the credential of a request's head and, where it is a signature, the body that it covers.

use std::sync::Arc;

use crate::auth::{AuthError, Caller, Head, Identified, Signed};

use super::{BodyError, Call, Core, Payload};

/// Why the caller is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownCaller {
    /// The credential.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The body of a signed request.
    #[error(transparent)]
    Body(#[from] BodyError),
}

async fn verified(signed: Signed, body: &mut Payload) -> Result<Arc<Caller>, UnknownCaller> {
    let read = body.as_mut().await;
    // A body is read once; whoever asks for it next finds this.
    *body = Box::pin(std::future::ready(read.clone()));
    Ok(signed.verify(&read?).await?)
}

impl Core {
    /// The caller. Of a request that is not signed the body is left unread; of one that is, it is read only once
    /// the head has shown a known key and a date of now, and then lies ready in `body`.
    pub(super) async fn caller(&self, call: &Call, body: &mut Payload) -> Result<Arc<Caller>, UnknownCaller> {
        let head =
            Head { method: &call.method, path: call.path(), query: call.query(), headers: &call.headers };
        match self.authenticator.authenticate(&head).await? {
            Identified::Caller(caller) => Ok(caller),
            // Boxed, as what few requests need.
            Identified::Signed(signed) => Box::pin(verified(signed, body)).await,
        }
    }
}
