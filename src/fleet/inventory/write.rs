//! Changing the shared inventory.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{Problem, Target, target_to_record};
use crate::ids::TargetId;
use crate::targets::{Change, Expected, MAX_RECORD, Registrar, RegistrarFuture, RegistryError, generation};
use crate::tokens::{SealedTarget, StoreFuture, Write};

use super::{Inner, Known, SharedInventory};

/// How long a member that made a change waits until it has read it.
const READ: Duration = Duration::from_secs(3);

/// How often a change is tried again with a store that began anew meanwhile.
const TRIES: usize = 3;

impl SharedInventory {
    /// Changes the store, and waits until the change is in force here.
    async fn change<'a>(
        &'a self,
        call: impl Fn(String) -> StoreFuture<'a, Write>,
    ) -> Result<Option<String>, RegistryError> {
        let mut known = self.0.known.subscribe();
        for _ in 0..TRIES {
            let Known { loaded, epoch, .. } = known.borrow_and_update().clone();
            if !loaded {
                return Err(shared("it was not read yet"));
            }
            match call(epoch).await.map_err(shared)? {
                Write::Done { change, before } => {
                    self.0.bell.notify_one();
                    let there = timeout(READ, known.wait_for(|known| known.change >= change)).await;
                    let late = || shared("the change is made, but not read back; it will be soon");
                    return there.is_ok_and(|there| there.is_ok()).then_some(before).ok_or_else(late);
                }
                Write::Differs => return Err(RegistryError::Differs),
                Write::Absent => return Err(RegistryError::Unknown),
                Write::Full(most) => return Err(RegistryError::Full(most)),
                Write::Anew => {
                    self.0.bell.notify_one();
                    let _ = timeout(READ, known.changed()).await;
                }
            }
        }
        Err(shared("it began anew; try again"))
    }
}

impl Registrar for SharedInventory {
    fn put(&self, target: Target, expected: Expected) -> RegistrarFuture<'_> {
        Box::pin(async move {
            let Inner { store, registry, seals, .. } = &*self.0;
            let expected = wire(&expected).ok_or(RegistryError::Differs)?;
            let id = target.id.clone();
            let document = Zeroizing::new(target_to_record(&target).to_string());
            if document.len() > MAX_RECORD {
                let message = format!("is larger than {MAX_RECORD} bytes as JSON");
                let key = String::new();
                return Err(RegistryError::Invalid(vec![Problem {
                    file: "target".into(),
                    line: None,
                    key,
                    message,
                }]));
            }
            let revision = Uuid::new_v4().simple().to_string();
            let record = seals.seal(id.as_str(), &revision, &document);
            let record = record.map_err(|_| shared("the system gives no random bytes"))?;
            let sealed = SealedTarget { id: id.to_string(), revision, record };
            let (was, entry) = (registry.revision(&id), registry.inventory().find(&id));
            let fresh = Uuid::new_v4().simple().to_string();
            let before = self.change(|epoch| store.put_target(&epoch, &fresh, &sealed, expected)).await?;
            let created = before.as_deref() == Some("");
            // Of what was there and is not known here, consoles may be open elsewhere.
            let same = before.is_some()
                && before == was
                && entry.is_some_and(|entry| entry.generation == generation(&target));
            Ok(Change { created, void: !(created || same) || !target.console_ready() })
        })
    }

    fn remove(&self, id: TargetId, expected: Expected) -> RegistrarFuture<'_> {
        Box::pin(async move {
            let Inner { store, registry, .. } = &*self.0;
            let expected = wire(&expected).ok_or(RegistryError::Differs)?;
            let revision = Uuid::new_v4().simple().to_string();
            let in_file = registry.is_in_file(&id);
            let removed = self.change(|epoch| store.remove_target(&epoch, id.as_str(), &revision, expected));
            match removed.await {
                Err(RegistryError::Unknown) if in_file => Err(RegistryError::InFile),
                Err(error) => Err(error),
                // Other members may serve it.
                Ok(_) => Ok(Change { created: false, void: true }),
            }
        })
    }
}

/// What the store's scripts call it; `None`: no target has such a revision.
fn wire(expected: &Expected) -> Option<&str> {
    match expected {
        Expected::Anything => Some(""),
        Expected::Nothing => Some("-"),
        Expected::Something => Some("*"),
        Expected::Revision(revision) => Uuid::try_parse(revision).ok().map(|_| revision.as_str()),
    }
}

fn shared(error: impl fmt::Display) -> RegistryError {
    RegistryError::Shared(error.to_string())
}
