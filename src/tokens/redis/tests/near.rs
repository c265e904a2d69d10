//! Calls from a worker: made on its own runtime, over its own connection.

use futures_util::FutureExt as _;

use super::*;

/// On a thread that ends with it, and its connections too.
pub(super) fn worker(work: impl Future<Output = ()> + Send) {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

fn connections(server: &Server) -> usize {
    server.ask::<String>(&["CLIENT", "LIST", "TYPE", "normal"]).lines().count()
}

#[test]
fn a_worker_has_a_connection_of_its_own_and_uses_no_other() {
    let server = Server::start(&[]);
    let store = open(&server);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    let far = connections(&server);
    let made = || server.info("total_connections_received").parse::<u64>().unwrap();
    worker(async {
        store.come_near();
        assert!(matches!(store.claim(token, A).await, Ok(Claim::Won(_))));
    });
    let before = made();
    until("the end of its connection", || (connections(&server) == far).then_some(()));
    worker(async {
        store.come_near();
        store.come_near();
        assert_eq!(store.claim(token, B).await, Ok(Claim::Busy(Protocol::Serial)));
        assert_eq!(store.confirm(token, A).await, Ok(Confirm::Confirmed));
        // Dropped in the middle, it is given back all the same.
        let other = key();
        store.create(other, grant(), TTL, 0).await.unwrap();
        assert!(store.claim(other, A).now_or_never().is_none());
        while !matches!(store.claim(other, B).await, Ok(Claim::Won(_))) {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(made(), before + 1, "one more, and one alone");
    assert_eq!(now(store.claim(token, B)), Ok(Claim::Spent(Protocol::Serial)), "the others' is still there");
}

#[test]
fn a_workers_connection_that_broke_is_made_anew() {
    let mut server = Server::start(&[]);
    let store = open(&server);
    let server = &mut server;
    let store = &store;
    worker(async move {
        store.come_near();
        assert_eq!(store.peek(key()).await, Ok(None));
        server.kill();
        assert!(matches!(store.peek(key()).await, Err(StoreError::Unavailable(_))));
        server.restart();
        let token = key();
        store.create(token, grant(), TTL, 0).await.unwrap();
        assert!(matches!(store.claim(token, A).await, Ok(Claim::Won(_))));
    });
}
