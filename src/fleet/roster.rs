//! The fleet as one process sees it: everybody's sessions, what ends them, and this process' own, kept up to date.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::relay::End;
use crate::tokens::{Grant, Live, Present, RedisStore, Revoke, StoreError, StoreFuture, TokenKey, Why};

use super::event::{Deed, Event, Line, Order, Whom};
use super::predecessor::strange;
use super::{Broken, Fleet, Listed, Moved, Predecessor, Question, Reply};

/// How often a process says that it lives and reads the log, whether the bell rang or not.
const BEAT: Duration = Duration::from_secs(2);

/// How far back the log is read again when the store has another history: its clock may be so much behind.
const BACK: u64 = 60_000;

/// How old an order may be, in milliseconds: a break that comes late meets another program on the line.
const IN_TIME: u64 = 10_000;

/// Orders that are remembered, to be followed once: far more than are given in that time.
const ORDERS: usize = 1024;

/// Which sessions of this process are to end, and why.
pub type Pick<'a> = dyn FnMut(Uuid, &TokenKey, &Grant, u64) -> Option<End> + 'a;

/// The sessions of this process, as its proxy has them.
pub trait Local: Send + Sync + 'static {
    /// All of them, also those on their way; their proxy's name is left empty.
    fn list(&self) -> Vec<Listed>;
    /// Ends those that `pick` picks by id, token, grant and time of entry; how many.
    fn end(&self, pick: &mut Pick<'_>) -> usize;
    /// Sends a break on a session's line; whether that has breaks. `None`: there is no such session.
    fn send_break(&self, session: Uuid) -> Option<bool>;
    /// Looks at what they move; those for which anything changed since the last look, or `all`.
    fn look(&self, since: Duration, all: bool) -> Vec<(Uuid, Moved)>;
    /// The store's clock says `now`: nobody entered later.
    fn entered_by(&self, now: u64);
}

/// Everybody's sessions.
#[derive(Clone)]
pub struct Roster {
    fleet: Fleet,
    local: Arc<dyn Local>,
    /// An earlier process whose sessions may live on.
    before: Option<Predecessor>,
}

/// How far the log was read.
#[derive(Default)]
struct Read {
    history: String,
    cursor: String,
    /// Orders that were followed.
    followed: VecDeque<Uuid>,
}

impl Roster {
    /// The fleet, and this process' own sessions.
    pub fn new(fleet: Fleet, local: Arc<dyn Local>) -> Self {
        Self { fleet, local, before: None }
    }

    /// The same after an earlier process.
    #[must_use]
    pub fn after(self, before: Option<Predecessor>) -> Self {
        Self { before, ..self }
    }

    /// All sessions of all proxies, in no order, and whether it is all of them: without the store, it is only this
    /// process' own.
    pub async fn list(&self) -> (Vec<Listed>, bool) {
        let mut all = self.here();
        match self.elsewhere().await {
            Ok(others) => {
                all.extend(others);
                (all, true)
            }
            Err(error) => {
                warn!(%error, "only this process' sessions are listed");
                (all, false)
            }
        }
    }

    /// Whether the store answers, if there is one that others share.
    pub async fn is_ready(&self) -> bool {
        match &self.fleet.0.store {
            Some(store) => store.ready().await.inspect_err(|error| debug!(%error, "not ready")).is_ok(),
            None => true,
        }
    }

    /// Claims and confirms that the store refused because the token was issued in another history.
    pub fn fenced(&self) -> u64 {
        self.fleet.0.store.as_ref().map_or(0, |store| store.fenced())
    }

    /// Ends one session, wherever it is; whether there is one.
    ///
    /// # Errors
    /// If it is not here, and the store does not answer.
    pub async fn end_one(&self, session: Uuid, why: Why) -> Result<bool, StoreError> {
        if self.end_here(session, why) {
            return Ok(true);
        }
        let Some(store) = &self.fleet.0.store else {
            return Ok(self.end_before(Question::EndOne(session, why)).await? > 0);
        };
        let there = store.has(session).await?;
        if there {
            self.fleet.tell(Whom::Session(session), why).await?;
        }
        Ok(there)
    }

    /// Sends a break on a session's line, wherever it is.
    ///
    /// # Errors
    /// If it is not here, and it cannot be said where it is.
    pub async fn send_break(&self, session: Uuid) -> Result<Broken, StoreError> {
        match self.local.send_break(session) {
            Some(true) => return Ok(Broken::Sent),
            Some(false) => return Ok(Broken::Never),
            None => {}
        }
        let Some(store) = &self.fleet.0.store else {
            let Some(before) = &self.before else { return Ok(Broken::Unknown) };
            return match before.ask(Question::Break(session)).await? {
                Some(Reply::Broken(broken)) => Ok(broken),
                Some(_) => Err(strange()),
                None => Ok(Broken::Unknown),
            };
        };
        if !store.has(session).await? {
            return Ok(Broken::Unknown);
        }
        let order = Order { order: Deed::Break, session, id: Uuid::new_v4() };
        self.fleet.write(&Line::Order(order)).await?;
        Ok(Broken::Told)
    }

    /// What the process after this one asks about sessions here and before.
    ///
    /// # Errors
    /// If the process before this one lives and does not answer.
    pub async fn answer(&self, question: Question) -> Result<Reply, StoreError> {
        match question {
            Question::List => {
                let mut all = self.here();
                if let Some(before) = &self.before {
                    all.extend(before.list().await?);
                }
                let said = |session: &Listed| (session.record(&session.proxy), session.moved.write());
                Ok(Reply::Sessions(all.iter().map(said).collect()))
            }
            Question::End(which, why) => {
                let here = self.end_named(&which, why);
                Ok(Reply::Ended(here + self.end_before(Question::End(which, why)).await?))
            }
            Question::EndOne(session, why) => {
                let here = usize::from(self.end_here(session, why));
                Ok(Reply::Ended(here + self.end_before(Question::EndOne(session, why)).await?))
            }
            // What is not here is asked for with no store of its own: this process has given that up.
            Question::Break(session) => Ok(Reply::Broken(self.send_break(session).await?)),
        }
    }

    /// The sessions of this process.
    fn here(&self) -> Vec<Listed> {
        let mut all = self.local.list();
        all.iter_mut().for_each(|session| session.proxy.clone_from(&self.fleet.0.name));
        all
    }

    fn end_here(&self, session: Uuid, why: Why) -> bool {
        self.local.end(&mut |id, _, _, _| (id == session).then(|| why.into())) > 0
    }

    fn end_named(&self, which: &Revoke, why: Why) -> usize {
        self.local.end(&mut |_, key, grant, _| which.names(key, grant).then(|| why.into()))
    }

    async fn end_before(&self, question: Question) -> Result<usize, StoreError> {
        match &self.before {
            Some(before) => before.ended(question).await,
            None => Ok(0),
        }
    }

    /// The sessions of the other proxies, or of the process before this one: where a store is shared, that is one of
    /// them.
    async fn elsewhere(&self) -> Result<Vec<Listed>, StoreError> {
        let Some(store) = &self.fleet.0.store else {
            return match &self.before {
                Some(before) => before.list().await,
                None => Ok(Vec::new()),
            };
        };
        let records = store.records().await?;
        let others = records.iter().filter(|record| record.proxy != self.fleet.0.id);
        Ok(others.filter_map(|one| Listed::read(&one.record, one.traffic.as_deref())).collect())
    }

    /// Looks after this process' sessions for as long as it is polled.
    pub async fn keep(&self) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(store) = self.fleet.0.store.clone() else {
            let mut last = Instant::now();
            loop {
                beat.tick().await;
                self.local.look(last.elapsed(), false);
                last = Instant::now();
            }
        };
        let fleet = &self.fleet;
        store.come_near();
        store.listen(Arc::clone(&fleet.0.bell), Arc::clone(&fleet.0.anew));
        let (mut last, mut all, mut read) = (Instant::now(), false, Read::default());
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    // Nothing is said of a session that has left.
                    fleet.hold();
                    let moved = self.local.look(last.elapsed(), all);
                    last = Instant::now();
                    all = self.beat(&store, &moved).await;
                    fleet.let_leave().await;
                    if self.news(&store, &mut read).await > 0 {
                        // The bell should have told.
                        fleet.0.anew.notify_one();
                    }
                }
                () = fleet.0.bell.notified() => {
                    self.news(&store, &mut read).await;
                }
            }
        }
    }

    /// The process ends: its places are free at once.
    pub async fn part(&self) {
        if let Some(store) = &self.fleet.0.store
            && let Err(error) = store.part(&self.fleet.0.id).await
        {
            debug!(%error, "its places are free when its lease has run out");
        }
    }

    /// Whether everything has to be said with the next beat.
    async fn beat(&self, store: &RedisStore, moved: &[(Uuid, Moved)]) -> bool {
        let traffic: Vec<_> = moved.iter().map(|(session, moved)| (*session, moved.write())).collect();
        match store.beat(&self.fleet.0.id, &traffic).await {
            Ok(true) => false,
            Ok(false) => {
                self.restate(store).await;
                true
            }
            Err(error) => {
                debug!(%error, "no beat");
                true
            }
        }
    }

    async fn restate(&self, store: &RedisStore) {
        let (local, fleet) = (Arc::clone(&self.local), self.fleet.clone());
        let present = move || {
            let list = local.list();
            let all = list.iter().map(|session| session.id).collect();
            let entered = list.into_iter().filter(|session| session.entered != u64::MAX);
            Present {
                entered: entered.map(|session| (session.entered, fleet.place(&session))).collect(),
                all,
            }
        };
        match store.restate(&self.fleet.0.id, present).await {
            Ok(now) => self.local.entered_by(now),
            Err(error) => warn!(%error, "this process' sessions are not known to the others yet"),
        }
    }

    /// Reads the log to its end and does what it says; how many entries there were.
    async fn news(&self, store: &RedisStore, read: &mut Read) -> usize {
        let mut count = 0;
        loop {
            let news = match store.news(&read.cursor).await {
                Ok(news) => news,
                Err(error) => {
                    debug!(%error, "the log of ended sessions was not read");
                    return count;
                }
            };
            let begun = !read.cursor.is_empty();
            if begun && news.history != read.history {
                read.history = news.history;
                read.cursor = earlier(&read.cursor);
                continue;
            }
            if let Some(before) = news.missing.filter(|_| begun) {
                // What cannot be known to be good ends.
                let ended =
                    self.local.end(&mut |_, _, _, entered| (entered <= before).then_some(End::CutOff));
                error!(ended, "the log of ended sessions no longer has all that this process has not read");
            }
            count += news.entries.len();
            self.apply(&news.entries, news.now, &mut read.followed);
            (read.history, read.cursor) = (news.history, news.cursor);
            if !news.more {
                return count;
            }
        }
    }

    fn apply(&self, entries: &[(u64, String)], now: u64, followed: &mut VecDeque<Uuid>) {
        let mut told = Vec::new();
        for (at, text) in entries {
            match serde_json::from_str(text) {
                Ok(Line::End(event)) => told.push((*at, event)),
                Ok(Line::Order(order)) if now.saturating_sub(*at) <= IN_TIME => self.follow(&order, followed),
                Ok(Line::Order(order)) => warn!(session = %order.session, "an order came too late"),
                Err(error) => error!(%error, "an entry in the log of ended sessions is of another version"),
            }
        }
        if !told.is_empty() {
            self.end_told(told);
        }
    }

    /// Does what is asked of a session of this process, once.
    fn follow(&self, order: &Order, followed: &mut VecDeque<Uuid>) {
        if followed.contains(&order.id) {
            return;
        }
        if followed.len() == ORDERS {
            followed.pop_front();
        }
        followed.push_back(order.id);
        let Order { order: Deed::Break, session, .. } = order;
        if let Some(sent) = self.local.send_break(*session) {
            info!(%session, sent, "asked for a break from elsewhere");
        }
    }

    fn end_told(&self, told: Vec<(u64, Arc<Event>)>) {
        // First this: who enters from now on finds it there.
        self.fleet.remember(&told);
        // Thousands may be named one by one.
        let mut named = HashMap::new();
        let mut rest = Vec::new();
        for (at, event) in told {
            match event.whom {
                Whom::Session(id) => _ = named.insert(id, (at, event.why)),
                _ => rest.push((at, event)),
            }
        }
        let ended = self.local.end(&mut |id, key, grant, entered| {
            let one = named.get(&id).filter(|(at, _)| entered <= *at).map(|(_, why)| *why);
            let among = || rest.iter().find(|(at, event)| entered <= *at && event.whom.names(id, key, grant));
            one.or_else(|| among().map(|(_, event)| event.why)).map(End::from)
        });
        if ended > 0 {
            info!(ended, "sessions ended from elsewhere");
        }
    }
}

/// The same time, [`BACK`] milliseconds before.
fn earlier(cursor: &str) -> String {
    let ms: u64 = cursor.split_once('-').and_then(|(ms, _)| ms.parse().ok()).unwrap_or_default();
    format!("{}-0", ms.saturating_sub(BACK))
}

impl Live for Roster {
    fn holder(&self, key: &TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        let key = *key;
        StoreFuture::later(async move {
            let own = self.local.list();
            if let Some(session) = own.into_iter().find(|session| session.key == key) {
                return Ok(Some(session.grant));
            }
            let found = self.elsewhere().await?.into_iter().find(|session| session.key == key);
            Ok(found.map(|session| session.grant))
        })
    }

    fn end(&self, which: &Revoke, why: Why) -> StoreFuture<'_, usize> {
        let which = which.clone();
        StoreFuture::later(async move {
            let here = self.end_named(&which, why);
            if !self.fleet.is_shared() {
                return Ok(here + self.end_before(Question::End(which, why)).await?);
            }
            if let Some(before) = &self.before {
                // It reads the log as well, and here it is told in any case.
                before.end(which.clone(), why);
            }
            // Told in any case: one that is not listed yet may be on its way.
            let others = self.elsewhere().await;
            self.fleet.tell(Whom::from(&which), why).await?;
            let named = |session: &&Listed| which.names(&session.key, &session.grant);
            Ok(here + others?.iter().filter(named).count())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_cursor_goes_back_a_minute() {
        assert_eq!(earlier("1700000060001-7"), "1700000000001-0");
        assert_eq!(earlier("0-0"), "0-0");
    }

    /// One session, whose line counts its breaks.
    #[derive(Default)]
    struct OneLine(Uuid, AtomicUsize);

    impl Local for OneLine {
        fn list(&self) -> Vec<Listed> {
            Vec::new()
        }

        fn end(&self, _: &mut Pick<'_>) -> usize {
            0
        }

        fn send_break(&self, session: Uuid) -> Option<bool> {
            (session == self.0).then(|| self.1.fetch_add(1, Ordering::SeqCst) < usize::MAX)
        }

        fn look(&self, _: Duration, _: bool) -> Vec<(Uuid, Moved)> {
            Vec::new()
        }

        fn entered_by(&self, _: u64) {}
    }

    #[test]
    fn an_order_is_followed_once_and_in_time_or_not_at_all() {
        let line = Arc::new(OneLine(Uuid::new_v4(), AtomicUsize::new(0)));
        let roster = Roster::new(Fleet::alone(), Arc::clone(&line) as Arc<dyn Local>);
        let mut followed = VecDeque::new();
        let order = |session, id| Line::Order(Order { order: Deed::Break, session, id }).to_json();
        let mut read = |at: u64, now: u64, entry: String| {
            roster.apply(&[(at, entry)], now, &mut followed);
            line.1.load(Ordering::SeqCst)
        };
        let first = order(line.0, Uuid::new_v4());
        assert_eq!(read(5, 5 + IN_TIME, first.clone()), 1);
        assert_eq!(read(5, 5 + IN_TIME, first), 1, "the log was read again");
        assert_eq!(read(5, 5, order(line.0, Uuid::new_v4())), 2, "another one");
        assert_eq!(read(5, 6 + IN_TIME, order(line.0, Uuid::new_v4())), 2, "too late");
        assert_eq!(read(5, 5, order(Uuid::new_v4(), Uuid::new_v4())), 2, "somebody else's");
        (0..=ORDERS).for_each(|_| _ = read(5, 5, order(Uuid::new_v4(), Uuid::new_v4())));
        assert_eq!(followed.len(), ORDERS);
    }
}
