//! How a token comes into the shared store, and takes one of its target's places there.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use crate::tokens::{Grant, LEASE, StoreError, TokenKey};

use super::call::Call;
use super::names::{self, TokenNames};
use super::script::Step;
use super::{SLACK, Steps, ms, strange, word, words};

/// The step that creates a token; where a server has all of them, what finds it is part of it.
pub(super) fn create(key: &TokenKey, grant: &Grant, ttl: Duration, apart: bool) -> Result<Call, StoreError> {
    let mut create = Call::token(Step::Create, key, 3);
    if !apart {
        create = names::indexes(grant).iter().fold(create, |create, index| create.key(index));
    }
    let create = create.number(ms(ttl)).uuid(grant.id.0).arg(grant.protocol.as_str());
    let create = create.json(grant).map_err(strange)?;
    Ok(create.number(ms(LEASE + SLACK)).hash(key).number(ms(ttl + LEASE)))
}

/// What it answers.
pub(super) fn created(answer: Value) -> Result<(), StoreError> {
    match word(answer)?.as_str() {
        "created" => Ok(()),
        "exists" => Err(StoreError::Exists),
        other => Err(strange(other)),
    }
}

impl Steps {
    /// The token first, then what finds it: it is handed out only when all of it stands, and it is looked for
    /// when a place is needed, so that a place is never taken by a token that is not there yet.
    pub(super) async fn create(
        self: Arc<Self>,
        create: Call,
        names: &TokenNames,
        grant: &Grant,
        ttl: Duration,
        most: usize,
    ) -> Result<(), StoreError> {
        created(self.ask(create).await?)?;
        let filed = async {
            if self.link.route.is_cluster() {
                self.note(names, grant, ttl).await?;
            }
            if most == 0 { Ok(()) } else { self.seat(names, grant, ttl, most).await }
        };
        let filed = filed.await;
        if filed.is_err() {
            // Nobody has the token; it only takes room.
            let _ = self.call::<i64>(&self.script(Step::Revoke, names)).await;
        }
        filed
    }

    /// Puts the token where revocations look, for so long.
    pub(super) async fn note(
        &self,
        names: &TokenNames,
        grant: &Grant,
        time: Duration,
    ) -> Result<(), StoreError> {
        let note = |indexes: &[String]| {
            let note = indexes.iter().fold(Call::new(Step::Note), |note, index| note.key(index));
            // A claim made in time outlives the token, and can be revoked as long.
            self.ask(note.arg(&names.hash).number(ms(time + LEASE)))
        };
        let indexes = names::indexes(grant);
        if !self.link.route.is_cluster() {
            return note(&indexes).await.map(drop);
        }
        let [target, project, user] = indexes.each_ref().map(|index| note(std::slice::from_ref(index)));
        tokio::try_join!(target, project, user).map(drop)
    }

    /// Takes one of the target's `most` places. Tokens that were spent or revoked keep theirs until one is needed.
    async fn seat(
        self: &Arc<Self>,
        names: &TokenNames,
        grant: &Grant,
        ttl: Duration,
        most: usize,
    ) -> Result<(), StoreError> {
        let seats = names::seats(grant);
        loop {
            let seat = Call::new(Step::Seat).key(&seats).arg(&names.hash).number(ms(ttl)).number(ms(SLACK));
            let taken = words(self.ask(seat.number(most)).await?)?;
            if taken.is_empty() {
                return Ok(());
            }
            let spent = self.each(taken, |steps, names| async move {
                let live = steps.peek(&names).await?.is_some();
                Ok((!live).then_some(names.hash))
            });
            let spent: Vec<String> = spent.await?.into_iter().flatten().collect();
            if spent.is_empty() {
                return Err(StoreError::Outstanding(most));
            }
            let mut leave = redis::cmd("ZREM");
            leave.arg(&seats).arg(spent);
            self.call::<i64>(&leave).await?;
        }
    }
}
