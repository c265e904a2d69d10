//! Live sessions of all proxies, in the Redis that has their tokens: places, leases, and the log of what ends them.
//!
//! What is decided by it is decided in one script (`lua/live/`), by the server's clock. Records are the caller's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Cmd, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;
use uuid::Uuid;

use crate::ids::{ProjectId, Protocol, TargetId};
use crate::json::hex;
use crate::tokens::{StoreError, StoreFuture, TokenKey};

use super::call::Call;
use super::link::{Link, LinkError};
use super::route::REPLY;
use super::script::Step;
use super::{RedisStore, Steps, ms, names, strange, word};

/// How long a proxy is believed to live without a word: five of its beats, for a Redis that is slow for a while.
const PROXY_LEASE: Duration = Duration::from_secs(10);

/// Entries that the log keeps: all sessions of a large proxy ended one by one, 5 MB.
const LOG_MOST: usize = 32_768;

/// How long the log is kept after its last entry: far longer than a proxy is cut off without anybody's notice.
const LOG_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Sessions in one call: a few milliseconds of the server's time.
const CHUNK: usize = 400;

/// Entries of the log in one answer.
const PAGE: usize = 1000;

/// Between two tries to subscribe.
const AGAIN: Duration = Duration::from_millis(500);

/// What others on a console mean for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is refused.
    Deny,
    /// It comes in, within the limit.
    Share,
    /// It comes in, and they will be ended.
    Steal,
}

/// The fleet's limits on sessions; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// On one console.
    pub target: usize,
    /// Of one project.
    pub project: usize,
    /// From one address.
    pub source: usize,
}

/// One session as the store counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub session: Uuid,
    /// Its console; `None` if it is counted with another session.
    pub console: Option<(TargetId, Protocol)>,
    /// Its project.
    pub project: ProjectId,
    /// Its viewer's address.
    pub source: String,
    /// The token it was opened with.
    pub token: TokenKey,
    /// Whether nobody else comes in while it is there, whatever they want.
    pub alone: bool,
    /// What is listed of it.
    pub record: String,
}

impl Place {
    fn keys(&self) -> [String; 4] {
        let console = self.console.as_ref();
        let mut token = if self.alone { "!".to_owned() } else { String::new() };
        // Enough to tell a console's viewers apart.
        token.extend(self.token.as_bytes()[..8].iter().flat_map(|byte| hex(*byte)).map(char::from));
        [
            console.map_or("-".to_owned(), |(target, protocol)| {
                names::counted("viewers", &format!("{protocol}:{target}"))
            }),
            names::counted("project", self.project.as_str()),
            names::counted("source", &self.source),
            token,
        ]
    }
}

/// The sessions of a proxy.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Those that have entered, each with the time.
    pub entered: Vec<(u64, Place)>,
    /// All of them, also those that are about to enter.
    pub all: Vec<Uuid>,
}

/// Answer to a session that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has it.
    Entered {
        /// When, by the store's clock, in milliseconds: what is told from then on is about it too.
        at: u64,
        /// Others on the console, on any proxy.
        others: usize,
        /// Sessions of the same token, which its viewer has left behind.
        before: usize,
    },
    /// The console takes one viewer, and has one.
    InUse,
    /// The console has as many as it may.
    Target,
    /// The project has.
    Project,
    /// The address has.
    Source,
}

/// What the log says since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Names the store's history of writes; another one may have lost entries.
    pub history: String,
    /// Where to go on from.
    pub cursor: String,
    /// Entries before this time may have been missed.
    pub missing: Option<u64>,
    /// Each with its time.
    pub entries: Vec<(u64, String)>,
    /// Whether there is more.
    pub more: bool,
    /// The time now, by the same clock.
    pub now: u64,
}

impl RedisStore {
    /// Takes a place for a session of this proxy, if all limits allow it. Again for one that has its place: the same
    /// answer.
    pub fn enter(&self, proxy: &str, place: &Place, manner: Manner, most: Most) -> StoreFuture<'_, Entry> {
        let enter = Call::new(Step::Enter).key(names::PROXIES).arg(proxy).number(ms(PROXY_LEASE));
        let enter = place.keys().iter().fold(enter.uuid(place.session), |enter, key| enter.arg(key));
        let manner = match manner {
            Manner::Deny => "deny",
            Manner::Share => "share",
            Manner::Steal => "steal",
        };
        let enter = enter.arg(&place.record).arg(manner).number(most.target).number(most.project);
        self.step(enter.number(most.source), |_, answer| entry(answer))
    }

    /// Gives up the places of sessions of this proxy.
    pub fn leave(&self, proxy: &str, sessions: &[Uuid]) -> StoreFuture<'_, ()> {
        let mut leaves = leaves(proxy, sessions);
        if leaves.len() == 1 {
            return self.step(leaves.remove(0), |_, _| Ok(()));
        }
        let steps = self.steps();
        self.begin(async move { steps.leave(leaves).await })
    }

    /// The proxy lives, and its sessions have moved what stands beside them. `false`: the store does not have all of
    /// them, and they have to be said anew ([`RedisStore::restate`]).
    pub fn beat(&self, proxy: &str, traffic: &[(Uuid, String)]) -> StoreFuture<'_, bool> {
        let call = |traffic: &[(Uuid, String)]| {
            let mut beat = self.live(Step::Beat);
            beat.arg(proxy).arg(ms(PROXY_LEASE));
            traffic.iter().for_each(|(session, moved)| _ = beat.arg(session.to_string()).arg(moved));
            beat
        };
        let calls: Vec<_> = match traffic {
            [] => vec![call(&[])],
            some => some.chunks(CHUNK).map(call).collect(),
        };
        let steps = self.steps();
        self.begin(async move {
            let mut known = true;
            for call in calls {
                known = steps.call::<String>(&call).await? == "known";
            }
            Ok(known)
        })
    }

    /// Says anew which sessions the proxy has, each with the time it entered. `present` is called once it is known what
    /// the store has: who is just entering is known to one of the two. Nobody who has a place is without it meanwhile.
    /// Returns the store's time, in milliseconds.
    pub fn restate(
        &self,
        proxy: &str,
        present: impl FnOnce() -> Present + Send + 'static,
    ) -> StoreFuture<'_, u64> {
        let (proxy, steps) = (proxy.to_owned(), self.steps());
        self.begin(async move {
            let place = |history: &str, whole: &str| {
                let mut place = steps.link.scripts.call(Step::Place, &[names::PROXIES]);
                place.arg(&proxy).arg(ms(PROXY_LEASE)).arg(history).arg(whole);
                place
            };
            let history: String = steps.call(&place("", "")).await?;
            let mut known = redis::cmd("HGETALL");
            known.arg(names::sessions(&proxy));
            let known: HashMap<String, String> = steps.call(&known).await?;
            let Present { entered, mut all } = present();
            let mut chunks: Vec<&[_]> = entered.chunks(CHUNK).collect();
            if chunks.is_empty() {
                chunks.push(&[]);
            }
            let last = chunks.len() - 1;
            let mut now = 0;
            for (at, chunk) in chunks.into_iter().enumerate() {
                let mut place = place(&history, if at == last { "all" } else { "more" });
                for (entered, one) in chunk {
                    let value = format!("{entered} {} {}", one.keys().join(" "), one.record);
                    place.arg(one.session.to_string()).arg(value);
                }
                let answer: String = steps.call(&place).await?;
                now = answer.parse().map_err(|_| strange("it changed its history meanwhile"))?;
            }
            all.sort_unstable();
            let gone = known.keys().filter_map(|id| id.parse::<Uuid>().ok());
            let gone: Vec<_> = gone.filter(|id| all.binary_search(id).is_err()).collect();
            steps.leave(leaves(&proxy, &gone)).await?;
            Ok(now)
        })
    }

    /// The proxy ends, and its sessions have.
    pub fn part(&self, proxy: &str) -> StoreFuture<'_, ()> {
        let mut part = self.live(Step::Part);
        part.arg(proxy);
        self.each_of(vec![part])
    }

    /// The records of all sessions of proxies that live, each with its proxy and what it last moved.
    pub fn records(&self) -> StoreFuture<'_, Vec<Record>> {
        let steps = self.steps();
        self.begin(async move {
            let mut all = Vec::new();
            for proxy in steps.proxies().await? {
                let hash = |key: String| {
                    let mut get = redis::cmd("HGETALL");
                    get.arg(key);
                    get
                };
                let (sessions, traffic) = (hash(names::sessions(&proxy)), hash(names::traffic(&proxy)));
                let (sessions, mut traffic) = tokio::try_join!(
                    steps.call::<Vec<(String, String)>>(&sessions),
                    steps.call::<HashMap<String, String>>(&traffic),
                )?;
                all.extend(sessions.into_iter().filter(|(id, _)| !id.is_empty()).map(|(id, value)| Record {
                    proxy: proxy.clone(),
                    record: record(&value),
                    traffic: traffic.remove(&id),
                }));
            }
            Ok(all)
        })
    }

    /// Whether the store answers.
    pub fn ready(&self) -> StoreFuture<'_, ()> {
        let steps = self.steps();
        self.begin(async move { steps.proxies().await.map(drop) })
    }

    /// Whether any proxy that lives has this session.
    pub fn has(&self, session: Uuid) -> StoreFuture<'_, bool> {
        let steps = self.steps();
        self.begin(async move {
            for proxy in steps.proxies().await? {
                let mut get = redis::cmd("HGET");
                get.arg(names::sessions(&proxy)).arg(session.to_string());
                if steps.call::<Option<String>>(&get).await?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Writes an entry into the log and tells all who listen.
    pub fn tell(&self, entry: &str) -> StoreFuture<'_, ()> {
        let mut tell = self.steps.link.scripts.call(Step::Tell, &[names::LOG]);
        tell.arg(entry).arg(LOG_MOST).arg(ms(LOG_KEPT)).arg(names::BELL);
        self.each_of(vec![tell])
    }

    /// What the log says after `cursor`; with an empty one, only where its end is.
    pub fn news(&self, cursor: &str) -> StoreFuture<'_, News> {
        let mut news = self.steps.link.scripts.call(Step::News, &[names::LOG]);
        news.arg(cursor).arg(PAGE).arg(LOG_MOST);
        let steps = self.steps();
        self.begin(async move {
            let answer: Vec<String> = steps.call(&news).await?;
            let [history, cursor, missing, now, entries @ ..] = &answer[..] else {
                return Err(strange("an unknown answer about the log"));
            };
            let entry = |pair: &[String]| Some((time(pair.first()?)?, pair.get(1)?.clone()));
            let read: Vec<_> = entries.chunks(2).filter_map(entry).collect();
            Ok(News {
                history: history.clone(),
                cursor: cursor.clone(),
                missing: time(missing),
                more: read.len() >= PAGE,
                now: now.parse().map_err(strange)?,
                entries: read,
            })
        })
    }

    /// Rings `bell` whenever the log has grown, and whenever it may have grown unheard, until this store is dropped.
    /// `anew` makes it subscribe again: the log had something that the bell was not rung for.
    pub fn listen(&self, bell: Arc<Notify>, anew: Arc<Notify>) {
        self.hear(names::BELL, bell, anew);
    }

    /// Rings `bell` for what is said on `channel`, by a subscription of its own.
    pub(super) fn hear(&self, channel: &'static str, bell: Arc<Notify>, anew: Arc<Notify>) {
        let link = Arc::clone(&self.steps.link);
        self.thread.spawn(async move {
            loop {
                if let Err(error) = heard(&link, channel, &bell, &anew).await {
                    debug!(%error, channel, "not subscribed");
                }
                sleep(AGAIN).await;
            }
        });
    }

    fn live(&self, step: Step) -> Cmd {
        self.steps.link.scripts.call(step, &[names::PROXIES])
    }

    pub(super) fn each_of(&self, calls: Vec<Cmd>) -> StoreFuture<'_, ()> {
        let steps = self.steps();
        self.begin(async move {
            for call in calls {
                steps.call::<Value>(&call).await?;
            }
            Ok(())
        })
    }
}

/// A session as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The process that has it.
    pub proxy: String,
    /// What was said of it when it entered.
    pub record: String,
    /// What was last said of what it moved.
    pub traffic: Option<String>,
}

impl Steps {
    /// One after the other, so that others have the server in between.
    async fn leave(&self, leaves: Vec<Call>) -> Result<(), StoreError> {
        for leave in leaves {
            self.ask(leave).await?;
        }
        Ok(())
    }

    async fn proxies(&self) -> Result<Vec<String>, StoreError> {
        self.call(&self.link.scripts.call(Step::Proxies, &[names::PROXIES])).await
    }
}

fn leaves(proxy: &str, sessions: &[Uuid]) -> Vec<Call> {
    let call = |sessions: &[Uuid]| {
        let leave = Call::new(Step::Leave).key(names::PROXIES).arg(proxy);
        sessions.iter().fold(leave, |leave, session| leave.uuid(*session))
    };
    sessions.chunks(CHUNK).map(call).collect()
}

fn entry(answer: Value) -> Result<Entry, StoreError> {
    let answer = word(answer)?;
    match answer.as_str() {
        "in-use" => return Ok(Entry::InUse),
        "target" => return Ok(Entry::Target),
        "project" => return Ok(Entry::Project),
        "source" => return Ok(Entry::Source),
        _ => {}
    }
    let mut numbers = answer.split(' ').map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(at)), Some(Ok(others)), Some(Ok(before)), None) => Ok(Entry::Entered {
            at,
            others: usize::try_from(others).map_err(strange)?,
            before: usize::try_from(before).map_err(strange)?,
        }),
        _ => Err(strange("an unknown answer to a session")),
    }
}

/// Subscribes and rings until the subscription breaks.
async fn heard(link: &Link, channel: &str, bell: &Notify, anew: &Notify) -> Result<(), LinkError> {
    let subscribing = async {
        let mut subscription = link.route.subscription().await?;
        subscription.subscribe(channel).await?;
        Ok::<_, LinkError>(subscription)
    };
    let late = || LinkError::Redis(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    let subscription = timeout(2 * REPLY, subscribing).await.map_err(|_| late())??;
    let mut messages = subscription.into_on_message();
    loop {
        // Once at the beginning as well: what was said before is not said again.
        bell.notify_one();
        tokio::select! {
            () = anew.notified() => return Ok(()),
            message = messages.next() => if message.is_none() {
                return Ok(());
            },
        }
    }
}

/// The milliseconds of an entry's id.
fn time(id: &str) -> Option<u64> {
    id.split_once('-')?.0.parse().ok()
}

/// What follows time and keys.
fn record(value: &str) -> String {
    value.splitn(6, ' ').nth(5).unwrap_or_default().to_owned()
}
