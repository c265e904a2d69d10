//! Reading the shared inventory: what came after the last change that is known, or all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, info, warn};
use uuid::Uuid;

use crate::ids::TargetId;
use crate::targets::{Changes, Registered, target_of_record};
use crate::tokens::{StoreError, TargetNews};

use super::seal::Seals;
use super::{Known, Read, SharedInventory};

/// Reads from the beginning that are given up: the store changes its history again and again.
const BEGINNINGS: usize = 3;

/// Targets that cannot be used and have a line of their own each time.
const TOLD: usize = 10;

/// What came after a change, or all there is.
pub(super) struct Gathered {
    history: String,
    known: Known,
    entries: Vec<(String, u64, String)>,
}

impl SharedInventory {
    /// The rest of what begins with `page`, which was asked for by a reader who knows all up to `base`. `None`: it
    /// began anew meanwhile, or something was missed.
    pub(super) async fn gather(&self, page: TargetNews, base: u64) -> Result<Option<Gathered>, StoreError> {
        let mut gathered = Gathered {
            history: page.history.clone(),
            known: Known { loaded: true, epoch: page.epoch.clone(), change: base },
            entries: Vec::new(),
        };
        let mut page = page;
        loop {
            let same = (&page.history, &page.epoch) == (&gathered.history, &gathered.known.epoch);
            if !same || page.horizon > base {
                return Ok(None);
            }
            let Some((_, last, _)) = page.entries.last() else { break };
            gathered.known.change = *last;
            gathered.entries.append(&mut page.entries);
            if !page.more {
                break;
            }
            page = self.0.store.target_news(gathered.known.change).await?;
        }
        Ok(Some(gathered))
    }

    /// Takes over what is new.
    pub(super) async fn follow(&self, read: &mut Read, gathered: Gathered) -> Result<Changes, StoreError> {
        let Gathered { known, entries, .. } = gathered;
        for (id, _, value) in &entries {
            match split(value) {
                Some(_) => _ = read.values.insert(id.as_str().into(), value.clone()),
                None => _ = read.values.remove(id.as_str()),
            }
        }
        let news = self.open(entries).await?;
        read.known = known;
        Ok(if news.is_empty() { Changes::default() } else { self.0.registry.apply(news) })
    }

    /// Reads all of it: for the first time, or because it is not what it was.
    pub(super) async fn begin(&self, read: &mut Read) -> Result<Changes, StoreError> {
        let store = &self.0.store;
        for _ in 0..BEGINNINGS {
            let first = store.target_news(0).await?;
            if read.known.loaded && first.epoch != read.known.epoch && !read.values.is_empty() {
                error!(
                    targets = read.values.len(),
                    "the store has lost the shared inventory: what this process knows is put back"
                );
                let values = read.all();
                // Whatever fails from here on, all of it is read again.
                read.history.clear();
                let filling = Uuid::new_v4().simple().to_string();
                store.refill_targets(&read.known.epoch, &filling, &values).await?;
                // Whatever stands there now is the fleet's.
                read.known.epoch = store.target_news(0).await?.epoch;
                continue;
            }
            // What was changed while it is read comes once more, at its new place; only a mark must not be missed.
            let Some(all) = self.gather_all(first).await? else { continue };
            let values = live(&all.entries);
            let news = self.open(all.entries).await?;
            *read = Read { known: all.known, history: all.history, values };
            let changes = self.replace(news);
            info!(targets = read.values.len(), "the shared inventory was read");
            self.reseal(read).await;
            return Ok(changes);
        }
        Err(StoreError::Unavailable("it changes faster than it can be read".to_owned()))
    }

    /// Seals with the first key what an older one has sealed, so that the older one can go. Whoever may not do that, or
    /// cannot now, leaves it to another process, or to its next start.
    async fn reseal(&self, read: &mut Read) {
        let old = self.stale(read);
        if old.is_empty() {
            return;
        }
        let seals = Arc::clone(&self.0.seals);
        let sealing = tokio::task::spawn_blocking(move || reseal_all(&seals, old));
        let Ok(values) = sealing.await else { return };
        if values.is_empty() {
            // None of them can be opened; that is told elsewhere.
            return;
        }
        match self.0.store.reseal_targets(&values).await {
            Ok(count) => {
                info!(count, "targets are sealed with the first key of inventory.key_file now");
                read.resealed(values);
            }
            Err(error) => warn!(%error, "targets are still sealed with an older key"),
        }
    }

    /// All that begins with the first page.
    async fn gather_all(&self, first: TargetNews) -> Result<Option<Gathered>, StoreError> {
        let base = first.change;
        Ok(self.gather(first, base).await?.map(Gathered::last_words))
    }

    fn replace(&self, news: Vec<(TargetId, Option<Registered>)>) -> Changes {
        let registered = news.into_iter().filter_map(|(id, one)| Some((id, one?))).collect();
        self.0.registry.replace_registered(registered)
    }

    /// What an older key has sealed.
    fn stale(&self, read: &Read) -> Vec<(String, String)> {
        let fresh = |value: &str| split(value).is_none_or(|(_, record)| self.0.seals.is_fresh(record));
        let mut all = read.all();
        all.retain(|(_, value)| !fresh(value));
        all
    }

    /// Opens records, where it keeps nobody waiting.
    async fn open(
        &self,
        entries: Vec<(String, u64, String)>,
    ) -> Result<Vec<(TargetId, Option<Registered>)>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let seals = Arc::clone(&self.0.seals);
        let opening = tokio::task::spawn_blocking(move || open_all(&seals, &entries));
        let opened = match opening.await {
            Ok(opened) => opened,
            Err(error) => return Err(StoreError::Unavailable(format!("records were not opened: {error}"))),
        };
        tell_unusable(&opened);
        Ok(opened)
    }
}

impl Read {
    /// Ids and values.
    fn all(&self) -> Vec<(String, String)> {
        self.values.iter().map(|(id, value)| (id.to_string(), value.clone())).collect()
    }

    fn resealed(&mut self, values: Vec<(String, String, String)>) {
        self.values.extend(values.into_iter().map(|(id, _, new)| (TargetId::from(id), new)));
    }
}

impl Gathered {
    /// What is there twice is there once, with its last word.
    fn last_words(mut self) -> Self {
        let last: BTreeMap<_, _> = self.entries.iter().map(|(id, change, _)| (id.clone(), *change)).collect();
        self.entries.retain(|(id, change, _)| last.get(id) == Some(change));
        self
    }
}

/// The values that are targets', by id.
fn live(entries: &[(String, u64, String)]) -> BTreeMap<TargetId, String> {
    let targets = entries.iter().filter(|(_, _, value)| split(value).is_some());
    targets.map(|(id, _, value)| (TargetId::from(id.as_str()), value.clone())).collect()
}

fn open_all(seals: &Seals, entries: &[(String, u64, String)]) -> Vec<(TargetId, Option<Registered>)> {
    entries.iter().map(|(id, _, value)| opened(seals, id, value)).collect()
}

fn reseal_all(seals: &Seals, old: Vec<(String, String)>) -> Vec<(String, String, String)> {
    old.into_iter().filter_map(|(id, value)| resealed(seals, id, value)).collect()
}

/// Revision and record of a value; `None` is the mark of a target that was removed.
fn split(value: &str) -> Option<(&str, &str)> {
    value.split_once(' ')
}

/// What a value of the store says of a target.
fn opened(seals: &Seals, id: &str, value: &str) -> (TargetId, Option<Registered>) {
    let key = TargetId::from(id);
    let Some((revision, record)) = split(value) else { return (key, None) };
    let opened = seals.open(id, revision, record).map_err(|error| error.to_string());
    let target = opened.and_then(|document| target_of_record(&key, &document));
    (key, Some(Registered { revision: revision.to_owned(), target }))
}

/// The same value sealed with the first key: id, old, new. What cannot be opened stays.
fn resealed(seals: &Seals, id: String, value: String) -> Option<(String, String, String)> {
    let (revision, record) = split(&value)?;
    let document = seals.open(&id, revision, record).ok()?;
    let sealed = seals.seal(&id, revision, &document).ok()?;
    let new = format!("{revision} {sealed}");
    Some((id, value, new))
}

/// Operators are told of some by name, and of all by their number: with a key that is missing it is all of them.
fn tell_unusable(opened: &[(TargetId, Option<Registered>)]) {
    let reason = |(id, one): &(TargetId, Option<Registered>)| {
        one.as_ref().and_then(|one| one.target.as_ref().err()).map(|reason| (id.clone(), reason.clone()))
    };
    let unusable: Vec<_> = opened.iter().filter_map(reason).collect();
    for (id, reason) in unusable.iter().take(TOLD) {
        error!(target = %id, reason, "a registered target cannot be used");
    }
    if unusable.len() > TOLD {
        error!(targets = unusable.len(), "so many registered targets cannot be used");
    }
}
