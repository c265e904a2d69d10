//! The Redis store against real servers: the contract, and what only a shared store can get wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use super::super::contract::{self, Harness, grant, key, now};
use super::*;

mod access;
mod failover;
pub(super) mod faults;
mod fleet;
mod library;
mod live;
mod near;
mod queue;
mod targets;
#[path = "testing.rs"]
pub(crate) mod testing;

use testing::{Server, until};

const TTL: Duration = Duration::from_secs(600);
const A: Nonce = Nonce(1);
const B: Nonce = Nonce(2);

/// As an operator would write it.
fn settings(tokens: &str) -> config::Redis {
    let text = format!("[tokens]\n{tokens}");
    let config = config::Config::parse(&text, Path::new("test.toml")).unwrap_or_else(|e| panic!("{e}"));
    match config.tokens.store {
        config::TokenStore::Redis(settings) => settings,
        config::TokenStore::Memory => panic!("not a Redis store: {tokens}"),
    }
}

fn at(url: &str) -> config::Redis {
    settings(&format!("store = \"{url}\""))
}

pub(super) fn open(server: &Server) -> RedisStore {
    RedisStore::open(&at(&server.url())).unwrap()
}

/// The time of a test's server: it stands still until it is turned.
const TIME: &str = "time[1] * 1000 + math.floor(time[2] / 1000)";
const TURNED: &str = "tonumber(redis.call('GET', 'test-clock') or 0)";

/// A store whose clock is a key of its server; the scripts are the real ones in all else.
fn harness(scripts: Scripts) -> impl Fn() -> Harness {
    harness_over(Server::start(&[]), scripts)
}

fn harness_over(server: Server, scripts: Scripts) -> impl Fn() -> Harness {
    let server = Rc::new(server);
    let scripts = scripts.edited(TIME, TURNED);
    let store = Arc::new(RedisStore::with_scripts(&at(&server.url()), scripts).unwrap());
    move || {
        let server = Rc::clone(&server);
        let advance = move |by: Duration| {
            let _: i64 = server.ask(&["INCRBY", "test-clock", &by.as_millis().to_string()]);
        };
        Harness { store: Arc::clone(&store) as Arc<dyn Store>, advance: Box::new(advance) }
    }
}

#[test]
fn keeps_the_contract() {
    contract::semantics(&harness(Scripts::new())());
}

#[test]
fn agrees_with_the_model() {
    contract::model::agrees(harness(Scripts::new()));
}

#[test]
fn counts_the_unspent() {
    contract::outstanding(&harness(Scripts::new())());
    contract::outstanding_races(&harness(Scripts::new())(), 30, 20);
}

#[test]
fn one_winner_among_30_racers_over_300_tokens() {
    contract::races(&harness(Scripts::new())(), 300, 30);
}

/// As many processes' stores over one server. `CONSOLEGATE_RACED_CLAIMS` sets how many claims; a soak asks for a
/// million.
#[test]
fn claims_are_raced_over_three_proxies() {
    const TOKENS: usize = 1000;
    const RACERS: usize = 30;
    let claims = std::env::var("CONSOLEGATE_RACED_CLAIMS").map_or(30_000, |count| count.parse().unwrap());
    let server = Server::start(&[]);
    let proxies = [(); 3].map(|()| open(&server));
    let rounds = usize::div_ceil(claims, TOKENS * RACERS);
    for _ in 0..rounds {
        let keys: Vec<_> = (0..TOKENS).map(|_| key()).collect();
        keys.iter().for_each(|key| now(proxies[0].create(*key, grant(), TTL, 0)).unwrap());
        let start = std::sync::Barrier::new(RACERS);
        let race = &|racer: usize| {
            let (proxy, nonce) = (&proxies[racer % proxies.len()], Nonce(racer as u128));
            start.wait();
            let wins = |key: &&TokenKey| {
                let won = matches!(now(proxy.claim(**key, nonce)).unwrap(), Claim::Won(_));
                // Another proxy confirms what this one won, as if the viewer's second half went there.
                won && now(proxies[(racer + 1) % proxies.len()].confirm(**key, nonce)).unwrap()
                    == Confirm::Confirmed
            };
            keys.iter().filter(wins).count()
        };
        let won: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(won.iter().sum::<usize>(), TOKENS, "{won:?}");
    }
    testing::note(&format!(
        "{} claims of {} tokens, each opened once.",
        rounds * TOKENS * RACERS,
        rounds * TOKENS
    ));
}

/// Each comparison that single use rests on, taken out: the contract must notice.
#[test]
fn the_contract_sees_what_the_scripts_compare() {
    for (from, to) in [
        (
            "if claim and not claim.spent and claim.nonce == ARGV[1] then\n  -- The holder",
            "if claim and not claim.spent then\n  -- The holder",
        ),
        ("if not claim or claim.nonce ~= ARGV[1] then", "if not claim then"),
        (
            "if claim and not claim.spent and claim.nonce == ARGV[1] then\n  redis.call('DEL'",
            "if claim then\n  redis.call('DEL'",
        ),
        ("if now >= till then", "if false then"),
        ("if now >= till then", "if now > till then"),
        ("local live = token and now < token.expiry", "local live = token and now <= token.expiry"),
        ("'NX', 'PX', LEASE_KEPT) then", "'PX', LEASE_KEPT) then"),
        ("elseif token and token.id == last then", "elseif token then"),
        ("  redis.call('SET', KEYS[2], value, 'PX', ms(forget", "  local _ = (ms(forget"),
        ("  redis.call('DEL', KEYS[1])\nend\nreturn 'confirmed'", "end\nreturn 'confirmed'"),
        ("  elseif kind == 'spent' then", "  elseif kind == 'never' then"),
        ("elseif claim then\n  return { 'busy'", "elseif false then\n  return { 'busy'"),
        ("(ARGV[1] ~= back.current and ARGV[1] ~= back.previous)", "false"),
        (" and ARGV[1] ~= back.previous)", ")"),
        ("elseif back.left == 0 or", "elseif"),
        ("'left', ms(back.left - 1)", "'left', ms(back.left)"),
        ("if back.pending then", "if true then"),
        (
            "if not back or back.holder ~= ARGV[1] then return 'lost' end",
            "if not back then return 'lost' end",
        ),
        ("if back.holder ~= ARGV[1] then return 'taken' end", ""),
        ("if till > noted then return 'unnoted' end", ""),
        ("if back and back.holder == ARGV[1] then", "if back then"),
        ("if now >= till or (ends", "if now > till or (ends"),
        ("or (ends > 0 and now >= ends) then", "then"),
        ("redis.call('DEL', KEYS[at + 2])\n  local token", "local token"),
    ] {
        let broken = harness(Scripts::new().edited(from, to));
        let seen = catch_unwind(AssertUnwindSafe(|| {
            contract::semantics(&broken());
            contract::model::agrees(&broken);
        }));
        assert!(seen.is_err(), "nothing noticed: {from:?} -> {to:?}");
    }
}

#[test]
fn the_servers_own_clock_expires_tokens_and_tidies_up() {
    let server = Server::start(&[]);
    let store = open(&server);
    let (brief, long) = (key(), key());
    now(store.create(brief, grant(), Duration::from_millis(30), 0)).unwrap();
    now(store.create(long, grant(), TTL, 0)).unwrap();
    until("the expiry", || now(store.peek(brief)).unwrap().is_none().then_some(()));
    assert_eq!(now(store.claim(brief, A)), Ok(Claim::Unknown));
    assert!(matches!(now(store.claim(long, A)), Ok(Claim::Won(_))));
    assert_eq!(now(store.confirm(long, A)), Ok(Confirm::Confirmed));
    let keys: Vec<String> = server.ask(&["KEYS", "consolegate:*"]);
    // The brief token, the long one's tombstone, and three indexes: all of them go by themselves.
    assert_eq!(keys.len(), 5, "{keys:?}");
    let most = i64::try_from((TTL + TOMBSTONE + SLACK).as_millis()).unwrap();
    for key in keys {
        let left: i64 = server.ask(&["PTTL", &key]);
        assert!((1..=most).contains(&left), "{key}: {left}");
    }
}

#[test]
fn nothing_in_the_store_is_a_token() {
    let server = Server::start(&[]);
    let store = open(&server);
    let token = crate::tokens::Token::parse("0123456789abcdef-secret").unwrap();
    now(store.create(token.key(), grant(), TTL, 3)).unwrap();
    now(store.claim(token.key(), A)).unwrap();
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        let dump: Vec<u8> = server.ask(&["DUMP", &key]);
        let dump = format!("{key} {}", String::from_utf8_lossy(&dump));
        assert!(!dump.contains("secret"), "{dump}");
    }
}

#[test]
fn servers_that_forget_are_refused_at_once() {
    let refused = |arguments: &[&str], expected: Unsafe| {
        let server = Server::start(arguments);
        match RedisStore::open(&at(&server.url())) {
            Err(RedisSetupError::Unsafe(cause)) => assert_eq!(cause, expected),
            other => panic!("{arguments:?}: {other:?}"),
        }
    };
    let policy = Unsafe::Eviction("allkeys-lru".to_owned());
    refused(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], policy);
    refused(&["--cluster-enabled", "yes"], Unsafe::Cluster);
    let primary = Server::start(&[]);
    refused(&["--replicaof", "127.0.0.1", &primary.port().to_string()], Unsafe::Replica);
    // What becomes unfit later is not used either.
    let store = open(&primary);
    let _: String = primary.ask(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru"]);
    let _: i64 = primary.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let answer = now(store.create(key(), grant(), TTL, 0));
    assert!(
        matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("volatile-lru")),
        "{answer:?}"
    );
}

#[test]
fn a_full_store_says_so_and_keeps_what_it_has() {
    let server = Server::start(&[]);
    let store = open(&server);
    let kept = key();
    now(store.create(kept, grant(), TTL, 0)).unwrap();
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = now(store.create(key(), grant(), TTL, 0));
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("OOM")), "{answer:?}");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(matches!(now(store.claim(kept, A)), Ok(Claim::Won(_))));
}
