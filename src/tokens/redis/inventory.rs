//! Targets that a fleet shares, in the Redis that has its tokens: sealed records, in the order of their changes.
//!
//! Every change has a number, and who has read up to one asks for what came after it. What was removed leaves a mark
//! for a while. What a record says is the caller's business.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::tokens::{StoreError, StoreFuture};

use super::script::Step;
use super::{RedisStore, Steps, names, strange};

/// Targets that there may be: each process has all of them in memory, about 4 KB each, and looks through all of them
/// for a list.
const MOST: usize = 100_000;

/// Marks of removed targets that are kept. Who was away for more removals than that reads everything anew.
const MARKS: usize = 8192;

/// Records in one answer: a few milliseconds of the server's time, and 1.4 MB if all of them are as large as may be.
const PAGE: usize = 250;

/// A target as it is to be kept.
#[derive(Clone, Debug)]
pub struct SealedTarget {
    /// Its id.
    pub id: String,
    /// Names this state of it; no two have the same. Without spaces.
    pub revision: String,
    /// What it is, sealed.
    pub record: String,
}

/// Answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It was made.
    Done {
        /// The number of the last change, this one or a later one.
        change: u64,
        /// The revision that was there before; empty if there was none. `None`: nobody knows any more.
        before: Option<String>,
    },
    /// What is there is not what was expected.
    Differs,
    /// There is nothing to remove.
    Absent,
    /// There are so many, and there may be no more.
    Full(usize),
    /// Of another epoch than the caller knows: the store was emptied, or used for the first time.
    Anew,
}

/// What became of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetNews {
    /// The store's history; in another one it may have lost changes, or was filled again.
    pub history: String,
    /// Names the inventory; empty if nothing was ever registered.
    pub epoch: String,
    /// The number of the last change.
    pub change: u64,
    /// The last change of which there is no mark any more; who has read less far has missed it.
    pub horizon: u64,
    /// Id, number of its last change, and `REVISION RECORD`, or `REVISION` alone if it was removed.
    pub entries: Vec<(String, u64, String)>,
    /// Whether there are more.
    pub more: bool,
}

impl RedisStore {
    /// Keeps the target, in the place of what is there if that is `expected`: "" is anything, "-" nothing, "*" some
    /// target, else its revision. `epoch` is the one the caller has read, `fresh` names the inventory if this is its
    /// first target.
    pub fn put_target(
        &self,
        epoch: &str,
        fresh: &str,
        target: &SealedTarget,
        expected: &str,
    ) -> StoreFuture<'_, Write> {
        let mut put = self.steps.link.scripts.call(Step::TargetPut, &[names::TARGETS]);
        put.arg(epoch).arg(fresh).arg(&target.id).arg(&target.revision).arg(&target.record);
        put.arg(expected).arg(MOST).arg(names::TARGETS_BELL);
        let steps = self.steps();
        self.begin(async move { steps.write(&put).await })
    }

    /// Removes the target if it is `expected`; `revision` names its absence.
    pub fn remove_target(
        &self,
        epoch: &str,
        id: &str,
        revision: &str,
        expected: &str,
    ) -> StoreFuture<'_, Write> {
        self.remove_keeping(epoch, id, revision, expected, MARKS)
    }

    pub(super) fn remove_keeping(
        &self,
        epoch: &str,
        id: &str,
        revision: &str,
        expected: &str,
        marks: usize,
    ) -> StoreFuture<'_, Write> {
        let mut remove = self.steps.link.scripts.call(Step::TargetRemove, &[names::TARGETS]);
        remove.arg(epoch).arg(id).arg(revision).arg(expected).arg(marks).arg(names::TARGETS_BELL);
        let steps = self.steps();
        self.begin(async move { steps.write(&remove).await })
    }

    /// What changed after the change of this number, each target once; after 0: all there are.
    pub fn target_news(&self, after: u64) -> StoreFuture<'_, TargetNews> {
        let mut news = self.steps.link.scripts.call(Step::TargetNews, &[names::TARGETS]);
        news.arg(after).arg(PAGE);
        let steps = self.steps();
        self.begin(async move {
            let answer: Vec<String> = steps.call(&news).await?;
            let [history, epoch, change, horizon, entries @ ..] = &answer[..] else {
                return Err(strange("an unknown answer about targets"));
            };
            let entry = |triple: &[String]| match triple {
                [id, change, value] if !value.is_empty() => Ok((id.clone(), number(change)?, value.clone())),
                _ => Err(strange("a target without a record")),
            };
            let entries = entries.chunks(3).map(entry).collect::<Result<Vec<_>, _>>()?;
            let (change, horizon) = (number(change)?, number(horizon)?);
            let (history, epoch, more) = (history.clone(), epoch.clone(), entries.len() >= PAGE);
            Ok(TargetNews { history, epoch, change, horizon, entries, more })
        })
    }

    /// Puts back what an emptied store does not have: ids and values as [`TargetNews`] had them. `epoch` is the one
    /// that was lost; it stands again when all of them are there. `filling` is a name that no other filling has.
    ///
    /// # Errors
    /// If the store does not answer; then some may be there, and no epoch. It may be called again.
    pub async fn refill_targets(
        &self,
        epoch: &str,
        filling: &str,
        values: &[(String, String)],
    ) -> Result<(), StoreError> {
        let count = values.len().div_ceil(PAGE);
        for (at, chunk) in values.chunks(PAGE).enumerate() {
            let mut refill = self.steps.link.scripts.call(Step::TargetRefill, &[names::TARGETS]);
            refill.arg(if at + 1 == count { epoch } else { "" }).arg(filling).arg(names::TARGETS_BELL);
            chunk.iter().for_each(|(id, value)| _ = refill.arg(id).arg(value));
            self.each_of(vec![refill]).await?;
        }
        Ok(())
    }

    /// Puts each value in the place of the one that says the same, sealed with another key: id, old, new. How many
    /// stood there still.
    ///
    /// # Errors
    /// If the store does not answer, or the user may not write; then some may be replaced.
    pub async fn reseal_targets(&self, values: &[(String, String, String)]) -> Result<usize, StoreError> {
        let mut count = 0;
        for chunk in values.chunks(PAGE) {
            let mut reseal = self.steps.link.scripts.call(Step::TargetReseal, &[names::TARGETS]);
            chunk.iter().for_each(|(id, old, new)| _ = reseal.arg(id).arg(old).arg(new));
            let steps = self.steps();
            count += self.begin(async move { steps.call::<usize>(&reseal).await }).await?;
        }
        Ok(count)
    }

    /// Rings `bell` whenever targets have changed, and whenever they may have changed unheard, until this store is
    /// dropped. `anew` makes it subscribe again: there was something that the bell was not rung for.
    pub fn listen_to_targets(&self, bell: Arc<Notify>, anew: Arc<Notify>) {
        self.hear(names::TARGETS_BELL, bell, anew);
    }
}

impl Steps {
    async fn write(&self, call: &redis::Cmd) -> Result<Write, StoreError> {
        let answer: Vec<String> = self.call(call).await?;
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        match answer[..] {
            ["done", change, before] => {
                let before = (before != "?").then(|| before.to_owned());
                Ok(Write::Done { change: number(change)?, before })
            }
            ["differs"] => Ok(Write::Differs),
            ["absent"] => Ok(Write::Absent),
            ["full"] => Ok(Write::Full(MOST)),
            ["anew"] => Ok(Write::Anew),
            _ => Err(strange("an unknown answer to a change of targets")),
        }
    }
}

fn number(text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| strange("no number of a change"))
}
