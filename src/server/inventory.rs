//! The inventory as a server has it: files, and what a control plane registers, at this process or with its fleet.

use std::future::pending;
use std::sync::Arc;

use crate::config::Config;
use crate::fleet::SharedInventory;
use crate::targets::{Database, Registrar, Registry, Source};
use crate::tokens::RedisStore;

use super::ServerError;
use super::connection::Shared;

/// The registry with the files' targets, and with the fleet's if they are shared. A process that `follows` another one
/// does not take its place without them; otherwise they come as soon as the store answers.
pub(super) fn begin(
    config: &Config,
    store: Option<&Arc<RedisStore>>,
    follows: bool,
) -> Result<(Arc<Registry>, Option<SharedInventory>), ServerError> {
    let source = if config.shared_inventory.is_some() { Source::Shared } else { Source::Database };
    let registry = Arc::new(Registry::new(config.targets.clone(), source));
    let (Some(keys), Some(store)) = (&config.shared_inventory, store) else { return Ok((registry, None)) };
    let shared = SharedInventory::new(Arc::clone(store), Arc::clone(&registry), keys);
    let shared = shared.map_err(|_| ServerError::Seals)?;
    if !shared.load() && follows {
        return Err(ServerError::Unread);
    }
    Ok((registry, Some(shared)))
}

/// What the admin API registers targets with, if with anything. Opens the database, which one process has at a time.
pub(super) fn registrar(
    config: &Config,
    registry: &Arc<Registry>,
    shared: Option<&SharedInventory>,
) -> Result<Option<Arc<dyn Registrar>>, ServerError> {
    if let Some(shared) = shared {
        return Ok(Some(Arc::new(shared.clone())));
    }
    let Some(path) = &config.inventory_database else { return Ok(None) };
    Ok(Some(Arc::new(Database::open(path, Arc::clone(registry))?)))
}

/// Follows what is shared, if anything is, for as long as it is polled.
pub(super) async fn follow(shared: &Shared) {
    match &shared.inventory {
        Some(inventory) => inventory.keep(&**shared.proxy.sessions()).await,
        None => pending().await,
    }
}
