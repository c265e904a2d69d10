//! The memory store: a token made, claimed and confirmed, as an issuer and a proxy do in one process.

#![allow(clippy::cast_possible_truncation, reason = "sizes chosen here, all small")]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use consolegate::clock::Clock;
use consolegate::config::TokenFormat;
use consolegate::ids::{Generation, GrantId, Protocol, RequestId};
use consolegate::tokens::{Claim, Confirm, Grant, MemoryStore, Nonce, Options, Store, Token, TokenKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

/// Tokens in one measured batch, and sizes of a store that is in use.
const BATCH: u64 = 10_000;
const OUTSTANDING: usize = 100_000;

const TTL: Duration = Duration::from_secs(600);

fn grant() -> Grant {
    Grant {
        id: GrantId(Uuid::from_u128(1)),
        request: RequestId(Uuid::from_u128(2)),
        target: "47e9be4e-a7b9-471f-92d9-ffc83814e07a".into(),
        generation: Generation(3),
        protocol: Protocol::Vnc,
        project: "9c53a566cb3443ab910cf0daebca90c4".into(),
        user: "demo".into(),
        options: Options::default(),
    }
}

/// The memory store answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the memory store does not wait"),
    }
}

/// A store as a busy issuer has it, with room for what is measured.
fn busy() -> MemoryStore {
    let store = MemoryStore::new(Clock::system(), OUTSTANDING + 2 * BATCH as usize);
    let grant = grant();
    for _ in 0..OUTSTANDING {
        now(store.create(key(), grant.clone(), TTL, 0)).expect("room");
    }
    store
}

fn key() -> TokenKey {
    Token::generate(TokenFormat::Uuid).expect("randomness").key()
}

/// Create, claim and confirm for each key.
fn spend(store: &MemoryStore, grant: &Grant, keys: &[TokenKey]) {
    for (number, key) in keys.iter().enumerate() {
        let nonce = Nonce(number as u128);
        now(store.create(*key, grant.clone(), TTL, 0)).expect("room");
        assert!(matches!(now(store.claim(*key, nonce)), Ok(Claim::Won(_))));
        assert_eq!(now(store.confirm(*key, nonce)), Ok(Confirm::Confirmed));
    }
}

fn store(criterion: &mut Criterion) {
    let grant = grant();
    let mut group = criterion.benchmark_group("tokens");
    group.throughput(Throughput::Elements(BATCH));
    group.sample_size(20);
    group.bench_function("create, claim and confirm beside 100,000 others", |bencher| {
        bencher.iter_batched(
            || (busy(), (0..BATCH).map(|_| key()).collect::<Vec<_>>()),
            |(store, keys)| {
                spend(&store, &grant, &keys);
                // Dropped by the caller: freeing the store is not measured.
                (store, keys)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    group.throughput(Throughput::Elements(1));
    group.bench_function("generate and hash", |bencher| bencher.iter(|| black_box(key())));
    group.finish();
}

criterion_group!(benches, store, token);
criterion_main!(benches);
