//! The process before this one at a hot restart, whose sessions live on in it: what this one asks of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::tokens::{Revoke, StoreError, Why};

use super::Listed;

/// How long it may take to answer: as long as a store.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Words on their way to it: as many as set-ups a second, each of which may take a session over.
const QUEUE: usize = 1024;

/// What it is asked about its sessions, and those of processes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Which they are.
    List,
    /// End those of a grant; how many there were.
    End(Revoke, Why),
    /// End one; whether there is such.
    EndOne(Uuid, Why),
    /// A break on one's line.
    Break(Uuid),
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Question::List`]: records with what each has moved, as a shared store would have them.
    Sessions(Vec<(String, String)>),
    /// To [`Question::End`] and [`Question::EndOne`].
    Ended(usize),
    /// To [`Question::Break`].
    Broken(Broken),
}

/// What became of a wish for a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broken {
    /// It is on the line.
    Sent,
    /// The proxy that has the session was told.
    Told,
    /// The line has no break.
    Never,
    /// There is no such session.
    Unknown,
}

/// A question and where its answer goes; or none is wanted.
pub type Wish = (Question, Option<oneshot::Sender<Result<Reply, StoreError>>>);

/// The process before this one, as this one asks it.
#[derive(Clone, Debug)]
pub struct Predecessor(mpsc::Sender<Wish>);

impl Predecessor {
    /// A predecessor, and where questions for it arrive.
    pub fn new() -> (Self, mpsc::Receiver<Wish>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Ends its sessions that `which` names. One that is gone has none; one that does not listen hears it when
    /// its sessions next say that they live.
    pub fn end(&self, which: Revoke, why: Why) {
        let _ = self.0.try_send((Question::End(which, why), None));
    }

    /// Waits until it has ended.
    pub async fn gone(&self) {
        self.0.closed().await;
    }

    /// Asks it; `None`: it has ended, and its sessions have.
    ///
    /// # Errors
    /// If it lives and does not answer.
    pub(super) async fn ask(&self, question: Question) -> Result<Option<Reply>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send((question, Some(answer))).await.ok()?;
            answered.await.ok()
        };
        let late =
            || StoreError::Unavailable(format!("the old process has not answered within {DEADLINE:?}"));
        match timeout(DEADLINE, asking).await {
            Ok(reply) => reply.transpose(),
            Err(_) => Err(late()),
        }
    }

    /// Its sessions, and those of processes before it.
    ///
    /// # Errors
    /// If it lives and does not answer.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        match self.ask(Question::List).await? {
            Some(Reply::Sessions(all)) => {
                Ok(all.iter().filter_map(|(record, moved)| Listed::read(record, Some(moved))).collect())
            }
            Some(_) => Err(strange()),
            None => Ok(Vec::new()),
        }
    }

    /// Ends some of them; how many.
    ///
    /// # Errors
    /// If it lives and does not answer.
    pub(super) async fn ended(&self, question: Question) -> Result<usize, StoreError> {
        match self.ask(question).await? {
            Some(Reply::Ended(count)) => Ok(count),
            Some(_) => Err(strange()),
            None => Ok(0),
        }
    }
}

pub(super) fn strange() -> StoreError {
    StoreError::Unavailable("the old process answers another question".to_owned())
}
