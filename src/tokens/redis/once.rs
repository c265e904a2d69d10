//! What may happen once, across all processes that share the Redis: a key each, which expires by itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::once::{Deed, Once, OnceError, OnceFuture};
use crate::tokens::StoreError;

use super::super::Nonce;
use super::{DEADLINE, RedisStore, SLACK, Steps, hex, ms, names};

impl Once for RedisStore {
    fn first(&self, whose: &str, deed: Deed, keep: Duration) -> OnceFuture<'_> {
        let (steps, name) = (self.steps(), names::signed(whose, &deed));
        let (answer, answered) = oneshot::channel();
        self.spawn(async move {
            let late = || OnceError::Unavailable(format!("no answer within {DEADLINE:?}"));
            let first = timeout(DEADLINE, steps.first(&name, keep)).await;
            let _ = answer.send(first.unwrap_or_else(|_| Err(late())));
        });
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| Err(OnceError::Unavailable("its thread has ended".to_owned())))
        })
    }
}

impl Steps {
    /// Whoever sets the key is the first; no two do. Who finds one looks whose it is: sent again, because its answer was
    /// lost, it finds its own mark, and is the first all the same. That look may come late, for nobody writes the key
    /// again, and a mark of its own is there for longer than it waits. (`SET NX GET` would be one command, which no
    /// Redis before 7 takes.)
    async fn first(&self, name: &str, keep: Duration) -> Result<bool, OnceError> {
        let lost = |error: StoreError| OnceError::Unavailable(error.to_string());
        let mark = hex(Nonce::random());
        let mut set = redis::cmd("SET");
        set.arg(name).arg(&mark).arg("NX").arg("PX").arg(ms(keep + SLACK));
        if self.call::<Option<String>>(&set).await.map_err(lost)?.is_some() {
            return Ok(true);
        }
        let mut get = redis::cmd("GET");
        let before: Option<String> = self.call(get.arg(name)).await.map_err(lost)?;
        // One that has just gone was another's.
        Ok(before.is_some_and(|before| before == mark))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::super::script::Scripts;
    use super::super::tests::faults::{Cutter, through};
    use super::super::tests::open;
    use super::super::tests::testing::{Server, until};
    use super::*;
    use crate::once::contract::{Harness, all, deed, now};

    const KEEP: Duration = Duration::from_secs(900);

    /// All signatures that are remembered, and for how many milliseconds more.
    fn remembered(server: &Server) -> Vec<(String, i64)> {
        let keys: Vec<String> = server.ask(&["KEYS", "consolegate:signed:*"]);
        keys.into_iter().map(|key| (key.clone(), server.ask(&["PTTL", &key]))).collect()
    }

    #[test]
    fn keeps_the_contract() {
        let server = Rc::new(Server::start(&[]));
        let once = Arc::new(open(&server));
        // The server's clock cannot be turned, but what it counts down can.
        let advance = Box::new(move |by: Duration| {
            for (key, left) in remembered(&server) {
                let left = (left - i64::try_from(by.as_millis()).unwrap()).max(0).to_string();
                let _: i64 = server.ask(&["PEXPIRE", &key, &left]);
            }
        });
        all(&Harness { once, advance, slack: SLACK });
    }

    #[test]
    fn processes_remember_together_and_nothing_for_ever() {
        let server = Server::start(&[]);
        let (one, other) = (open(&server), open(&server));
        let done = deed();
        assert_eq!(now(one.first("AK", done, KEEP)), Ok(true));
        assert_eq!(now(other.first("AK", done, KEEP)), Ok(false));
        let left = remembered(&server);
        let most = i64::try_from((KEEP + SLACK).as_millis()).unwrap();
        assert!(left.len() == 1 && (1..=most).contains(&left[0].1), "{left:?}");
    }

    #[test]
    fn whose_answer_was_lost_is_still_the_first() {
        let server = Server::start(&[]);
        let cutter = Cutter::before(&server);
        let store = through(&cutter, Scripts::new());
        let done = deed();
        cutter.arm();
        assert_eq!(now(store.first("AK", done, KEEP)), Ok(true));
        assert_eq!(cutter.cuts(), 1);
        assert_eq!(remembered(&server).len(), 1, "it was done at the first try");
        cutter.arm();
        assert_eq!(now(store.first("AK", done, KEEP)), Ok(false));
        assert_eq!(cutter.cuts(), 2);
    }

    /// `GET` beside `NX` is an error in a Redis before 7, which the tests have not.
    #[test]
    fn no_command_is_sent_that_only_newer_servers_take() {
        // It notes every command.
        let server = Server::start(&["--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000"]);
        let store = open(&server);
        let done = deed();
        for first in [true, false] {
            assert_eq!(now(store.first("AK", done, KEEP)), Ok(first));
        }
        let noted: Vec<(i64, i64, i64, Vec<String>, String, String)> =
            server.ask(&["SLOWLOG", "GET", "1000"]);
        let sets: Vec<_> = noted.into_iter().map(|(_, _, _, words, ..)| words).collect();
        let sets: Vec<_> = sets.into_iter().filter(|words| words[0] == "SET").collect();
        assert_eq!(sets.len(), 2, "{sets:?}");
        assert!(sets.iter().all(|words| words.iter().all(|word| word != "GET")), "{sets:?}");
    }

    #[test]
    fn a_store_that_is_down_is_no_answer() {
        let mut server = Server::start(&[]);
        let store = open(&server);
        let done = deed();
        server.kill();
        assert!(matches!(now(store.first("AK", done, KEEP)), Err(OnceError::Unavailable(_))));
        server.restart();
        let back = until("the store", || now(store.first("AK", done, KEEP)).ok());
        assert!(back, "it was never done");
    }
}
