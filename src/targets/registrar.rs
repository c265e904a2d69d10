//! Where a control plane registers targets: what the database of one process and the inventory of a fleet have in common.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::config::{Problem, Target};
use crate::ids::TargetId;

use super::durable::DurableError;

/// The largest record of a target that a fleet shares, as JSON, in bytes: one with every setting has 2 KB.
pub const MAX_RECORD: usize = 4 * 1024;

/// Why a target was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What is wrong with it, by key.
    #[error("the target is not right")]
    Invalid(Vec<Problem>),
    /// The id is a file's; change it there.
    #[error("the target is in a file; change it there")]
    InFile,
    /// No such target.
    #[error("no such target")]
    Unknown,
    /// Another revision is there than was expected, or none, or one where none was.
    #[error("the target is not what was expected; read it again")]
    Differs,
    /// There is nothing to register it with.
    #[error("nothing keeps targets here; set inventory.database, or inventory.shared for a fleet")]
    NoDatabase,
    /// The database.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A record that was good when it was written: by another version, with other rules.
    #[error("the target {0} in the database is not right: {1}")]
    Record(String, String),
    /// The inventory that a fleet shares, or the way to it.
    #[error("the shared inventory: {0}")]
    Shared(String),
    /// As many targets as there may be.
    #[error("there are {0} targets, and there may be no more")]
    Full(usize),
    /// A record is there, and this process cannot use it.
    #[error("the target is registered, but cannot be used: {0}")]
    Unusable(String),
}

/// What a change expects to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there, or nothing.
    #[default]
    Anything,
    /// Nothing.
    Nothing,
    /// Something.
    Something,
    /// This revision.
    Revision(String),
}

impl Expected {
    /// Whether `revision` is what was expected.
    pub fn fits(&self, revision: Option<&str>) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => revision.is_none(),
            Self::Something => revision.is_some(),
            Self::Revision(expected) => revision == Some(expected),
        }
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The id was not there before.
    pub created: bool,
    /// Consoles that are open must end: the server is gone, elsewhere, or has no console in this state.
    pub void: bool,
}

/// An answer, on its way.
pub type RegistrarFuture<'a> = Pin<Box<dyn Future<Output = Result<Change, RegistryError>> + Send + 'a>>;

/// Keeps what a control plane registers. A change is one step: of two that expect the same revision, one is made. It
/// is kept, and in force in this process, when it is answered. A caller that stops waiting does not undo it.
pub trait Registrar: Debug + Send + Sync + 'static {
    /// Keeps the target in the place of what is there under its id, if that is what was expected.
    fn put(&self, target: Target, expected: Expected) -> RegistrarFuture<'_>;
    /// Removes the target, if it is what was expected.
    fn remove(&self, id: TargetId, expected: Expected) -> RegistrarFuture<'_>;
    /// Leaves what one process alone may have open to another; or takes it back. Meanwhile nothing is changed.
    fn release(&self, _released: bool) {}
}
