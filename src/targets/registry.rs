//! Where targets come from: files, which win, and what a control plane registered, wherever that is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::config::{Problem, Target, target_from_json};
use crate::ids::TargetId;

use super::inventory::{Changes, Inventory, generation};
use super::registrar::RegistryError;

/// So many changes at once are made one by one; of more the inventory is made anew.
const FEW: usize = 32;

/// Where a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration or the inventory file; the admin API does not change it.
    File,
    /// The database of this process.
    Database,
    /// The store that a fleet shares.
    Shared,
}

impl Source {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Database => "database",
            Self::Shared => "shared",
        }
    }
}

/// A registered target.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Names this state of it; no two have the same.
    pub revision: String,
    /// The target, or why this process cannot use it.
    pub target: Result<Target, String>,
}

/// Keeps the inventory what files and registered targets say together.
#[derive(Debug)]
pub struct Registry {
    inventory: Arc<Inventory>,
    /// What registered targets are called.
    source: Source,
    /// Held through every change, so that this and the inventory change in one order.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeSet<TargetId>,
    registered: BTreeMap<TargetId, Registered>,
}

impl Registry {
    /// An inventory of the files' targets. `source` is where registered ones will come from.
    pub fn new(files: Vec<Target>, source: Source) -> Self {
        let registry = Self { inventory: Arc::default(), source, known: Mutex::default() };
        registry.replace_files(files);
        registry
    }

    /// The inventory, always up to date.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Takes the files' targets as they are now. A registered target of the same id is not served meanwhile.
    pub fn replace_files(&self, files: Vec<Target>) -> Changes {
        let mut known = self.known();
        known.files = files.iter().map(|target| target.id.clone()).collect();
        self.inventory.replace(known.with(files))
    }

    /// Takes all registered targets as they are now.
    pub fn replace_registered(&self, registered: BTreeMap<TargetId, Registered>) -> Changes {
        let mut known = self.known();
        known.registered = registered;
        self.renew(&known)
    }

    /// Takes what became of some registered targets, in this order; `None` is one that was removed.
    pub fn apply(&self, news: Vec<(TargetId, Option<Registered>)>) -> Changes {
        let mut known = self.known();
        if news.len() > FEW {
            news.into_iter().for_each(|(id, one)| known.note(id, one));
            return self.renew(&known);
        }
        let mut changes = Changes::default();
        for (id, one) in news {
            let target = one.as_ref().and_then(|one| one.target.clone().ok());
            known.note(id.clone(), one);
            if known.files.contains(&id) {
                tell_hidden(&id);
                continue;
            }
            let before = self.inventory.find(&id);
            match (&before, &target) {
                (None, None) => continue,
                (None, Some(_)) => changes.added.push(id.clone()),
                (Some(_), None) => changes.removed.push(id.clone()),
                (Some(before), Some(target)) if before.target == *target => continue,
                (Some(before), Some(target)) => {
                    if before.generation != generation(target) {
                        changes.moved.push(id.clone());
                    }
                    changes.changed.push(id.clone());
                }
            }
            self.inventory.set(&id, target);
        }
        changes
    }

    /// Where the target of this id is written.
    pub fn source(&self, id: &TargetId) -> Option<Source> {
        let known = self.known();
        match known.files.contains(id) {
            true => Some(Source::File),
            false => known.registered.contains_key(id).then_some(self.source),
        }
    }

    /// The registered target of this id, also if a file's is served in its place.
    pub fn registered(&self, id: &TargetId) -> Option<Registered> {
        self.known().registered.get(id).cloned()
    }

    /// The revision of the registered target of this id.
    pub fn revision(&self, id: &TargetId) -> Option<String> {
        self.known().registered.get(id).map(|one| one.revision.clone())
    }

    /// Registered targets that this process cannot use, by id, each with the reason.
    pub fn unusable(&self) -> Vec<(TargetId, String)> {
        let known = self.known();
        let reason = |(id, one): (&TargetId, &Registered)| {
            one.target.as_ref().err().map(|reason| (id.clone(), reason.clone()))
        };
        known.registered.iter().filter_map(reason).collect()
    }

    /// The target of a caller's document, which may be registered here.
    ///
    /// # Errors
    /// If the id is a file's, or with all that is wrong in the document.
    pub fn read(&self, id: &TargetId, document: &Value) -> Result<Target, RegistryError> {
        let target = named(id, document).map_err(RegistryError::Invalid)?;
        match self.is_in_file(id) {
            true => Err(RegistryError::InFile),
            false => Ok(target),
        }
    }

    /// Whether a file has the target.
    pub fn is_in_file(&self, id: &TargetId) -> bool {
        self.known().files.contains(id)
    }

    /// Makes the inventory anew from the files' targets in it and from what is registered.
    fn renew(&self, known: &Known) -> Changes {
        let files = known.files.iter().filter_map(|id| self.inventory.find(id));
        let files = files.map(|entry| entry.target.clone()).collect();
        self.inventory.replace(known.with(files))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note(&mut self, id: TargetId, one: Option<Registered>) {
        match one {
            Some(one) => _ = self.registered.insert(id, one),
            None => _ = self.registered.remove(&id),
        }
    }

    /// The files' targets and those registered ones that are served beside them.
    fn with(&self, files: Vec<Target>) -> Vec<Target> {
        let mut all = files;
        for (id, one) in &self.registered {
            if self.files.contains(id) {
                tell_hidden(id);
            } else if let Ok(target) = &one.target {
                all.push(target.clone());
            }
        }
        all
    }
}

fn tell_hidden(id: &TargetId) {
    tracing::error!(target = %id, "the target is in a file and is registered; the file's is used");
}

/// The target of a record that was kept; or what is wrong with it.
pub fn target_of_record(id: &TargetId, document: &str) -> Result<Target, String> {
    // Not the error's own text: it may quote what is kept.
    let value: Value = serde_json::from_str(document).map_err(|_| "it is not JSON".to_owned())?;
    named(id, &value).map_err(|problems| {
        let first = problems.first();
        first.map(|problem| format!("{}: {}", problem.key, problem.message)).unwrap_or_default()
    })
}

/// The target of a document, which need not repeat its id and must not have another.
fn named(id: &TargetId, document: &Value) -> Result<Target, Vec<Problem>> {
    let mut document = document.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.entry("id").or_insert_with(|| id.as_str().into());
    }
    let target = target_from_json(&document)?;
    if target.id != *id {
        let message = "is another than the URL's; leave it out".to_owned();
        return Err(vec![Problem { file: "target".into(), line: None, key: "id".to_owned(), message }]);
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(id: &str, project: &str) -> Target {
        target_from_json(&json!({"id": id, "project": project})).unwrap()
    }

    fn one(id: &str, project: &str) -> (TargetId, Option<Registered>) {
        (id.into(), Some(Registered { revision: project.to_owned(), target: Ok(target(id, project)) }))
    }

    fn ids(list: &[&str]) -> Vec<TargetId> {
        list.iter().map(|id| TargetId::from(*id)).collect()
    }

    #[test]
    fn files_win_over_what_is_registered_and_give_it_back() {
        let registry = Registry::new(vec![target("a", "file")], Source::Shared);
        let owner =
            |id: &str| registry.inventory().find(&id.into()).map(|entry| entry.target.project.to_string());
        let changes = registry.apply(vec![one("a", "p"), one("b", "p")]);
        assert_eq!((changes.added, changes.changed), (ids(&["b"]), vec![]));
        assert_eq!((owner("a").as_deref(), owner("b").as_deref()), (Some("file"), Some("p")));
        assert_eq!(registry.source(&"a".into()), Some(Source::File));
        registry.replace_files(vec![target("b", "file")]);
        assert_eq!((owner("a").as_deref(), owner("b").as_deref()), (Some("p"), Some("file")));
        assert_eq!(registry.source(&"a".into()), Some(Source::Shared));
        assert!(matches!(registry.read(&"b".into(), &json!({"project": "p"})), Err(RegistryError::InFile)));
        let other = registry.read(&"a".into(), &json!({"project": "p", "id": "c"}));
        assert!(matches!(&other, Err(RegistryError::Invalid(list)) if list[0].key == "id"), "{other:?}");
        let gone = registry.apply(vec![("a".into(), None), ("b".into(), None), ("c".into(), None)]);
        assert_eq!(gone.removed, ids(&["a"]), "the file's stays");
        let all = registry.replace_registered(BTreeMap::new());
        assert!(all.is_empty() && owner("b").as_deref() == Some("file"));
    }

    #[test]
    fn few_changes_and_many_do_the_same() {
        let (one_by_one, at_once) =
            (Registry::new(vec![], Source::Shared), Registry::new(vec![], Source::Shared));
        let mut news: Vec<_> = (0..FEW * 2).map(|n| one(&format!("t{n:03}"), "p")).collect();
        news.extend([one("t001", "q"), ("t002".into(), None)]);
        let mut moved = 0;
        for single in news.clone() {
            moved += one_by_one.apply(vec![single]).moved.len();
        }
        let changes = at_once.apply(news);
        assert_eq!((moved, changes.added.len()), (1, FEW * 2 - 1));
        assert_eq!(one_by_one.inventory().all(), at_once.inventory().all());
        assert!(at_once.apply(vec![one("t001", "q")]).is_empty(), "the same again");
    }

    #[test]
    fn what_cannot_be_used_is_not_served_and_is_told() {
        let registry = Registry::new(vec![], Source::Shared);
        registry.apply(vec![one("a", "p")]);
        let broken = Registered { revision: "2".to_owned(), target: Err("of another key".to_owned()) };
        assert_eq!(registry.apply(vec![("a".into(), Some(broken))]).removed, ids(&["a"]));
        assert_eq!(registry.unusable(), [("a".into(), "of another key".to_owned())]);
        assert_eq!(registry.revision(&"a".into()).as_deref(), Some("2"));
        assert_eq!(registry.apply(vec![one("a", "p")]).added, ids(&["a"]));
        assert!(registry.unusable().is_empty());
    }
}
