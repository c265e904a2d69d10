//! The store's steps as Lua: each is one script, so each is atomic.

use redis::Cmd;
use sha1::{Digest, Sha1};

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Claim,
    Confirm,
    Release,
    Revoke,
    Peek,
    Note,
    Seat,
    Resume,
    Resumed,
    Keep,
    Forget,
    Kept,
    // From here on about live sessions.
    Enter,
    Leave,
    Beat,
    Part,
    Place,
    Proxies,
    Tell,
    News,
    // And about registered targets.
    TargetPut,
    TargetRemove,
    TargetNews,
    TargetRefill,
    TargetReseal,
}

const COMMON: &str = include_str!("lua/common.lua");

/// What the scripts about live sessions begin with after that.
const LIVE: &str = include_str!("lua/live/common.lua");

/// What those about registered targets begin with.
const TARGETS: &str = include_str!("lua/targets/common.lua");

/// The steps' own text, in the order of [`Step`].
const TEXTS: [&str; 13] = [
    include_str!("lua/create.lua"),
    include_str!("lua/claim.lua"),
    include_str!("lua/confirm.lua"),
    include_str!("lua/release.lua"),
    include_str!("lua/revoke.lua"),
    include_str!("lua/peek.lua"),
    include_str!("lua/note.lua"),
    include_str!("lua/seat.lua"),
    include_str!("lua/resume.lua"),
    include_str!("lua/resumed.lua"),
    include_str!("lua/keep.lua"),
    include_str!("lua/forget.lua"),
    include_str!("lua/kept.lua"),
];

/// The steps about live sessions, which follow those.
const LIVE_TEXTS: [&str; 8] = [
    include_str!("lua/live/enter.lua"),
    include_str!("lua/live/leave.lua"),
    include_str!("lua/live/beat.lua"),
    include_str!("lua/live/part.lua"),
    include_str!("lua/live/place.lua"),
    include_str!("lua/live/proxies.lua"),
    include_str!("lua/live/tell.lua"),
    include_str!("lua/live/news.lua"),
];

/// And the steps about registered targets, which follow these.
const TARGET_TEXTS: [&str; 5] = [
    include_str!("lua/targets/put.lua"),
    include_str!("lua/targets/remove.lua"),
    include_str!("lua/targets/news.lua"),
    include_str!("lua/targets/refill.lua"),
    include_str!("lua/targets/reseal.lua"),
];

/// The scripts, and the names Redis knows them by.
#[derive(Clone)]
pub(super) struct Scripts(Vec<Script>);

#[derive(Clone)]
struct Script {
    text: String,
    hash: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let of_tokens = TEXTS.iter().map(|text| Script::new(format!("{COMMON}{text}")));
        let of_sessions = LIVE_TEXTS.iter().map(|text| Script::new(format!("{COMMON}{LIVE}{text}")));
        let of_targets = TARGET_TEXTS.iter().map(|text| Script::new(format!("{COMMON}{TARGETS}{text}")));
        Self(of_tokens.chain(of_sessions).chain(of_targets).collect())
    }

    /// With `from` replaced by `to` wherever it stands, which must be somewhere: what a test breaks on purpose.
    #[cfg(test)]
    pub(super) fn edited(self, from: &str, to: &str) -> Self {
        assert!(self.0.iter().any(|script| script.text.contains(from)), "no script has {from:?}");
        Self(self.0.iter().map(|script| Script::new(script.text.replace(from, to))).collect())
    }

    /// The call of a step with these keys; arguments are added to it.
    pub(super) fn call(&self, step: Step, keys: &[&str]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.0[step as usize].hash).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// What makes a server know them all.
    pub(super) fn loads(&self) -> impl Iterator<Item = Cmd> {
        self.0.iter().map(|script| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(&script.text);
            command
        })
    }
}

impl Script {
    fn new(text: String) -> Self {
        let hash = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, hash }
    }
}
