//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to `needed` if it is lower.
///
/// # Panics
/// When the hard limit is lower, with the remedy.
pub(crate) fn allow(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= needed) {
        return;
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        panic!(
            "{needed} open files are needed, {limit:?} are allowed ({error}). To go on: `ulimit -Hn {needed}`"
        );
    }
}
