//! What the tests drive: a browser, a guest, an X server with VNC, the Python clients.
//!
//! `cargo xtask test` says where they are; without it they are looked for in their usual places. One that is
//! missing fails its tests with the remedy: a skipped test proves nothing.

pub(crate) mod binary;
pub(crate) mod cable;
pub(crate) mod chance;
pub(crate) mod chromium;
pub(crate) mod console;
mod devtools;
pub(crate) mod examples;
pub(crate) mod files;
pub(crate) mod fleet;
pub(crate) mod hypervisor;
mod keys;
pub(crate) mod keystone;
pub(crate) mod line;
pub(crate) mod news;
pub(crate) mod picture;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod python;
pub(crate) mod qemu;
pub(crate) mod qmp;
#[allow(dead_code, reason = "the store's own tests, which use all of it, share it")]
#[path = "../../../src/tokens/redis/testing.rs"]
pub(crate) mod redis;
pub(crate) mod rfb;
pub(crate) mod server;
pub(crate) mod signer;
pub(crate) mod temp;
pub(crate) mod terminal;
pub(crate) mod viewer;
pub(crate) mod wire;
pub(crate) mod xvnc;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest wait for anything outside this process. Generous, because two cores run everything at once: it
/// decides when a hang is reported, never whether a slow machine passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Awaits `work`, or fails naming `what` after [`PATIENCE`].
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// The place that `variable` names, else the first of `places` that exists.
///
/// # Panics
/// When there is none, with the remedy.
pub(crate) fn part(variable: &str, places: &[PathBuf]) -> PathBuf {
    let told = env::var_os(variable).map(PathBuf::from);
    let found = told.iter().chain(places).find(|place| place.exists());
    found.cloned().unwrap_or_else(|| {
        panic!("not found: {variable} {told:?}, or any of {places:?}. To go on: run `cargo xtask setup`")
    })
}

/// Finds a program on PATH and in the directories that Debian keeps off an ordinary user's PATH.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = dirs.map(|dir| dir.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {name} on PATH. To go on: run `cargo xtask setup`"))
}

/// What `cargo xtask setup` made.
pub(crate) fn setup_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/setup")
}

#[test]
fn a_missing_part_names_the_remedy() {
    let outcome = std::panic::catch_unwind(|| part("CONSOLEGATE_TEST_NOTHING", &["/nonexistent".into()]));
    let words = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("run `cargo xtask setup`"), "{words}");
}
