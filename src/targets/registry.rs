//! Where targets come from: files, which win, and the database beside them, which the admin API writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::config::{Problem, Target, target_from_json, target_to_record};
use crate::ids::TargetId;

use super::durable::{Durable, DurableError};
use super::inventory::{Changes, Inventory};

/// Where a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration or the inventory file; the admin API does not change it.
    File,
    /// The database.
    Database,
}

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
    /// There is no database.
    #[error("no database is configured; set inventory.database")]
    NoDatabase,
    /// The database.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A record that was good when it was written: by another version, with other rules.
    #[error("the target {0} in the database is not right: {1}")]
    Record(String, String),
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The id was not there before.
    pub created: bool,
    /// Consoles that are open must end: the server is gone, elsewhere, or has no console in this state.
    pub void: bool,
}

/// Keeps the inventory what files and database say together.
#[derive(Debug)]
pub struct Registry {
    inventory: Arc<Inventory>,
    durable: Option<Durable>,
    /// Held through every change, so that disk, this and the inventory change in one order.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeSet<TargetId>,
    database: BTreeMap<TargetId, Target>,
}

impl Registry {
    /// An inventory of the files' targets and of those in `database`.
    ///
    /// # Errors
    /// If the database cannot be opened, or a record in it is not right.
    pub fn new(files: Vec<Target>, database: Option<&Path>) -> Result<Self, RegistryError> {
        let durable = database.map(Durable::open).transpose()?;
        let mut known = Known::default();
        for (id, document) in durable.iter().map(Durable::all).collect::<Result<Vec<_>, _>>()?.concat() {
            known.database.insert(id.as_str().into(), record(&id, &document)?);
        }
        let registry = Self { inventory: Arc::default(), durable, known: Mutex::new(known) };
        registry.replace_files(files);
        Ok(registry)
    }

    /// The inventory, always up to date.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Takes the files' targets as they are now. A database's target of the same id is not served meanwhile.
    pub fn replace_files(&self, files: Vec<Target>) -> Changes {
        let mut known = self.known();
        known.files = files.iter().map(|target| target.id.clone()).collect();
        let mut all = files;
        for (id, target) in &known.database {
            if known.files.contains(id) {
                tracing::error!(target = %id, "the target is in a file and in the database; the file's is used");
            } else {
                all.push(target.clone());
            }
        }
        self.inventory.replace(all)
    }

    /// Closes the database, for another process to open it; or takes it back. Meanwhile it is not changed.
    pub fn release(&self, released: bool) {
        if let Some(durable) = &self.durable {
            durable.release(released);
        }
    }

    /// Where the target of this id is written.
    pub fn source(&self, id: &TargetId) -> Option<Source> {
        let known = self.known();
        match known.files.contains(id) {
            true => Some(Source::File),
            false => known.database.contains_key(id).then_some(Source::Database),
        }
    }

    /// Registers the target, in the place of what there was under this id. On disk, and open to the proxy, when
    /// this returns; it blocks.
    ///
    /// # Errors
    /// As [`RegistryError`] says; then nothing changed.
    pub fn put(&self, id: &TargetId, document: &Value) -> Result<Change, RegistryError> {
        let durable = self.durable.as_ref().ok_or(RegistryError::NoDatabase)?;
        let target = named(id, document).map_err(RegistryError::Invalid)?;
        let mut known = self.known();
        if known.files.contains(id) {
            return Err(RegistryError::InFile);
        }
        durable.put(id.as_str(), &target_to_record(&target).to_string())?;
        let created = known.database.insert(id.clone(), target.clone()).is_none();
        let ready = target.console_ready();
        let moved = self.inventory.set(id, Some(target));
        Ok(Change { created, void: moved || !ready })
    }

    /// Removes the target; it blocks.
    ///
    /// # Errors
    /// As [`RegistryError`] says; then nothing changed.
    pub fn remove(&self, id: &TargetId) -> Result<Change, RegistryError> {
        let durable = self.durable.as_ref().ok_or(RegistryError::NoDatabase)?;
        let mut known = self.known();
        let in_file = known.files.contains(id);
        if !known.database.contains_key(id) {
            return Err(if in_file { RegistryError::InFile } else { RegistryError::Unknown });
        }
        durable.remove(id.as_str())?;
        known.database.remove(id);
        if !in_file {
            self.inventory.set(id, None);
        }
        Ok(Change { created: false, void: !in_file })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(id: &str, document: &str) -> Result<Target, RegistryError> {
    let wrong = |what: String| RegistryError::Record(id.to_owned(), what);
    let value: Value = serde_json::from_str(document).map_err(|error| wrong(error.to_string()))?;
    named(&id.into(), &value).map_err(|problems| {
        let first = problems.first();
        wrong(first.map(|problem| format!("{}: {}", problem.key, problem.message)).unwrap_or_default())
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

    fn file(id: &str) -> Target {
        target_from_json(&json!({"id": id, "project": "file"})).unwrap()
    }

    #[test]
    fn files_and_database_are_one_inventory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.redb");
        let registry = Registry::new(vec![file("a")], Some(&path)).unwrap();
        let put = |id: &str, document: Value| registry.put(&id.into(), &document);
        let vnc = |port: u16| json!({"project": "db", "vnc": format!("tcp://127.0.0.1:{port}")});
        let owner =
            |id: &str| registry.inventory().find(&id.into()).map(|entry| entry.target.project.to_string());
        assert!(matches!(put("a", vnc(1)), Err(RegistryError::InFile)));
        assert!(matches!(put("b", json!({"id": "c", "project": "p"})), Err(RegistryError::Invalid(_))));
        assert_eq!(put("b", vnc(1)).unwrap(), Change { created: true, void: false });
        assert_eq!(put("b", vnc(1)).unwrap(), Change { created: false, void: false });
        assert_eq!(put("b", vnc(2)).unwrap(), Change { created: false, void: true });
        assert_eq!((owner("a").as_deref(), owner("b").as_deref()), (Some("file"), Some("db")));
        // A file that takes the id wins, and gives it back.
        registry.replace_files(vec![file("a"), file("b")]);
        assert_eq!((owner("b").as_deref(), registry.source(&"b".into())), (Some("file"), Some(Source::File)));
        registry.replace_files(vec![file("a")]);
        assert_eq!(
            (owner("b").as_deref(), registry.source(&"b".into())),
            (Some("db"), Some(Source::Database))
        );
        put("c", vnc(3)).unwrap();
        assert_eq!(registry.remove(&"c".into()).unwrap(), Change { created: false, void: true });
        assert!(matches!(registry.remove(&"c".into()), Err(RegistryError::Unknown)));
        assert!(matches!(registry.remove(&"a".into()), Err(RegistryError::InFile)));
        assert_eq!(owner("c"), None);
        drop(registry);
        let again = Registry::new(vec![file("a")], Some(&path)).unwrap();
        assert_eq!(again.inventory().len(), 2);
        let none = Registry::new(vec![file("a")], None).unwrap();
        assert!(matches!(none.put(&"x".into(), &vnc(1)), Err(RegistryError::NoDatabase)));
    }

    #[test]
    fn a_password_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.redb");
        let security = json!({"types": ["vnc"], "password": "opensesa"});
        let document = json!({"project": "p", "vnc": "tcp://h:1", "vnc_security": security});
        let registry = Registry::new(vec![], Some(&path)).unwrap();
        registry.put(&"a".into(), &document).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        drop(registry);
        let again = Registry::new(vec![], Some(&path)).unwrap();
        let entry = again.inventory().find(&"a".into()).unwrap();
        let password = entry.target.vnc_security.password.as_ref();
        assert_eq!(password.map(crate::config::Password::reveal), Some("opensesa"));
    }
}
