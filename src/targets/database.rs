//! Targets registered at this process alone, in its own database.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::config::{Target, target_to_record};
use crate::ids::TargetId;

use super::durable::{Durable, DurableError};
use super::registrar::{Change, Expected, Registrar, RegistrarFuture, RegistryError};
use super::registry::{Registered, Registry, target_of_record};

/// The database, and the registry that serves what is in it. Revisions are this process' own: after a restart every
/// target has another one.
#[derive(Debug)]
pub struct Database {
    durable: Arc<Durable>,
    registry: Arc<Registry>,
    /// Held through every change, so that disk and registry change in one order.
    changing: Mutex<()>,
}

fn revision() -> String {
    Uuid::new_v4().simple().to_string()
}

impl Database {
    /// Opens the file, or makes it, and puts what is in it into the registry.
    ///
    /// # Errors
    /// If it cannot be opened, or a record in it is not right.
    pub fn open(path: &Path, registry: Arc<Registry>) -> Result<Self, RegistryError> {
        let durable = Durable::open(path)?;
        let read = |(id, document): (String, String)| {
            let key = TargetId::from(id.as_str());
            let target =
                target_of_record(&key, &document).map_err(|wrong| RegistryError::Record(id, wrong))?;
            Ok((key, Registered { revision: revision(), target: Ok(target) }))
        };
        let all = durable.all()?.into_iter().map(read).collect::<Result<_, RegistryError>>()?;
        registry.replace_registered(all);
        Ok(Self { durable: Arc::new(durable), registry, changing: Mutex::default() })
    }

    /// Does the work where it may wait for the disk.
    async fn write(
        &self,
        work: impl FnOnce(&Durable) -> Result<(), DurableError> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let durable = Arc::clone(&self.durable);
        let written = spawn_blocking(move || work(&durable)).await;
        Ok(written.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
    }
}

impl Registrar for Database {
    fn put(&self, target: Target, expected: Expected) -> RegistrarFuture<'_> {
        Box::pin(async move {
            let _one = self.changing.lock().await;
            let id = target.id.clone();
            let before = self.registry.revision(&id);
            if !expected.fits(before.as_deref()) {
                return Err(RegistryError::Differs);
            }
            let (key, document) = (id.to_string(), target_to_record(&target).to_string());
            self.write(move |durable| durable.put(&key, &document)).await?;
            let ready = target.console_ready();
            let one = Registered { revision: revision(), target: Ok(target) };
            let changes = self.registry.apply(vec![(id, Some(one))]);
            Ok(Change { created: before.is_none(), void: !changes.moved.is_empty() || !ready })
        })
    }

    fn remove(&self, id: TargetId, expected: Expected) -> RegistrarFuture<'_> {
        Box::pin(async move {
            let _one = self.changing.lock().await;
            match self.registry.revision(&id) {
                None if self.registry.is_in_file(&id) => return Err(RegistryError::InFile),
                None => return Err(RegistryError::Unknown),
                before if !expected.fits(before.as_deref()) => return Err(RegistryError::Differs),
                Some(_) => {}
            }
            let key = id.to_string();
            self.write(move |durable| durable.remove(&key)).await?;
            let changes = self.registry.apply(vec![(id, None)]);
            Ok(Change { created: false, void: !changes.removed.is_empty() })
        })
    }

    fn release(&self, released: bool) {
        self.durable.release(released);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::contract::{self, Member};
    use super::super::registry::Source;
    use super::*;
    use crate::config::{Password, target_from_json};

    fn member(path: &Path) -> Member {
        let registry = Arc::new(Registry::new(vec![contract::in_file()], Source::Database));
        let registrar = Arc::new(Database::open(path, Arc::clone(&registry)).unwrap());
        Member { registry, registrar }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.redb");
        let first = member(&path);
        contract::changes(&first).await;
        contract::races(&first).await;
        let kept = contract::kept(&first).await;
        drop(first);
        contract::again(&member(&path), &kept);
    }

    #[tokio::test]
    async fn a_password_is_there_after_a_restart_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.redb");
        let security = json!({"types": ["vnc"], "password": "opensesa"});
        let document = json!({"id": "a", "project": "p", "vnc": "tcp://h:1", "vnc_security": security});
        let first = member(&path);
        first.registrar.put(target_from_json(&document).unwrap(), Expected::Anything).await.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        let entry = member(&path).registry.inventory().find(&"a".into()).unwrap();
        let password = entry.target.vnc_security.password.as_ref();
        assert_eq!(password.map(Password::reveal), Some("opensesa"));
    }
}
