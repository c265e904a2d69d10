//! A fleet's live sessions in a cluster of three, and behind a Sentinel: the same as over one Redis, and after the
//! server that has them was replaced.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use consolegate::server::Role;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fleet::each_limit_counts_all;
use crate::support::binary::Binary;
use crate::support::console::{Console, Manner};
use crate::support::fleet::{ADMIN, Fleet, OTHER, VM, admin, process, revoke, sessions, until_listed};
use crate::support::redis::{Cluster, Guarded, SENTINEL_PASSWORD, free_port};
use crate::support::server::{PROJECT, Socket, open, target};
use crate::support::{viewer, within};

/// Where a store is, and what else it takes.
struct Store {
    url: String,
    login: String,
}

impl Store {
    fn cluster(cluster: &Cluster) -> Self {
        Self { url: cluster.url(), login: String::new() }
    }

    /// One of the Sentinels is not there.
    fn guarded(guarded: &Guarded) -> Self {
        let (gone, port) = (free_port(), guarded.sentinel.port());
        Self {
            url: format!("redis-sentinel://127.0.0.1:{gone},127.0.0.1:{port}/tokens"),
            login: format!("redis.sentinel_password = \"{SENTINEL_PASSWORD}\"\n"),
        }
    }

    fn fleet(&self, more: &str) -> Fleet {
        Fleet::start(&self.url, 2, &format!("{}{more}", self.login))
    }
}

/// Waits until the fleet's issuer lists so many, and knows that it is all of them.
async fn until_all_listed(at: SocketAddr, count: usize) {
    let look = async {
        loop {
            let (_, listed) = admin(at, "GET", "/v1/sessions", &Value::Null).await;
            let number = listed["sessions"].as_array().map_or(0, Vec::len);
            if (number, &listed["complete"]) == (count, &json!(true)) {
                return;
            }
        }
    };
    within(&format!("{count} sessions"), look).await;
}

/// Listed everywhere, ended one by one, and by every kind of revocation.
async fn are_listed_and_ended(store: &Store, servers: &str) {
    let fleet = store.fleet(servers);
    let (issuer, at) = (fleet.issuer.at.admin, fleet.proxies[0].at.admin);
    let both = async || [fleet.open(0, VM).await.unwrap(), fleet.open(1, OTHER).await.unwrap()];
    let over = async |mut sockets: [Socket; 2]| {
        for socket in &mut sockets {
            assert_eq!(viewer::closed(socket).await.0, 1008);
        }
        until_listed(issuer, 0).await;
    };
    let live = both().await;
    for at in [issuer, at, fleet.proxies[1].at.admin] {
        let mut servers: Vec<_> = until_listed(at, 2).await.iter().map(|one| one["target"].clone()).collect();
        servers.sort_by_key(ToString::to_string);
        assert_eq!(servers, [VM, OTHER]);
    }
    for session in sessions(issuer).await {
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        assert_eq!(admin(at, "DELETE", &path, &Value::Null).await.0, 204, "{session}");
    }
    over(live).await;
    for by in [json!({"project": PROJECT}), json!({"user": "demo"})] {
        let live = both().await;
        let _unopened = fleet.issuer.token(VM, Protocol::Serial).await;
        let answer = admin(issuer, "POST", "/v1/revoke", &by).await;
        assert_eq!(answer, (200, json!({"tokens": 1, "sessions": 2})), "{by}");
        over(live).await;
    }
    // A server's, and one token's.
    let [first, second] = both().await;
    assert_eq!(revoke(&fleet, &json!({"server_id": VM})).await["sessions"], json!(1));
    let token = fleet.issuer.token(VM, Protocol::Serial).await;
    let third = open(&fleet.proxies[1].ws(&token), &[]).await.unwrap().0;
    assert_eq!(revoke(&fleet, &json!({"token": token})).await, json!({"tokens": 0, "sessions": 1}));
    assert_eq!(revoke(&fleet, &json!({"server_id": OTHER})).await["sessions"], json!(1));
    over([first, second]).await;
    over_one(third).await;
}

async fn over_one(mut socket: Socket) {
    assert_eq!(viewer::closed(&mut socket).await.0, 1008);
}

/// A dead proxy's sessions are there until its lease runs out.
async fn vanish_with_their_proxy(store: &Store, servers: &str) {
    let settings =
        format!("[admin]\ntoken = \"{ADMIN}\"\n[tokens]\nstore = \"{}\"\n{}", store.url, store.login);
    let mut victim = Binary::serve(&settings, servers, "text", &[]).await;
    let issuer = process("issuer", &store.url, &format!("{}{servers}", store.login), Role::Issuer);
    let token = issuer.token(VM, Protocol::Serial).await;
    let (mut lost, _) = open(&format!("ws://{}/?token={token}", victim.proxy), &[]).await.unwrap();
    viewer::echo(&mut lost, b"x").await;
    until_listed(issuer.at.admin, 1).await;
    victim.signal(Signal::KILL);
    victim.ended().await;
    until_listed(issuer.at.admin, 0).await;
}

async fn shared(line: &Console) -> String {
    let serial = format!("{}serial_viewers = \"share\"\n", line.setting("serial"));
    target(VM, "vm", &serial) + &target(OTHER, "other", &serial)
}

#[tokio::test]
async fn live_sessions_are_seen_bounded_and_ended_in_a_cluster() {
    let (cluster, line) = (Cluster::start(), Console::new(Manner::Echo).await);
    let (store, servers) = (Store::cluster(&cluster), shared(&line).await);
    are_listed_and_ended(&store, &servers).await;
    each_limit_counts_all(|limits| store.fleet(&format!("{limits}{servers}"))).await;
    vanish_with_their_proxy(&store, &servers).await;
}

#[tokio::test]
async fn live_sessions_are_seen_bounded_and_ended_behind_a_sentinel() {
    let (guarded, line) = (Guarded::start("tokens"), Console::new(Manner::Echo).await);
    let (store, servers) = (Store::guarded(&guarded), shared(&line).await);
    are_listed_and_ended(&store, &servers).await;
    each_limit_counts_all(|limits| store.fleet(&format!("{limits}{servers}"))).await;
    vanish_with_their_proxy(&store, &servers).await;
}

/// Sessions outlive the server that knew of them, are told to the next one, and end by its word.
async fn outlive_their_server(store: &Store, servers: &str, replace: impl FnOnce()) {
    let fleet = store.fleet(servers);
    let mut first = fleet.open(0, VM).await.unwrap();
    let mut second = fleet.open(1, OTHER).await.unwrap();
    until_listed(fleet.issuer.at.admin, 2).await;
    tokio::task::block_in_place(replace);
    viewer::echo(&mut first, b"still here").await;
    until_all_listed(fleet.issuer.at.admin, 2).await;
    // Ended by what is told from then on, and only whom it names.
    let revoked = async {
        loop {
            let answer = admin(fleet.issuer.at.admin, "POST", "/v1/revoke", &json!({"target": VM})).await;
            if answer.0 == 200 {
                return answer.1;
            }
        }
    };
    assert_eq!(within("a revocation", revoked).await["sessions"], json!(1));
    over_one(first).await;
    viewer::echo(&mut second, b"undisturbed").await;
    until_all_listed(fleet.issuer.at.admin, 1).await;
    let listed = sessions(fleet.proxies[0].at.admin).await;
    assert_eq!(listed[0]["target"], json!(OTHER));
}

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_outlive_a_clusters_node() {
    let (cluster, line) = (Cluster::start(), Console::new(Manner::Echo).await);
    let (store, servers) = (Store::cluster(&cluster), shared(&line).await);
    outlive_their_server(&store, &servers, || cluster.take_over()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_outlive_a_sentinels_primary() {
    let (mut guarded, line) = (Guarded::start("tokens"), Console::new(Manner::Echo).await);
    let (store, servers) = (Store::guarded(&guarded), shared(&line).await);
    let promoted = || {
        guarded.replica.follows(&guarded.primary);
        guarded.primary.kill();
        crate::support::redis::until("a new primary", || {
            (guarded.replica.info("role") == "master").then_some(())
        });
    };
    outlive_their_server(&store, &servers, promoted).await;
}
