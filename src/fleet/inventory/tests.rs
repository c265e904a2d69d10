//! The shared inventory over real servers: several members, wrong keys, missed messages, stores that went and came.

use std::path::Path;

use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::config::{Config, Problem, TokenStore};
use crate::fleet::{Listed, Moved, Pick};
use crate::targets::contract::{self, Member, target};
use crate::targets::{Change, Expected, MAX_RECORD, RegistryError, Source};
use crate::tokens::testing::{Server, until};

const RECORDS: &str = "consolegate:targets:{targets}:records";

/// The sessions of a process that has none.
struct Nobody;

impl Local for Nobody {
    fn list(&self) -> Vec<Listed> {
        Vec::new()
    }
    fn end(&self, _: &mut Pick<'_>) -> usize {
        0
    }
    fn send_break(&self, _: Uuid) -> Option<bool> {
        None
    }
    fn look(&self, _: Duration, _: bool) -> Vec<(Uuid, Moved)> {
        Vec::new()
    }
    fn entered_by(&self, _: u64) {}
}

/// A member that follows the inventory until it is dropped.
struct Running {
    member: Member,
    shared: SharedInventory,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn member(url: &str, keys: &[u8]) -> Running {
    let text = format!("[tokens]\nstore = \"{url}\"");
    let config = Config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
    let TokenStore::Redis(settings) = config.tokens.store else { panic!("{url}") };
    let registry = Arc::new(Registry::new(vec![contract::in_file()], Source::Shared));
    let keys: Vec<_> = keys.iter().map(|key| SealKey::from([*key; 32])).collect();
    let store = Arc::new(RedisStore::open(&settings).unwrap());
    let shared = SharedInventory::new(store, Arc::clone(&registry), &keys).unwrap();
    shared.load();
    let keep = shared.clone();
    let task = tokio::spawn(async move { keep.keep(&Nobody).await });
    Running { member: Member { registry, registrar: Arc::new(shared.clone()) }, shared, task }
}

impl Running {
    async fn put(&self, id: &str, port: u16) -> Change {
        let target = target(id, &json!({"vnc": format!("tcp://127.0.0.1:{port}")}));
        self.member.put(target).await.unwrap()
    }

    /// Waits until the target's VNC console is there, or until it is gone.
    fn sees(&self, id: &str, port: Option<u16>) {
        let expected = port.map(|port| format!("tcp://127.0.0.1:{port}"));
        until(id, || (self.member.place(id) == expected).then_some(()));
    }

    fn unusable(&self) -> Vec<String> {
        self.member.registry.unusable().into_iter().map(|(id, reason)| format!("{id}: {reason}")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = Server::start(&[]);
    let first = member(&server.url(), &[1]);
    contract::changes(&first.member).await;
    contract::races(&first.member).await;
    let kept = contract::kept(&first.member).await;
    drop(first);
    contract::again(&member(&server.url(), &[1]).member, &kept);
    let raw: Vec<String> = server.ask(&["HVALS", RECORDS]);
    assert!(raw.iter().all(|value| !value.contains("sesa") && !value.contains("127.0.0.1")), "{raw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_sees_what_any_of_them_changes() {
    let server = Server::start(&[]);
    let (a, b) = (member(&server.url(), &[1]), member(&server.url(), &[1]));
    assert!(a.put("x", 1).await.created);
    b.sees("x", Some(1));
    assert_eq!(b.put("x", 2).await, Change { created: false, void: true });
    a.sees("x", Some(2));
    // Two control planes with the same revision in hand, at two members.
    let revision = a.member.revision("x");
    assert_eq!(revision, b.member.revision("x"));
    let moved = |port: u16| target("x", &json!({"vnc": format!("tcp://127.0.0.1:{port}")}));
    a.member.registrar.put(moved(3), revision.clone()).await.unwrap();
    let late = b.member.registrar.put(moved(4), revision).await;
    assert!(matches!(late, Err(RegistryError::Differs)), "{late:?}");
    b.sees("x", Some(3));
    b.member.remove("x").await.unwrap();
    a.sees("x", None);
    assert!(matches!(a.member.remove("x").await, Err(RegistryError::Unknown)));
    let nonsense = Expected::Revision("-".to_owned());
    let refused = a.member.registrar.put(moved(1), nonsense).await;
    assert!(matches!(refused, Err(RegistryError::Differs)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_no_bell_rang_for_are_found() {
    let server = Server::start(&[]);
    let a = member(&server.url(), &[1]);
    a.put("x", 1).await;
    a.put("y", 1).await;
    a.put("z", 1).await;
    let silent = |script: &str| {
        let all = format!("local t = 'consolegate:targets:{{targets}}:' {script}");
        let _: Option<i64> = server.ask(&["EVAL", &all, "0"]);
    };
    silent(
        "redis.call('HSET', t .. 'records', 'x', 'mark') redis.call('ZADD', t .. 'order', 4, 'x')
         redis.call('ZADD', t .. 'gone', 4, 'x') redis.call('HSET', t .. 'head', 'change', 4)",
    );
    a.sees("x", None);
    // And one whose mark is gone already.
    silent(
        "redis.call('HDEL', t .. 'records', 'y') redis.call('ZREM', t .. 'order', 'y')
         redis.call('HSET', t .. 'head', 'change', 5, 'horizon', 5)",
    );
    a.sees("y", None);
    a.sees("z", Some(1));
    // The subscription breaks; what comes next is heard or found.
    let b = member(&server.url(), &[1]);
    let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    b.put("x", 7).await;
    a.sees("x", Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_changes_nothing_and_one_that_lost_its_data_is_filled_again() {
    let mut server = Server::start(&[]);
    let (a, b) = (member(&server.url(), &[1]), member(&server.url(), &[1]));
    a.put("x", 1).await;
    a.put("y", 2).await;
    a.member.remove("y").await.unwrap();
    b.sees("x", Some(1));
    server.kill();
    let refused = a.member.put(target("z", &json!({}))).await;
    assert!(matches!(refused, Err(RegistryError::Shared(_))), "{refused:?}");
    assert!(a.shared.is_loaded() && a.shared.age() > Duration::ZERO);
    a.sees("x", Some(1));
    // It keeps nothing on disk.
    server.restart();
    until("the refill", || (server.ask::<i64>(&["HLEN", RECORDS]) == 1).then_some(()));
    let put = async {
        loop {
            if b.member.put(target("z", &json!({"vnc": "tcp://127.0.0.1:3"}))).await.is_ok() {
                break;
            }
        }
    };
    timeout(Duration::from_secs(120), put).await.expect("a change after the outage");
    for member in [&a, &b, &member(&server.url(), &[1])] {
        member.sees("x", Some(1));
        member.sees("y", None);
        member.sees("z", Some(3));
    }
    // And by an operator's mistake, which changes no history.
    let _: String = server.ask(&["FLUSHALL"]);
    until("the refill", || (server.ask::<i64>(&["HLEN", RECORDS]) == 2).then_some(()));
    a.put("x", 9).await;
    b.sees("x", Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_without_the_store_is_ready_when_it_comes() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let a = member(&server.url(), &[1]);
    a.put("x", 1).await;
    drop(a);
    server.kill();
    let b = member(&server.url(), &[1]);
    assert!(!b.shared.is_loaded());
    assert!(b.member.registry.inventory().find(&"in-file".into()).is_some(), "files are there");
    let early = b.member.put(target("y", &json!({}))).await;
    assert!(matches!(&early, Err(RegistryError::Shared(why)) if why.contains("not read")), "{early:?}");
    server.restart();
    b.sees("x", Some(1));
    until("its readiness", || b.shared.is_loaded().then_some(()));
    b.put("x", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_told_and_harms_nothing_else() {
    let server = Server::start(&[]);
    let old = member(&server.url(), &[1]);
    old.put("first", 9).await;
    let both = member(&server.url(), &[2, 1]);
    old.put("x", 1).await;
    both.put("y", 2).await;
    both.sees("x", Some(1));
    until("the news", || (old.unusable().len() == 1).then_some(()));
    assert!(old.unusable()[0].starts_with("y: it is sealed with the key "), "{:?}", old.unusable());
    old.sees("y", None);
    old.sees("x", Some(1));
    let new = member(&server.url(), &[2]);
    new.sees("y", Some(2));
    assert!(new.unusable()[0].starts_with("x: it is sealed with the key 72cd6e84"), "{:?}", new.unusable());
    // Registered anew, by whoever has the new key; or removed by who cannot read it.
    both.put("x", 3).await;
    new.sees("x", Some(3));
    until("the news", || new.unusable().is_empty().then_some(()));
    old.member.remove("x").await.unwrap();
    both.sees("x", None);
    // An old key can go once a process has begun with the new one first.
    old.put("w", 6).await;
    let third = member(&server.url(), &[2, 1]);
    third.sees("w", Some(6));
    new.sees("w", None);
    let fourth = member(&server.url(), &[2]);
    fourth.sees("w", Some(6));
    assert_eq!(fourth.unusable(), Vec::<String>::new());
    assert_eq!(fourth.member.registry.revision(&"w".into()), old.member.registry.revision(&"w".into()));
    // One record in another's place.
    let value: String = server.ask(&["HGET", RECORDS, "y"]);
    both.put("z", 4).await;
    let _: i64 = server.ask(&["HSET", RECORDS, "z", &value]);
    let swapped = member(&server.url(), &[2, 1]);
    assert_eq!(swapped.unusable(), ["z: it was altered, or is another target's: its seal is broken"]);
    swapped.sees("y", Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_are_refused_and_many_are_read() {
    let server = Server::start(&[]);
    let a = member(&server.url(), &[1]);
    let large = target("x", &json!({"serial": format!("tty:/dev/{}", "x".repeat(MAX_RECORD - 10))}));
    let refused = a.member.put(large).await;
    let told = |list: &[Problem]| list.iter().any(|problem| problem.message.contains("is larger than 4096"));
    assert!(matches!(&refused, Err(RegistryError::Invalid(list)) if told(list)), "{refused:?}");
    // More than a page, put there as an emptied store is filled.
    let seals = &a.shared.0.seals;
    let value = |n: u16| {
        let document = format!("{{\"id\":\"t{n}\",\"project\":\"p\",\"vnc\":\"tcp://127.0.0.1:{}\"}}", n + 1);
        let sealed = seals.seal(&format!("t{n}"), "r", &document).unwrap();
        (format!("t{n}"), format!("r {sealed}"))
    };
    let values: Vec<_> = (0..1000).map(value).collect();
    a.shared.0.store.refill_targets("another", "f", &values).await.unwrap();
    let b = member(&server.url(), &[1]);
    for member in [&a, &b] {
        until("all of them", || (member.member.registry.inventory().len() == 1001).then_some(()));
        member.sees("t999", Some(1000));
    }
}
