//! Registered targets: numbered changes, what they expect, lost answers, an emptied store, a cluster.

use super::faults::{Cutter, through};
use super::testing::Cluster;
use super::*;

fn sealed(id: &str, revision: &str) -> SealedTarget {
    SealedTarget { id: id.to_owned(), revision: revision.to_owned(), record: format!("sealed-{id}") }
}

fn put(store: &RedisStore, epoch: &str, id: &str, revision: &str, expected: &str) -> Write {
    now(store.put_target(epoch, "e1", &sealed(id, revision), expected)).unwrap()
}

fn done(change: u64, before: &str) -> Write {
    Write::Done { change, before: Some(before.to_owned()) }
}

fn entries(store: &RedisStore, after: u64) -> Vec<(String, u64, String)> {
    now(store.target_news(after)).unwrap().entries
}

fn entry(id: &str, change: u64, value: &str) -> (String, u64, String) {
    (id.to_owned(), change, value.to_owned())
}

#[test]
fn changes_are_numbered_and_made_on_what_is_expected() {
    let server = Server::start(&[]);
    let store = open(&server);
    let empty = now(store.target_news(0)).unwrap();
    assert_eq!((empty.epoch.as_str(), empty.change, empty.entries), ("", 0, vec![]));
    assert_eq!(put(&store, "e0", "a", "r1", ""), Write::Anew, "nothing was ever there");
    assert_eq!(put(&store, "", "a", "r1", "*"), Write::Differs);
    assert_eq!(put(&store, "", "a", "r1", ""), done(1, ""));
    assert_eq!(put(&store, "", "b", "r2", ""), Write::Anew, "there is an inventory by now");
    assert_eq!(put(&store, "e1", "b", "r2", "-"), done(2, ""));
    for wrong in ["-", "r2"] {
        assert_eq!(put(&store, "e1", "a", "r3", wrong), Write::Differs);
    }
    assert_eq!(put(&store, "e1", "a", "r3", "r1"), done(3, "r1"));
    assert_eq!(put(&store, "e1", "c", "r4", ""), done(4, ""));
    let remove = |id: &str, revision: &str, expected: &str| {
        now(store.remove_target("e1", id, revision, expected)).unwrap()
    };
    assert_eq!(remove("b", "r5", "r1"), Write::Differs);
    assert_eq!(remove("b", "r5", "r2"), done(5, "r2"));
    assert_eq!((remove("b", "r6", ""), remove("never", "r6", "")), (Write::Absent, Write::Absent));
    let all = [entry("a", 3, "r3 sealed-a"), entry("c", 4, "r4 sealed-c"), entry("b", 5, "r5")];
    assert_eq!(entries(&store, 0), all, "each once, in the order of the changes");
    assert_eq!(entries(&store, 4), all[2..]);
    assert_eq!(entries(&store, 5), []);
    assert_eq!(put(&store, "e1", "b", "r7", "*"), Write::Differs, "a mark is no target");
    assert_eq!(put(&store, "e1", "b", "r7", "-"), done(6, ""));
    assert_eq!(server.ask::<i64>(&["ZCARD", "consolegate:targets:{targets}:gone"]), 0);
    assert_eq!(server.ask::<i64>(&["TTL", "consolegate:targets:{targets}:records"]), -1, "kept for good");
}

#[test]
fn there_may_be_so_many_and_no_more() {
    let server = Server::start(&[]);
    let scripts = Scripts::new().edited("count >= tonumber(ARGV[7])", "count >= 2");
    let store = RedisStore::with_scripts(&at(&server.url()), scripts).unwrap();
    assert_eq!(
        (put(&store, "", "a", "r1", ""), put(&store, "e1", "b", "r2", "")),
        (done(1, ""), done(2, ""))
    );
    assert!(matches!(put(&store, "e1", "c", "r3", ""), Write::Full(100_000)));
    assert_eq!(put(&store, "e1", "b", "r4", ""), done(3, "r2"), "one that is there takes no room");
    now(store.remove_target("e1", "a", "r5", "")).unwrap();
    assert_eq!(put(&store, "e1", "c", "r6", ""), done(5, ""), "nor does a mark");
}

#[test]
fn old_marks_are_dropped_and_who_read_less_far_can_tell() {
    let server = Server::start(&[]);
    let store = open(&server);
    for n in 0..5 {
        put(&store, if n == 0 { "" } else { "e1" }, &format!("t{n}"), &format!("r{n}"), "");
    }
    for n in 0..4 {
        now(store.remove_keeping("e1", &format!("t{n}"), &format!("g{n}"), "", 2)).unwrap();
    }
    let news = now(store.target_news(0)).unwrap();
    assert_eq!((news.change, news.horizon), (9, 7));
    let left = [entry("t4", 5, "r4 sealed-t4"), entry("t2", 8, "g2"), entry("t3", 9, "g3")];
    assert_eq!(news.entries, left);
}

#[test]
fn a_long_list_comes_in_pages() {
    let server = Server::start(&[]);
    let store = open(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let values: Vec<_> = (0..600).map(|n| (format!("t{n:03}"), format!("r{n} x"))).collect();
    runtime.block_on(store.refill_targets("e9", "f", &values)).unwrap();
    let (mut after, mut read, mut pages) = (0, Vec::new(), 0);
    loop {
        let page = now(store.target_news(after)).unwrap();
        pages += 1;
        read.extend(page.entries.into_iter().map(|(id, change, value)| {
            after = change;
            (id, value)
        }));
        if !page.more {
            break;
        }
    }
    assert_eq!((read, pages), (values, 3));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let server = Server::start(&[]);
    let cutter = Cutter::before(&server);
    let store = through(&cutter, Scripts::new());
    let again = |change| Write::Done { change, before: None };
    cutter.arm();
    // The first of all makes the inventory, and finds itself in it.
    assert_eq!(put(&store, "", "a", "r1", "-"), Write::Anew);
    assert_eq!(put(&store, "e1", "a", "r1", "-"), again(1));
    cutter.arm();
    assert_eq!(put(&store, "e1", "a", "r2", "r1"), again(2));
    cutter.arm();
    assert_eq!(now(store.remove_target("e1", "a", "r3", "r2")), Ok(again(3)));
    assert_eq!(cutter.cuts(), 3);
    assert_eq!(entries(&store, 0), [entry("a", 3, "r3")], "each was made once");
}

#[test]
fn what_an_emptied_store_lost_is_put_back_and_nothing_else() {
    let server = Server::start(&[]);
    let store = open(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refill = |epoch: &str, values: &[(&str, &str)]| {
        let values: Vec<_> = values.iter().map(|(id, value)| (id.to_string(), value.to_string())).collect();
        runtime.block_on(store.refill_targets(epoch, &format!("by-{epoch}"), &values)).unwrap();
    };
    refill("e1", &[("a", "r1 x"), ("b", "r2 y")]);
    let news = now(store.target_news(0)).unwrap();
    assert_eq!((news.epoch.as_str(), news.change, news.entries.len()), ("e1", 2, 2));
    assert!(news.history.ends_with(" by-e1"), "whoever knew e1 reads all of it: {}", news.history);
    // Another one that comes later: what was changed or removed since stays so.
    put(&store, "e1", "a", "r3", "");
    now(store.remove_target("e1", "b", "r4", "")).unwrap();
    refill("e2", &[("a", "r1 x"), ("b", "r2 y"), ("c", "r5 z")]);
    let news = now(store.target_news(0)).unwrap();
    assert_eq!(news.epoch, "e1", "which stood by then");
    assert!(news.history.ends_with(" by-e1"), "{}", news.history);
    let all = [entry("a", 3, "r3 sealed-a"), entry("b", 4, "r4"), entry("c", 5, "r5 z")];
    assert_eq!(news.entries, all);
}

#[test]
fn a_cluster_has_all_of_it_on_one_node_and_rings_on_every_one() {
    let cluster = Cluster::start();
    for node in &cluster.nodes {
        access::users().into_iter().for_each(|user| {
            let words = ["ACL", "SETUSER"].into_iter().chain(user.iter().map(String::as_str));
            let _: String = node.ask(&words.chain(["+cluster|slots"]).collect::<Vec<_>>());
        });
    }
    let [issuer, proxy] =
        ["consolegate-issuer", "consolegate-proxy"].map(|name| access::user(&cluster.url(), name));
    let (bell, anew) = (Arc::new(tokio::sync::Notify::new()), Arc::default());
    proxy.listen_to_targets(Arc::clone(&bell), anew);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rings = || {
        let ring = async { tokio::time::timeout(Duration::from_secs(120), bell.notified()).await };
        runtime.block_on(ring).expect("the bell");
    };
    rings();
    assert_eq!(put(&issuer, "", "a", "r1", ""), done(1, ""));
    rings();
    assert_eq!(put(&proxy, "e1", "b", "r2", ""), done(2, ""));
    assert_eq!(now(proxy.remove_target("e1", "a", "r3", "")), Ok(done(3, "r1")));
    assert_eq!(entries(&issuer, 0), [entry("b", 2, "r2 sealed-b"), entry("a", 3, "r3")]);
    let keys = |node: &Server| node.ask::<Vec<String>>(&["KEYS", "consolegate:targets:*"]).len();
    let found: Vec<_> = cluster.nodes[..3].iter().map(keys).filter(|count| *count > 0).collect();
    assert_eq!(found, [4]);
}
