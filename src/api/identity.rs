//! Who calls: the credential of a request's head and, where it is a signature, the body that it covers.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::Either;

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

/// A caller who is known at once, or one who takes time; that is boxed, as what few requests need.
type Calling<'a> = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send + 'a>>>;

type Answer = Result<Arc<Caller>, UnknownCaller>;

async fn verified(signed: Signed, body: &mut Payload) -> Result<Arc<Caller>, UnknownCaller> {
    let read = body.read().await;
    // A body is read once; whoever asks for it next finds this.
    *body = Payload::Here(read.clone());
    Ok(signed.verify(&read?).await?)
}

impl Core {
    /// The caller. Of a request that is not signed the body is left unread; of one that is, it is read only once
    /// the head has shown a known key and a date of now, and then lies ready in `body`.
    pub(super) fn caller<'a>(&'a self, call: &'a Call, body: &'a mut Payload) -> Calling<'a> {
        let head =
            Head { method: &call.method, path: call.path(), query: call.query(), headers: &call.headers };
        match self.authenticator.authenticate(&head) {
            Ok(Ok(Identified::Caller(caller))) => Either::Left(ready(Ok(caller))),
            Ok(Ok(Identified::Signed(signed))) => Either::Right(Box::pin(verified(signed, body))),
            Ok(Err(error)) => Either::Left(ready(Err(error.into()))),
            Err(waiting) => Either::Right(Box::pin(async { Ok(waiting.await?) })),
        }
    }
}
