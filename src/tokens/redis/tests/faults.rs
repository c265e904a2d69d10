//! A network that loses answers, a server that hangs, callers who do not wait.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;

use super::*;

/// Between store and server: passes everything on, and when told to, cuts the connection where the next answer is
/// due, after the server has done what it was asked.
pub(in super::super) struct Cutter {
    port: u16,
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
}

impl Cutter {
    pub(in super::super) fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
        let (armed, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&armed), Arc::clone(&cuts));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", behind)) else { continue };
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || pass(near, far, |_| false));
                let (armed, cuts) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
                std::thread::spawn(move || {
                    pass(far2, near2, |_| {
                        let cut = armed.swap(false, Ordering::SeqCst);
                        cuts.fetch_add(u64::from(cut), Ordering::SeqCst);
                        cut
                    });
                });
            }
        });
        Self { port, armed, cuts }
    }

    /// The next answer is lost.
    pub(in super::super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub(in super::super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut cut: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if cut(&buffer[..read]) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

pub(in super::super) fn through(cutter: &Cutter, scripts: Scripts) -> RedisStore {
    let store =
        RedisStore::with_scripts(&at(&format!("redis://127.0.0.1:{}", cutter.port)), scripts).unwrap();
    assert_eq!(now(store.peek(key())), Ok(None), "it is connected");
    assert_eq!(now(store.claim(key(), A)), Ok(Claim::Unknown), "and its functions are there");
    store
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let server = Server::start(&[]);
    let cutter = Cutter::before(&server);
    let store = through(&cutter, Scripts::new());
    let token = key();
    let grant = grant();
    cutter.arm();
    assert_eq!(now(store.create(token, grant.clone(), TTL, 1)), Ok(()));
    cutter.arm();
    assert_eq!(now(store.claim(token, A)), Ok(Claim::Won(Arc::new(grant))));
    assert_eq!(now(store.claim(token, B)), Ok(Claim::Busy(Protocol::Serial)));
    cutter.arm();
    assert_eq!(now(store.release(token, A)), Ok(()));
    assert!(matches!(now(store.claim(token, B)), Ok(Claim::Won(_))));
    cutter.arm();
    assert_eq!(now(store.confirm(token, B)), Ok(Confirm::Confirmed));
    assert_eq!(cutter.cuts(), 4);
    assert_eq!(now(store.claim(token, A)), Ok(Claim::Spent(Protocol::Serial)));
}

#[test]
fn without_its_nonce_a_claim_would_meet_itself() {
    let server = Server::start(&[]);
    let cutter = Cutter::before(&server);
    let blind = "if claim and not claim.spent and claim.nonce == ARGV[1] then\n  -- The holder";
    let store = through(&cutter, Scripts::new().edited(blind, "if false then\n  -- The holder"));
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    cutter.arm();
    assert_eq!(now(store.claim(token, A)), Ok(Claim::Busy(Protocol::Serial)));
    assert_eq!(cutter.cuts(), 1);
}

#[test]
fn a_claim_nobody_waits_for_is_given_back() {
    // The clock stands still: no lease runs out, so only a release frees what was claimed.
    let still = harness(Scripts::new())();
    let store = &still.store;
    // Two first claims would both load the functions, and either could be the first then.
    assert_eq!(now(store.claim(key(), A)), Ok(Claim::Unknown), "its functions are there");
    for round in 0..50 {
        let token = key();
        now(store.create(token, grant(), TTL, 0)).unwrap();
        let claim = store.claim(token, A);
        if round % 2 == 0 {
            // Won, and answered, before the caller goes away.
            until("the claim", || matches!(now(store.claim(token, B)), Ok(Claim::Busy(_))).then_some(()));
        }
        drop(claim);
        until("the release", || matches!(now(store.claim(token, B)), Ok(Claim::Won(_))).then_some(()));
    }
}

#[test]
fn a_server_that_is_gone_is_an_error_and_serves_again_when_it_is_back() {
    let mut server = Server::start(&[]);
    let store = open(&server);
    now(store.create(key(), grant(), TTL, 0)).unwrap();
    server.kill();
    let token = key();
    let down = |answer: Result<(), StoreError>| assert!(matches!(answer, Err(StoreError::Unavailable(_))));
    down(now(store.create(token, grant(), TTL, 0)));
    down(now(store.claim(token, A)).map(drop));
    down(now(store.confirm(token, A)).map(drop));
    down(now(store.release(token, A)));
    down(now(store.revoke(Revoke::Token(token))).map(drop));
    down(now(store.peek(token)).map(drop));
    server.restart();
    // At once, scripts and all: nothing has to be waited for.
    now(store.create(token, grant(), TTL, 0)).unwrap();
    assert!(matches!(now(store.claim(token, A)), Ok(Claim::Won(_))));
    // And one that is gone when the store is opened.
    server.kill();
    let early = open(&server);
    down(now(early.peek(token)).map(drop));
    server.restart();
    assert_eq!(now(early.peek(key())), Ok(None));
}

#[test]
fn a_server_that_hangs_does_not_hang_its_callers() {
    const { assert!(DEADLINE.as_millis() < 2000, "who waits is told within two seconds") };
    let server = Server::start(&[]);
    let store = open(&server);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    let tell = |signal: rustix::process::Signal| {
        let process = rustix::process::Pid::from_raw(server.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    };
    tell(rustix::process::Signal::STOP);
    for answer in [now(store.claim(token, A)).map(drop), now(store.create(key(), grant(), TTL, 0))] {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    tell(rustix::process::Signal::CONT);
    // The claim arrived when the server woke up; it was given back, or never made.
    until("the release", || matches!(now(store.claim(token, B)), Ok(Claim::Won(_))).then_some(()));
}

#[test]
fn scripts_that_were_flushed_are_loaded_again() {
    let server = Server::start(&[]);
    let store = open(&server);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    let _: String = server.ask(&["SCRIPT", "FLUSH"]);
    assert!(matches!(now(store.claim(token, A)), Ok(Claim::Won(_))));
}
