//! Steps that go out together: each has its own answer, whatever becomes of the others.

use futures_util::future::join_all;

use super::access::{user, users};
use super::faults::{Cutter, through};
use super::near::worker;
use super::testing::Cluster;
use super::*;
use crate::tokens::redis::queue::MOST;

/// How often a command was called.
pub(super) fn calls(server: &Server, command: &str) -> usize {
    let stats: String = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Tokens that are there, over a store that is connected and whose functions are loaded.
async fn tokens(store: &RedisStore, count: usize) -> Vec<TokenKey> {
    store.come_near();
    let tokens: Vec<_> = (0..count).map(|_| key()).collect();
    // One first, which finds out what the server has.
    assert_eq!(store.claim(key(), A).await, Ok(Claim::Unknown));
    for created in join_all(tokens.iter().map(|token| store.create(*token, grant(), TTL, 0))).await {
        created.unwrap();
    }
    tokens
}

fn place(record: &str) -> Place {
    Place {
        session: uuid::Uuid::new_v4(),
        console: Some(("a".into(), Protocol::Serial)),
        project: "p".into(),
        source: "192.0.2.1".to_owned(),
        token: key(),
        alone: false,
        record: record.to_owned(),
    }
}

/// Different steps of one turn, in one call.
fn mixed(server: &Server, scripts: Scripts) {
    let store = RedisStore::with_scripts(&at(&server.url()), scripts).unwrap();
    worker(async {
        let [first, second, third, fourth] = tokens(&store, 4).await[..] else { unreachable!() };
        assert!(matches!(store.claim(second, A).await, Ok(Claim::Won(_))));
        assert!(matches!(store.claim(third, A).await, Ok(Claim::Won(_))));
        let offer = Offer { secret: key(), times: 3, window: TTL, longest: None };
        let place = place("{\"a\": 1}");
        let before = calls(server, "fcall") + calls(server, "evalsha");
        let (taken, busy, unknown, unkept) =
            (store.claim(first, A), store.claim(second, B), store.claim(key(), B), store.kept(fourth));
        let (confirmed, lost, entered) = (
            store.confirm_with(third, A, offer),
            store.confirm(fourth, B),
            store.enter("x", &place, Manner::Share, Most::default()),
        );
        let (kept, gone, created) = (
            store.keep(third, A, Arc::new(grant()), TTL),
            store.keep(fourth, A, Arc::new(grant()), TTL),
            store.create(key(), grant(), TTL, 0),
        );
        let released = store.release(second, A);
        let won = grant();
        assert!(matches!(taken.await, Ok(Claim::Won(grant)) if grant.target == won.target));
        assert_eq!(busy.await, Ok(Claim::Busy(Protocol::Serial)));
        assert_eq!(unknown.await, Ok(Claim::Unknown));
        assert_eq!(unkept.await, Ok(None));
        assert_eq!(confirmed.await, Ok(Confirm::Confirmed));
        assert_eq!(lost.await, Ok(Confirm::Lost));
        assert!(matches!(entered.await, Ok(Entry::Entered { others: 0, before: 0, .. })));
        assert_eq!(kept.await, Ok(Keep::Kept));
        assert_eq!(gone.await, Ok(Keep::Gone));
        assert_eq!(created.await, Ok(()));
        assert_eq!(released.await, Ok(()));
        let after = calls(server, "fcall") + calls(server, "evalsha");
        // One of them is noted for longer first: two steps more.
        assert!(after - before <= 3, "{}", after - before);
        assert!(matches!(store.claim(second, B).await, Ok(Claim::Won(_))));
    });
}

/// A server of before there were functions.
fn without_functions() -> Server {
    Server::start(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""])
}

#[test]
fn steps_of_one_turn_go_out_together_and_each_has_its_own_answer() {
    mixed(&Server::start(&[]), Scripts::new());
    mixed(&without_functions(), Scripts::new());
}

#[test]
fn what_a_batch_takes_apart_is_seen() {
    for (from, to) in [
        ("answers[n] = answer or false", "answers[n] = answer"),
        ("key, arg = last_key + 1, last_arg + 1", "key, arg = last_key + 1, last_arg"),
        ("key, arg = last_key + 1, last_arg + 1", "key, arg = last_key, last_arg + 1"),
        ("pcall(STEPS[step])", "pcall(STEPS[33])"),
    ] {
        let server = Server::start(&[]);
        let seen = catch_unwind(AssertUnwindSafe(|| mixed(&server, Scripts::new().edited(from, to))));
        assert!(seen.is_err(), "nothing noticed: {from:?} -> {to:?}");
    }
}

/// The whole contract, with every step as one of several: by function, and as a script.
#[test]
fn steps_that_go_out_together_keep_the_contract() {
    for server in [Server::start(&[]), without_functions()] {
        let of = harness_over(server, Scripts::new().together());
        contract::semantics(&of());
        contract::model::agrees(of);
    }
    contract::outstanding(&harness(Scripts::new().together())());
    contract::races(&harness(Scripts::new().together())(), 100, 30);
}

#[test]
fn an_error_is_of_the_step_that_made_it() {
    let server = Server::start(&[]);
    for user in users() {
        let setting = ["ACL", "SETUSER"].into_iter().chain(user.iter().map(String::as_str));
        let _: String = server.ask(&setting.collect::<Vec<_>>());
    }
    let (issuer, proxy) =
        (user(&server.url(), "consolegate-issuer"), user(&server.url(), "consolegate-proxy"));
    let [first, spoiled, last] = [(); 3].map(|()| key());
    for token in [first, spoiled, last] {
        now(issuer.create(token, grant(), TTL, 0)).unwrap();
    }
    let _: i64 = server.ask(&["LPUSH", &TokenNames::new(&spoiled).claim, "x"]);
    worker(async {
        let _ = tokens(&proxy, 0).await;
        let before = calls(&server, "fcall");
        let (won, mistyped, denied, also) = (
            proxy.claim(first, A),
            proxy.claim(spoiled, A),
            proxy.create(key(), grant(), TTL, 0),
            proxy.claim(last, A),
        );
        assert!(matches!(won.await, Ok(Claim::Won(_))));
        let why = |answer: Result<(), StoreError>| match answer {
            Err(StoreError::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        };
        let mistyped = why(mistyped.await.map(drop));
        assert!(mistyped.contains("WRONGTYPE"), "{mistyped}");
        let denied = why(denied.await);
        assert!(denied.contains("The user executing the script can't"), "{denied}");
        assert!(matches!(also.await, Ok(Claim::Won(_))));
        // And the release of the claim that failed.
        assert!(calls(&server, "fcall") - before <= 2);
        assert_eq!(proxy.confirm(first, A).await, Ok(Confirm::Confirmed));
    });
    // An issuer's are a script: it calls no functions.
    let before = calls(&server, "fcall");
    worker(async {
        issuer.come_near();
        assert_eq!(issuer.peek(key()).await, Ok(None));
        let scripts = calls(&server, "evalsha");
        let created = join_all((0..5).map(|_| issuer.create(key(), grant(), TTL, 0))).await;
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        assert_eq!(calls(&server, "evalsha") - scripts, 1);
    });
    assert_eq!(calls(&server, "fcall"), before);
}

#[test]
fn a_batch_whose_answer_was_lost_is_done_once() {
    let server = Server::start(&[]);
    let cutter = Cutter::before(&server);
    let store = through(&cutter, Scripts::new());
    worker(async {
        let tokens = tokens(&store, 6).await;
        let place = place("{}");
        cutter.arm();
        let claims: Vec<_> = tokens.iter().map(|token| store.claim(*token, A)).collect();
        let (created, entered) =
            (store.create(key(), grant(), TTL, 0), store.enter("x", &place, Manner::Deny, Most::default()));
        for claim in claims {
            assert!(matches!(claim.await, Ok(Claim::Won(_))));
        }
        assert_eq!(created.await, Ok(()));
        assert!(matches!(entered.await, Ok(Entry::Entered { others: 0, before: 0, .. })));
        assert_eq!(cutter.cuts(), 1);
        cutter.arm();
        let confirms = join_all(tokens.iter().map(|token| store.confirm(*token, A))).await;
        assert!(confirms.iter().all(|confirm| *confirm == Ok(Confirm::Confirmed)), "{confirms:?}");
        let claims = join_all(tokens.iter().map(|token| store.claim(*token, A))).await;
        assert!(claims.iter().all(|claim| *claim == Ok(Claim::Spent(Protocol::Serial))), "{claims:?}");
        assert_eq!(cutter.cuts(), 2);
    });
    assert_eq!(now(store.records()).unwrap().len(), 1);
}

/// A user who may not call anything with one of the keys: the others are served all the same.
#[test]
fn what_is_refused_as_a_whole_is_done_one_by_one() {
    let server = Server::start(&[]);
    let proxy = users().into_iter().find(|user| user[0] == "consolegate-proxy").unwrap();
    let calls_with = "(+evalsha +fcall ~consolegate:*)";
    assert!(proxy.iter().any(|word| word == calls_with), "{proxy:?}");
    let narrow = "(+evalsha +fcall ~consolegate:token:* ~consolegate:claim:*)";
    let words = proxy.iter().map(|word| if word == calls_with { narrow } else { word });
    let _: String = server.ask(&["ACL", "SETUSER"].into_iter().chain(words).collect::<Vec<_>>());
    let (issuer, proxy) = (open(&server), user(&server.url(), "consolegate-proxy"));
    let both = [(); 2].map(|()| key());
    both.iter().for_each(|token| now(issuer.create(*token, grant(), TTL, 0)).unwrap());
    worker(async {
        let _ = tokens(&proxy, 0).await;
        let place = place("{}");
        let claims = both.map(|token| proxy.claim(token, A));
        let entered = proxy.enter("x", &place, Manner::Deny, Most::default());
        for claim in claims {
            assert!(matches!(claim.await, Ok(Claim::Won(_))));
        }
        let refused = entered.await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("keys")), "{refused:?}");
    });
}

#[test]
fn of_callers_who_go_away_the_claims_are_given_back_and_the_others_answered() {
    let server = Server::start(&[]);
    // The clock stands still: no lease runs out, so only a release frees what was claimed.
    let scripts = Scripts::new().edited(TIME, TURNED);
    let store = RedisStore::with_scripts(&at(&server.url()), scripts).unwrap();
    worker(async {
        let tokens = tokens(&store, 20).await;
        for (round, gone) in tokens.into_iter().enumerate() {
            let stays = key();
            store.create(stays, grant(), TTL, 0).await.unwrap();
            let (left, claim) = (store.claim(gone, A), store.claim(stays, A));
            let mut left = Some(left);
            // Before it was sent, or after it was answered, unread.
            if round % 2 == 0 {
                drop(left.take());
            }
            assert!(matches!(claim.await, Ok(Claim::Won(_))));
            drop(left);
            while !matches!(store.claim(gone, B).await, Ok(Claim::Won(_))) {
                tokio::task::yield_now().await;
            }
        }
    });
}

#[test]
fn nobody_is_kept_waiting_by_many() {
    const MANY: usize = 500;
    // It notes every call, with the first of its words.
    let server = Server::start(&["--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000"]);
    let store = open(&server);
    worker(async {
        let tokens = tokens(&store, MANY).await;
        let before = calls(&server, "fcall");
        let claims = join_all(tokens.iter().map(|token| store.claim(*token, A))).await;
        assert!(claims.iter().all(|claim| matches!(claim, Ok(Claim::Won(_)))));
        let made = calls(&server, "fcall") - before;
        assert!((MANY / MOST..MANY / 4).contains(&made), "{made} calls");
    });
    let noted: Vec<(i64, i64, i64, Vec<String>, String, String)> = server.ask(&["SLOWLOG", "GET", "10000"]);
    let keys =
        noted.iter().filter(|(_, _, _, words, ..)| words[0] == "FCALL" && words[1].ends_with("_batch"));
    let keys: Vec<usize> = keys.map(|(_, _, _, words, ..)| words[2].parse().unwrap()).collect();
    // A token that is created has six keys.
    assert!(!keys.is_empty() && keys.iter().all(|keys| *keys <= 6 * MOST), "{keys:?}");
}

#[test]
fn a_cluster_is_asked_step_by_step() {
    let cluster = Cluster::start();
    let store = RedisStore::open(&at(&cluster.url())).unwrap();
    let made = || cluster.nodes.iter().map(|node| calls(node, "fcall")).sum::<usize>();
    worker(async {
        let tokens = tokens(&store, 20).await;
        let before = made();
        let claims = join_all(tokens.iter().map(|token| store.claim(*token, A))).await;
        assert!(claims.iter().all(|claim| matches!(claim, Ok(Claim::Won(_)))), "{claims:?}");
        assert!(made() - before >= 20);
    });
    for node in &cluster.nodes {
        let noted: Vec<redis::Value> = node.ask(&["SLOWLOG", "GET", "128"]);
        assert!(!format!("{noted:?}").contains("_batch"));
    }
}

/// Who hears nothing in time is told so, and those who came later have their own time.
#[test]
fn a_server_that_hangs_fails_all_that_wait_and_serves_them_when_it_is_back() {
    let server = Server::start(&[]);
    let store = open(&server);
    let signal = |signal: rustix::process::Signal| {
        let process = rustix::process::Pid::from_raw(server.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    };
    worker(async {
        let tokens = tokens(&store, 100).await;
        signal(rustix::process::Signal::STOP);
        let begun = std::time::Instant::now();
        let claims = join_all(tokens.iter().map(|token| store.claim(*token, A))).await;
        let took = begun.elapsed();
        assert!(claims.iter().all(|claim| matches!(claim, Err(StoreError::Unavailable(_)))));
        assert!(took < Duration::from_secs(2), "{took:?}");
        signal(rustix::process::Signal::CONT);
        // Their claims were given back, or never made.
        for token in tokens {
            while !matches!(store.claim(token, B).await, Ok(Claim::Won(_))) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}
