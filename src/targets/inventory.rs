//! The servers known now: an immutable snapshot, replaced whole.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Target;
use crate::ids::{Generation, ProjectId, TargetId};

/// One server as the inventory holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The server.
    pub target: Target,
    /// Its incarnation: a grant is good for this one only.
    pub generation: Generation,
}

/// All servers.
#[derive(Debug, Default)]
pub struct Inventory(ArcSwap<Vec<Arc<Entry>>>);

impl Inventory {
    /// An inventory of `targets`.
    pub fn new(targets: Vec<Target>) -> Self {
        let inventory = Self::default();
        inventory.replace(targets);
        inventory
    }

    /// The server of that id, whoever's it is.
    pub fn find(&self, id: &TargetId) -> Option<Arc<Entry>> {
        self.0.load().iter().find(|entry| entry.target.id == *id).cloned()
    }

    /// A project's servers.
    pub fn list(&self, project: &ProjectId) -> Arc<[Arc<Entry>]> {
        self.0.load().iter().filter(|entry| entry.target.project == *project).cloned().collect()
    }

    /// Puts `targets` in the place of all there were.
    pub fn replace(&self, targets: Vec<Target>) {
        let entry = |target: Target| {
            let places = format!("{:?}{:?}{:?}", target.project, target.vnc, target.serial);
            let generation = places.bytes().fold(0, |sum: u64, byte| sum.rotate_left(8) ^ u64::from(byte));
            Arc::new(Entry { target, generation: Generation(generation) })
        };
        self.0.store(Arc::new(targets.into_iter().map(entry).collect()));
    }
}
