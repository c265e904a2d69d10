//! Places, leases and the log of the fleet's live sessions.

use uuid::Uuid;

use super::queue::calls;
use super::*;

const NO_LIMITS: Most = Most { target: 0, project: 0, source: 0 };

fn place(target: &str, project: &str, source: &str) -> Place {
    Place {
        session: Uuid::new_v4(),
        console: Some((target.into(), Protocol::Serial)),
        project: project.into(),
        source: source.to_owned(),
        token: key(),
        alone: false,
        record: format!("{{\"of\": \"{target} {project}\"}}"),
    }
}

/// A store by a clock that is turned by hand.
fn turned(server: &Server) -> (RedisStore, impl Fn(Duration)) {
    let store = RedisStore::with_scripts(&at(&server.url()), Scripts::new().edited(TIME, TURNED)).unwrap();
    let turn = |by: Duration| {
        let _: i64 = server.ask(&["INCRBY", "test-clock", &by.as_millis().to_string()]);
    };
    (store, turn)
}

fn entered(entry: Result<Entry, StoreError>) -> usize {
    match entry {
        Ok(Entry::Entered { others, before: 0, .. }) => others,
        other => panic!("{other:?}"),
    }
}

#[test]
fn places_are_counted_over_all_proxies_and_given_back() {
    let server = Server::start(&[]);
    let (store, _) = turned(&server);
    let enter = |proxy: &str, place: &Place, manner, most| now(store.enter(proxy, place, manner, most));
    let first = place("a", "p", "192.0.2.1");
    assert_eq!(entered(enter("x", &first, Manner::Deny, NO_LIMITS)), 0);
    assert_eq!(entered(enter("x", &first, Manner::Deny, NO_LIMITS)), 0, "the same call again");
    let second = place("a", "p", "192.0.2.1");
    assert_eq!(enter("y", &second, Manner::Deny, NO_LIMITS), Ok(Entry::InUse));
    let limit = |target, project, source| Most { target, project, source };
    assert_eq!(enter("y", &second, Manner::Share, limit(1, 0, 0)), Ok(Entry::Target));
    assert_eq!(enter("y", &second, Manner::Share, limit(0, 1, 0)), Ok(Entry::Project));
    assert_eq!(enter("y", &second, Manner::Steal, limit(0, 0, 1)), Ok(Entry::Source));
    assert_eq!(
        entered(enter("y", &second, Manner::Steal, limit(1, 2, 2))),
        1,
        "a thief is no further viewer"
    );
    // A further channel is counted with another on the console, but not else.
    let channel = Place { session: Uuid::new_v4(), console: None, ..first.clone() };
    assert_eq!(enter("x", &channel, Manner::Share, limit(1, 2, 0)), Ok(Entry::Project));
    assert_eq!(entered(enter("x", &channel, Manner::Share, limit(1, 3, 0))), 0);
    let elsewhere = Place { console: Some(("a".into(), Protocol::Vnc)), ..place("a", "q", "192.0.2.2") };
    assert_eq!(entered(enter("y", &elsewhere, Manner::Deny, limit(1, 1, 1))), 0);
    let mut records = now(store.records()).unwrap();
    records.sort_by(|a, b| (&a.proxy, &a.record).cmp(&(&b.proxy, &b.record)));
    let listed: Vec<_> = records.iter().map(|one| (one.proxy.as_str(), one.record.as_str())).collect();
    let (ours, theirs) = (&first.record[..], &elsewhere.record[..]);
    assert_eq!(listed, [("x", ours), ("x", ours), ("y", ours), ("y", theirs)]);
    assert!(now(store.has(second.session)).unwrap() && !now(store.has(Uuid::new_v4())).unwrap());
    now(store.leave("y", &[second.session, elsewhere.session])).unwrap();
    now(store.leave("y", &[second.session])).unwrap();
    assert_eq!(enter("y", &second, Manner::Deny, NO_LIMITS), Ok(Entry::InUse), "by the first");
    now(store.leave("x", &[first.session, channel.session])).unwrap();
    assert_eq!(entered(enter("y", &second, Manner::Deny, limit(1, 1, 1))), 0);
    now(store.part("y")).unwrap();
    now(store.part("x")).unwrap();
    let keys: Vec<String> = server.ask(&["KEYS", "consolegate:*"]);
    assert_eq!(keys, Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn who_is_back_meets_no_one_but_others() {
    let server = Server::start(&[]);
    let (x, y) = (open(&server), open(&server));
    let only = Most { target: 1, project: 1, source: 1 };
    let first = place("a", "p", "192.0.2.1");
    assert_eq!(entered(now(x.enter("x", &first, Manner::Deny, only))), 0);
    let back = Place { session: Uuid::new_v4(), ..first.clone() };
    for manner in [Manner::Deny, Manner::Share, Manner::Steal] {
        let entry = now(y.enter("y", &back, manner, only)).unwrap();
        assert!(matches!(entry, Entry::Entered { others: 0, before: 1, .. }), "{entry:?}");
        now(y.leave("y", &[back.session])).unwrap();
    }
    let stranger = place("a", "p", "192.0.2.1");
    assert_eq!(now(y.enter("y", &stranger, Manner::Deny, only)), Ok(Entry::InUse));
    now(x.leave("x", &[first.session])).unwrap();
    assert_eq!(entered(now(y.enter("y", &stranger, Manner::Deny, only))), 0);
}

#[test]
fn who_wants_a_console_alone_keeps_everybody_else_out() {
    let server = Server::start(&[]);
    let (x, y) = (open(&server), open(&server));
    let first = Place { alone: true, ..place("a", "p", "192.0.2.1") };
    assert_eq!(entered(now(x.enter("x", &first, Manner::Deny, NO_LIMITS))), 0);
    let second = place("a", "p", "192.0.2.1");
    for manner in [Manner::Deny, Manner::Share, Manner::Steal] {
        assert_eq!(now(y.enter("y", &second, manner, NO_LIMITS)), Ok(Entry::InUse));
    }
    // But not itself, when it is back; and nobody on another console.
    let back = Place { session: Uuid::new_v4(), ..first.clone() };
    let entry = now(y.enter("y", &back, Manner::Deny, NO_LIMITS)).unwrap();
    assert!(matches!(entry, Entry::Entered { others: 0, before: 1, .. }), "{entry:?}");
    let elsewhere = Place { console: Some(("a".into(), Protocol::Vnc)), ..second.clone() };
    assert_eq!(entered(now(y.enter("y", &elsewhere, Manner::Share, NO_LIMITS))), 0);
    now(x.leave("x", &[first.session])).unwrap();
    assert_eq!(now(x.enter("x", &second, Manner::Share, NO_LIMITS)), Ok(Entry::InUse));
    now(y.leave("y", &[back.session])).unwrap();
    assert_eq!(entered(now(x.enter("x", &second, Manner::Share, NO_LIMITS))), 0);
}

/// Thousands on one console are counted, not read: what a place costs does not grow with them.
#[test]
fn who_else_is_on_a_console_is_counted_without_being_read() {
    const MANY: usize = 4000;
    let server = Server::start(&[]);
    let store = open(&server);
    let many: Vec<_> = (0..MANY).map(|_| (1, place("a", "p", "192.0.2.1"))).collect();
    let (own, marked) = (many[7].1.clone(), many[8].1.clone());
    let all = many.iter().map(|(_, place)| place.session).collect();
    now(store.restate("x", move || Present { entered: many, all })).unwrap();
    let enter = |place: &Place, manner, target| {
        now(store.enter("y", place, manner, Most { target, ..NO_LIMITS })).unwrap()
    };
    assert_eq!(enter(&place("a", "p", "192.0.2.1"), Manner::Share, MANY), Entry::Target);
    let stranger = place("a", "p", "192.0.2.1");
    for _ in 0..2 {
        let entry = enter(&stranger, Manner::Share, MANY + 1);
        assert!(matches!(entry, Entry::Entered { others: MANY, before: 0, .. }), "{entry:?}");
    }
    let back = Place { session: Uuid::new_v4(), ..own };
    for _ in 0..2 {
        let entry = enter(&back, Manner::Share, MANY + 1);
        assert!(matches!(entry, Entry::Entered { others: MANY, before: 1, .. }), "{entry:?}");
    }
    // Of the same token, but with a mark: it keeps all others out, and its own in.
    let alone = Place { session: Uuid::new_v4(), alone: true, ..marked };
    let entry = enter(&alone, Manner::Steal, 0);
    assert!(matches!(entry, Entry::Entered { before: 1, .. }), "{entry:?}");
    assert_eq!(enter(&place("a", "p", "192.0.2.1"), Manner::Share, 0), Entry::InUse);
    let again = Place { session: Uuid::new_v4(), alone: false, ..alone.clone() };
    let entry = enter(&again, Manner::Share, 0);
    assert!(matches!(entry, Entry::Entered { before: 2, .. }), "{entry:?}");
    now(store.leave("y", &[alone.session])).unwrap();
    assert!(matches!(enter(&place("a", "p", "192.0.2.1"), Manner::Share, 0), Entry::Entered { .. }));
    for reads in ["smembers", "zrange", "sscan", "zscan", "zrangebylex"] {
        assert_eq!(calls(&server, reads), 0, "{reads}");
    }
    // Nor is anything in proportion asked in some other way: a place is this many commands.
    let before: usize =
        ["hget", "zcard", "zscore", "zlexcount", "scard"].map(|one| calls(&server, one)).iter().sum();
    enter(&place("a", "p", "192.0.2.1"), Manner::Share, MANY + 10);
    let after: usize =
        ["hget", "zcard", "zscore", "zlexcount", "scard"].map(|one| calls(&server, one)).iter().sum();
    assert_eq!(after - before, 5);
}

#[test]
fn the_sessions_of_a_silent_proxy_go_with_its_lease_and_come_back_with_its_word() {
    let server = Server::start(&[]);
    let (store, turn) = turned(&server);
    let (first, second) = (place("a", "p", "192.0.2.1"), place("a", "p", "192.0.2.2"));
    assert!(!now(store.beat("x", &[])).unwrap(), "a proxy nobody has heard of");
    assert_eq!(now(store.restate("x", Present::default)), Ok(0));
    assert!(now(store.beat("x", &[])).unwrap());
    assert_eq!(entered(now(store.enter("x", &first, Manner::Deny, NO_LIMITS))), 0);
    for _ in 0..3 {
        turn(Duration::from_secs(9));
        assert!(now(store.beat("x", &[(first.session, "1 2 3 4".to_owned())])).unwrap());
    }
    assert_eq!(now(store.records()).unwrap()[0].traffic.as_deref(), Some("1 2 3 4"));
    turn(Duration::from_millis(9999));
    assert_eq!(now(store.enter("y", &second, Manner::Deny, NO_LIMITS)), Ok(Entry::InUse));
    turn(Duration::from_millis(1));
    assert_eq!(now(store.records()), Ok(vec![]), "over at the very instant");
    assert_eq!(entered(now(store.enter("y", &second, Manner::Deny, NO_LIMITS))), 0);
    // Who was silent for too long says everything anew, also if it has taken places since.
    let third = place("b", "p", "192.0.2.3");
    assert_eq!(entered(now(store.enter("x", &third, Manner::Deny, NO_LIMITS))), 0);
    assert!(!now(store.beat("x", &[])).unwrap());
    // One that is just entering has its place, though the proxy has not heard so; one that it has not is taken out.
    let (entering, gone) = (place("c", "p", "192.0.2.4"), place("d", "p", "192.0.2.5"));
    for one in [&entering, &gone] {
        assert_eq!(entered(now(store.enter("x", one, Manner::Deny, NO_LIMITS))), 0);
    }
    let present = Present {
        entered: vec![(5, first.clone()), (7, third.clone())],
        all: vec![third.session, entering.session, first.session],
    };
    assert_eq!(now(store.restate("x", move || present)), Ok(37_000));
    assert!(now(store.beat("x", &[])).unwrap());
    assert_eq!(now(store.records()).unwrap().len(), 4);
    assert!(now(store.has(entering.session)).unwrap() && !now(store.has(gone.session)).unwrap());
    now(store.leave("x", &[first.session, third.session])).unwrap();
    now(store.part("y")).unwrap();
    assert_eq!(entered(now(store.enter("y", &third, Manner::Deny, NO_LIMITS))), 0);
}

#[test]
fn thousands_are_said_in_pieces() {
    let server = Server::start(&[]);
    let store = open(&server);
    let many: Vec<_> = (0..1000).map(|n| (1, place(&n.to_string(), "p", "192.0.2.1"))).collect();
    let ids: Vec<_> = many.iter().map(|(_, place)| place.session).collect();
    let present = Present { entered: many, all: ids.clone() };
    now(store.restate("x", move || present)).unwrap();
    let traffic: Vec<_> = ids.iter().map(|id| (*id, id.to_string())).collect();
    assert!(now(store.beat("x", &traffic)).unwrap());
    let records = now(store.records()).unwrap();
    assert_eq!(records.len(), 1000);
    assert!(records.iter().all(|one| one.traffic.is_some()));
    now(store.leave("x", &ids)).unwrap();
    assert_eq!(now(store.records()), Ok(vec![]));
}

#[test]
fn of_many_who_enter_a_console_for_one_at_once_one_does() {
    let server = Server::start(&[]);
    let proxies = [(); 3].map(|()| open(&server));
    for round in 0..20 {
        let target = round.to_string();
        let start = std::sync::Barrier::new(12);
        let race = |racer: usize| {
            start.wait();
            let place = place(&target, "p", "192.0.2.1");
            let name = racer.to_string();
            now(proxies[racer % 3].enter(&name, &place, Manner::Deny, NO_LIMITS)).unwrap()
        };
        let entries: Vec<_> = std::thread::scope(|scope| {
            let race = &race;
            let racers: Vec<_> = (0..12).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let won = entries.iter().filter(|entry| matches!(entry, Entry::Entered { .. })).count();
        assert_eq!(won, 1, "{entries:?}");
    }
}

#[test]
fn the_log_is_read_once_in_order_and_says_what_it_lost() {
    let server = Server::start(&[]);
    let store = open(&server);
    let begin = now(store.news("")).unwrap();
    assert_eq!((begin.cursor.as_str(), begin.missing, begin.entries.len()), ("0-0", None, 0));
    assert_eq!(begin.history, server.info("master_replid"));
    for entry in ["one", "two"] {
        now(store.tell(entry)).unwrap();
    }
    let news = now(store.news(&begin.cursor)).unwrap();
    let texts: Vec<_> = news.entries.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((texts, news.more, news.missing), (vec!["one", "two"], false, None));
    assert_eq!(now(store.news("")).unwrap().cursor, news.cursor, "who begins now begins at the end");
    assert_eq!(now(store.news(&news.cursor)).unwrap().entries, vec![]);
    // Far more than it keeps.
    let fill = "for n = 1, 40000 do redis.call('XADD', KEYS[1], 'MAXLEN', '=', 32768, '*', 'e', n) end";
    let _: Option<i64> = server.ask(&["EVAL", fill, "1", names::LOG]);
    let late = now(store.news(&news.cursor)).unwrap();
    let missing = late.missing.expect("something was missed");
    assert!(late.more && late.entries[0] == (missing, "7233".to_owned()), "{:?}", late.entries[0]);
    let (mut cursor, mut read) = (late.cursor, late.entries.len());
    loop {
        let news = now(store.news(&cursor)).unwrap();
        assert_eq!(news.missing, None, "what was read is not missed");
        read += news.entries.len();
        cursor = news.cursor;
        if !news.more {
            break;
        }
    }
    assert_eq!(read, 32_768);
}

#[test]
fn the_bell_rings_for_each_entry_and_anew_when_the_subscription_broke() {
    let server = Server::start(&[]);
    let (store, bell) = (open(&server), Arc::new(tokio::sync::Notify::new()));
    let anew = Arc::new(tokio::sync::Notify::new());
    store.listen(Arc::clone(&bell), Arc::clone(&anew));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rings = || {
        let ring = async { tokio::time::timeout(Duration::from_secs(120), bell.notified()).await };
        runtime.block_on(ring).expect("the bell");
    };
    rings();
    now(store.tell("something")).unwrap();
    rings();
    let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    rings();
    anew.notify_one();
    rings();
    now(store.tell("something")).unwrap();
    rings();
}
