//! Live sessions of several processes over one Redis: seen, bounded and ended from any of them.

use consolegate::ids::Protocol;
use consolegate::server::Role;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::support::binary::Binary;
use crate::support::cable::Cable;
use crate::support::console::{Console, Manner};
use crate::support::fleet::{ADMIN, Fleet, OTHER, VM, admin, process, revoke, sessions, until_listed};
use crate::support::redis::Server as Redis;
use crate::support::server::{PROJECT, Socket, TOKEN, http, open, target, token_of};
use crate::support::{viewer, within};

#[tokio::test]
async fn every_process_lists_all_sessions_and_ends_any() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let more = target(VM, "vm", &line.setting("serial")) + &target(OTHER, "other", &line.setting("serial"));
    let fleet = Fleet::start(&redis.url(), 2, &more);
    let mut first = fleet.open(0, VM).await.unwrap();
    let mut second = fleet.open(1, OTHER).await.unwrap();
    let at = [fleet.issuer.at.admin, fleet.proxies[0].at.admin, fleet.proxies[1].at.admin];
    for at in at {
        let mut listed = until_listed(at, 2).await;
        listed.sort_by_key(|session| session["proxy"].as_str().unwrap().to_owned());
        for (session, (proxy, server)) in listed.iter().zip([("proxy-0", VM), ("proxy-1", OTHER)]) {
            let said = |key: &str| session[key].as_str().unwrap();
            assert_eq!((said("proxy"), said("target"), said("source")), (proxy, server, "127.0.0.1"));
            assert_eq!((said("project"), said("user"), said("protocol")), (PROJECT, "demo", "serial"));
        }
    }
    // What they moved is said with each beat.
    let bytes =
        async { while !sessions(at[0]).await.iter().all(|one| one["bytes_to_target"] == json!(7)) {} };
    within("the bytes", bytes).await;
    let listed = sessions(at[1]).await;
    let other = listed.iter().find(|session| session["proxy"] == "proxy-1").unwrap();
    let path = format!("/v1/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(admin(at[1], "DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(viewer::closed(&mut second).await.0, 1008);
    until_listed(at[0], 1).await;
    assert_eq!(admin(at[1], "DELETE", &path, &Value::Null).await.0, 404);
    let path = format!("/v1/sessions/{}", sessions(at[2]).await[0]["id"].as_str().unwrap());
    viewer::echo(&mut first, b"still here").await;
    assert_eq!(admin(at[0], "DELETE", &path, &Value::Null).await.0, 204, "by an issuer without a proxy");
    assert_eq!(viewer::closed(&mut first).await.0, 1008);
    until_listed(at[0], 0).await;
}

#[tokio::test]
async fn a_revocation_reaches_every_proxy() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let more = target(VM, "vm", &line.setting("serial")) + &target(OTHER, "other", &line.setting("serial"));
    let fleet = Fleet::start(&redis.url(), 2, &more);
    let ended = async |mut sockets: Vec<Socket>| {
        for socket in &mut sockets {
            assert_eq!(viewer::closed(socket).await.0, 1008);
        }
        until_listed(fleet.issuer.at.admin, 1).await;
    };
    let mut bystander = fleet.open(0, OTHER).await.unwrap();
    // Its token, which is spent.
    let token = fleet.issuer.token(VM, Protocol::Serial).await;
    let mut one = open(&fleet.proxies[1].ws(&token), &[]).await.unwrap().0;
    viewer::echo(&mut one, b"x").await;
    assert_eq!(revoke(&fleet, &json!({"token": token})).await, json!({"tokens": 0, "sessions": 1}));
    ended(vec![one]).await;
    // A server's, and a link that was not opened.
    let _unopened = fleet.issuer.token(VM, Protocol::Serial).await;
    let one = fleet.open(1, VM).await.unwrap();
    assert_eq!(revoke(&fleet, &json!({"server_id": VM})).await, json!({"tokens": 1, "sessions": 1}));
    ended(vec![one]).await;
    viewer::echo(&mut bystander, b"undisturbed").await;
    // A user's, by an operator at a proxy that has some of them.
    let one = fleet.open(1, VM).await.unwrap();
    let at = fleet.proxies[0].at.admin;
    let answer = admin(at, "POST", "/v1/revoke", &json!({"user": "demo"})).await;
    assert_eq!(answer, (200, json!({"tokens": 0, "sessions": 2})));
    for mut socket in [one, bystander] {
        assert_eq!(viewer::closed(&mut socket).await, (1008, "ended by an operator".to_owned()));
    }
    // And who comes after it comes in.
    let mut next = fleet.open(0, VM).await.unwrap();
    viewer::echo(&mut next, b"a new one").await;
    for wrong in [json!({}), json!({"user": 1}), json!({"user": "a", "project": "b"}), json!({"all": "x"})] {
        assert_eq!(admin(at, "POST", "/v1/revoke", &wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn of_30_viewers_of_a_console_for_one_one_gets_in_on_three_proxies() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let fleet = Fleet::start(&redis.url(), 3, &target(VM, "vm", &line.setting("serial")));
    for _ in 0..3 {
        let before = line.dialled().await + 1;
        let mut tokens = Vec::new();
        for _ in 0..15 {
            tokens.push(fleet.issuer.token(VM, Protocol::Serial).await);
        }
        let urls: Vec<_> = tokens.iter().zip(0..).map(|(token, n)| fleet.proxies[n % 3].ws(token)).collect();
        let tries = join_all(urls.iter().map(|url| open(url, &[]))).await;
        let (opened, refused): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|refused| refused.as_ref().is_err_and(|status| *status == 429)));
        assert_eq!(opened.len(), 1);
        assert_eq!(line.dialled().await - before, 1, "nobody else came as far as the console");
        let (mut winner, _) = opened.into_iter().next().unwrap().unwrap();
        viewer::echo(&mut winner, b"mine").await;
        assert_eq!(viewer::goodbye(&mut winner).await.0, 1000);
        until_listed(fleet.issuer.at.admin, 0).await;
        // The links of those who were too late are still good, and make room for the next round's.
        revoke(&fleet, &json!({"server_id": VM})).await;
    }
}

/// A link's own wish to be alone holds at every proxy, against those who share and those who steal.
#[tokio::test]
async fn who_has_a_link_for_one_keeps_others_out_on_every_proxy() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let share = format!("{}serial_viewers = \"share\"\n", line.setting("serial"));
    let fleet = Fleet::start(&redis.url(), 2, &target(VM, "vm", &share));
    let link = async |viewers: &str| {
        let headers = format!("X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n");
        let (path, body) =
            (format!("/console/v1/servers/{VM}/consoles"), json!({"protocol": "serial", "viewers": viewers}));
        let answer = http(fleet.issuer.at.api, "POST", &path, &headers, &body.to_string()).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let issued: Value = serde_json::from_str(body).unwrap();
        token_of(issued["console"]["url"].as_str().unwrap())
    };
    let (mut first, _) = open(&fleet.proxies[0].ws(&link("deny").await), &[]).await.unwrap();
    viewer::echo(&mut first, b"alone").await;
    for viewers in ["share", "steal", "deny"] {
        let refused = open(&fleet.proxies[1].ws(&link(viewers).await), &[]).await;
        assert_eq!(refused.err(), Some(429), "{viewers}");
    }
    viewer::echo(&mut first, b"still alone").await;
    assert_eq!(viewer::goodbye(&mut first).await.0, 1000);
    until_listed(fleet.issuer.at.admin, 0).await;
    let mut second = fleet.open(1, VM).await.unwrap();
    // Who comes to a console that has somebody does not get it alone.
    assert_eq!(open(&fleet.proxies[0].ws(&link("deny").await), &[]).await.err(), Some(429));
    viewer::echo(&mut second, b"undisturbed").await;
}

/// Each limit counts both proxies of a fleet that is started with it, of the servers [`VM`] and [`OTHER`].
pub(crate) async fn each_limit_counts_all(start: impl Fn(&str) -> Fleet) {
    for (limit, second) in
        [("sessions_per_target", VM), ("sessions_per_project", OTHER), ("sessions_per_source", OTHER)]
    {
        let fleet = start(&format!("[limits]\n{limit} = 1\n"));
        let mut first = fleet.open(0, VM).await.unwrap();
        assert_eq!(fleet.open(1, second).await.err(), Some(429), "{limit}");
        assert_eq!(viewer::goodbye(&mut first).await.0, 1000);
        until_listed(fleet.issuer.at.admin, 0).await;
        let mut next = fleet.open(1, second).await.unwrap_or_else(|status| panic!("{limit}: {status}"));
        assert_eq!(viewer::goodbye(&mut next).await.0, 1000);
        until_listed(fleet.issuer.at.admin, 0).await;
    }
}

#[tokio::test]
async fn limits_count_all_proxies() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let share = format!("{}serial_viewers = \"share\"\n", line.setting("serial"));
    let servers = target(VM, "vm", &share) + &target(OTHER, "other", &share);
    each_limit_counts_all(|limits| Fleet::start(&redis.url(), 2, &format!("{limits}{servers}"))).await;
}

#[tokio::test]
async fn who_takes_over_a_console_ends_the_viewer_at_another_proxy() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let steal = format!("{}serial_viewers = \"steal\"\n", line.setting("serial"));
    let fleet = Fleet::start(&redis.url(), 2, &target(VM, "vm", &steal));
    let mut first = fleet.open(0, VM).await.unwrap();
    let mut second = fleet.open(1, VM).await.unwrap();
    assert_eq!(viewer::closed(&mut first).await, (1008, "taken over by another viewer".to_owned()));
    viewer::echo(&mut second, b"mine now").await;
    let mut third = fleet.open(0, VM).await.unwrap();
    assert_eq!(viewer::closed(&mut second).await.0, 1008);
    viewer::echo(&mut third, b"and mine").await;
}

/// The bell is never heard: the proxy's user may not subscribe.
#[tokio::test]
async fn a_deaf_proxy_learns_of_a_revocation_all_the_same() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let _: String = redis.ask(&["ACL", "SETUSER", "deaf", "on", ">secret", "+@all", "~*", "-subscribe"]);
    let servers = target(VM, "vm", &line.setting("serial"));
    let login = "redis.username = \"deaf\"\nredis.password = \"secret\"\n";
    let fleet = Fleet {
        issuer: process("issuer", &redis.url(), &servers, Role::Issuer),
        proxies: vec![process("deaf", &redis.url(), &format!("{login}{servers}"), Role::Proxy)],
    };
    let mut live = fleet.open(0, VM).await.unwrap();
    assert_eq!(revoke(&fleet, &json!({"server_id": VM})).await["sessions"], json!(1));
    assert_eq!(viewer::closed(&mut live).await.0, 1008);
}

#[tokio::test]
async fn a_proxy_that_was_cut_off_keeps_its_sessions_and_ends_what_was_revoked_meanwhile() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let cable = Cable::to(redis.port()).await;
    let servers =
        target(VM, "vm", &line.setting("serial")) + &target(OTHER, "other", &line.setting("serial"));
    let url = format!("redis://{}/0", cable.address());
    let fleet = Fleet {
        issuer: process("issuer", &redis.url(), &servers, Role::Issuer),
        proxies: vec![process("far", &url, &servers, Role::Proxy)],
    };
    let (mut revoked, mut kept) = (fleet.open(0, VM).await.unwrap(), fleet.open(0, OTHER).await.unwrap());
    cable.cut();
    revoke(&fleet, &json!({"server_id": VM})).await;
    // Its lease runs out, and its sessions go on.
    until_listed(fleet.issuer.at.admin, 0).await;
    viewer::echo(&mut revoked, b"still here").await;
    let (_, own) = admin(fleet.proxies[0].at.admin, "GET", "/v1/sessions", &Value::Null).await;
    assert_eq!((own["sessions"].as_array().unwrap().len(), &own["complete"]), (2, &json!(false)), "{own}");
    cable.mend();
    assert_eq!(viewer::closed(&mut revoked).await.0, 1008);
    viewer::echo(&mut kept, b"undisturbed").await;
    assert_eq!(until_listed(fleet.issuer.at.admin, 1).await[0]["target"], json!(OTHER));
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_told_what_lives() {
    let (mut redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let fleet = Fleet::start(&redis.url(), 2, &target(VM, "vm", &line.setting("serial")));
    let mut live = fleet.open(0, VM).await.unwrap();
    redis.kill();
    redis.restart();
    until_listed(fleet.issuer.at.admin, 1).await;
    assert_eq!(fleet.open(1, VM).await.err(), Some(429), "and its console is in use");
    assert_eq!(revoke(&fleet, &json!({"server_id": VM})).await["sessions"], json!(1));
    assert_eq!(viewer::closed(&mut live).await.0, 1008);
}

#[tokio::test]
async fn the_sessions_of_a_dead_proxy_vanish_with_its_lease() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let servers = target(VM, "vm", &line.setting("serial"));
    let more = format!("[admin]\ntoken = \"{ADMIN}\"\n[tokens]\nstore = \"{}\"\n", redis.url());
    let mut victim = Binary::serve(&more, &servers, "text", &[]).await;
    let fleet = Fleet::start(&redis.url(), 1, &servers);
    let token = fleet.issuer.token(VM, Protocol::Serial).await;
    let (mut lost, _) = open(&format!("ws://{}/?token={token}", victim.proxy), &[]).await.unwrap();
    viewer::echo(&mut lost, b"x").await;
    until_listed(fleet.issuer.at.admin, 1).await;
    victim.signal(Signal::KILL);
    victim.ended().await;
    // Until then its console is taken: nobody knows that it is dead.
    assert_eq!(fleet.open(0, VM).await.err(), Some(429));
    until_listed(fleet.issuer.at.admin, 0).await;
    let mut next = fleet.open(0, VM).await.unwrap();
    viewer::echo(&mut next, b"free again").await;
}

#[tokio::test]
async fn a_proxy_that_ends_in_order_leaves_nothing_behind() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let servers = target(VM, "vm", &line.setting("serial"));
    let mut fleet = Fleet::start(&redis.url(), 2, &servers);
    let mut live = fleet.open(1, VM).await.unwrap();
    assert_eq!(viewer::goodbye(&mut live).await.0, 1000);
    fleet.proxies.remove(1).drain().await;
    assert_eq!(sessions(fleet.issuer.at.admin).await, Vec::<Value>::new());
    fleet.open(0, VM).await.unwrap();
}

/// The proxy that has the session has its line; whoever asks elsewhere is told that it was passed on.
#[tokio::test]
async fn a_break_reaches_the_line_from_any_process_once() {
    // A terminal server that knows no option: a break is then the Telnet command of that name (RFC 854).
    const BREAK: [u8; 2] = [255, 243];
    let (redis, plain) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let telnet = format!("serial = \"telnet://{}\"", listener.local_addr().unwrap());
    let servers = target(VM, "vm", &telnet) + &target(OTHER, "other", &plain.setting("serial"));
    let fleet = Fleet::start(&redis.url(), 2, &servers);
    let token = fleet.issuer.token(VM, Protocol::Serial).await;
    let (mut viewer, _) = open(&fleet.proxies[0].ws(&token), &[]).await.unwrap();
    let (mut line, _) = within("the proxy's dial", listener.accept()).await.unwrap();
    let (there, elsewhere) = (fleet.proxies[0].at.admin, [fleet.issuer.at.admin, fleet.proxies[1].at.admin]);
    let session = until_listed(there, 1).await[0]["id"].as_str().unwrap().to_owned();
    let ask = async |at| admin(at, "POST", &format!("/v1/sessions/{session}/break"), &Value::Null).await.0;
    let mut read = Vec::new();
    let mut broken = async || {
        let heard = async {
            while !read.windows(2).any(|two| two == BREAK) {
                assert!(line.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
            }
            // Nothing follows but what the viewer types: the break was one.
            viewer::send(&mut viewer, b"typed").await;
            while !read.ends_with(b"typed") {
                assert!(line.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
            }
        };
        within("the break", heard).await;
        assert_eq!(read.windows(2).filter(|two| *two == BREAK).count(), 1, "{read:?}");
        read.clear();
    };
    assert_eq!(ask(there).await, 204);
    broken().await;
    for at in elsewhere {
        assert_eq!(ask(at).await, 202);
        broken().await;
    }
    let _plain = fleet.open(1, OTHER).await.unwrap();
    let listed = until_listed(there, 2).await;
    let other = listed.iter().find(|one| one["target"] == OTHER).unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/sessions/{other}/break");
    assert_eq!(admin(fleet.proxies[1].at.admin, "POST", &path, &Value::Null).await.0, 409);
    let unknown = "/v1/sessions/00000000-0000-4000-8000-000000000000/break";
    for at in elsewhere {
        assert_eq!(admin(at, "POST", unknown, &Value::Null).await.0, 404);
    }
}
