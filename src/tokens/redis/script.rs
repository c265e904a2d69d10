//! The store's steps as Lua: each is one script, so each is atomic. Those that open a console are functions of a library
//! as well, which a server remembers more for (`lua/library.lua`).

use redis::Cmd;
use sha1::{Digest, Sha1};

use super::{LEASE, SLACK, TOMBSTONE, ms};

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

/// What the library begins with beyond [`COMMON`].
const LIBRARY: &str = include_str!("lua/library.lua");

/// The steps that are functions of it, and what they are called.
const FUNCTIONS: [(Step, &str); 2] = [(Step::Claim, "claim"), (Step::Confirm, "confirm")];

/// The scripts and the library, and the names Redis knows them by.
#[derive(Clone)]
pub(super) struct Scripts {
    scripts: Vec<Script>,
    library: Library,
}

#[derive(Clone)]
struct Script {
    text: String,
    hash: String,
}

/// Two versions of it have two names, so that they are beside each other in one server.
#[derive(Clone)]
struct Library {
    body: String,
    steps: Vec<(Step, String)>,
    name: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let common = format!("{}{COMMON}", times());
        let of_tokens = TEXTS.iter().map(|text| Script::new(format!("{common}{text}")));
        let of_sessions = LIVE_TEXTS.iter().map(|text| Script::new(format!("{common}{LIVE}{text}")));
        let of_targets = TARGET_TEXTS.iter().map(|text| Script::new(format!("{common}{TARGETS}{text}")));
        let functions = FUNCTIONS.iter().map(|(step, _)| (*step, TEXTS[*step as usize].to_owned()));
        Self {
            scripts: of_tokens.chain(of_sessions).chain(of_targets).collect(),
            library: Library::new(format!("{common}{LIBRARY}"), functions.collect()),
        }
    }

    /// With `from` replaced by `to` wherever it stands, which must be somewhere: what a test breaks on purpose.
    #[cfg(test)]
    pub(super) fn edited(self, from: &str, to: &str) -> Self {
        let Library { body, steps, .. } = self.library;
        let known = self.scripts.iter().any(|script| script.text.contains(from)) || body.contains(from);
        assert!(known, "no script has {from:?}");
        let steps = steps.into_iter().map(|(step, text)| (step, text.replace(from, to)));
        Self {
            scripts: self.scripts.iter().map(|script| Script::new(script.text.replace(from, to))).collect(),
            library: Library::new(body.replace(from, to), steps.collect()),
        }
    }

    /// The call of a step with these keys; arguments are added to it.
    pub(super) fn call(&self, step: Step, keys: &[&str]) -> Cmd {
        call("EVALSHA", &self.scripts[step as usize].hash, keys)
    }

    /// The same by the library, if the step is a function of it.
    pub(super) fn function(&self, step: Step, keys: &[&str]) -> Option<Cmd> {
        let (_, name) = FUNCTIONS.iter().find(|(function, _)| *function == step)?;
        Some(call("FCALL", &format!("{}_{name}", self.library.name), keys))
    }

    /// What makes a server know all scripts.
    pub(super) fn loads(&self) -> impl Iterator<Item = Cmd> {
        self.scripts.iter().map(|script| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(&script.text);
            command
        })
    }

    /// What makes it know the library. One that has it says so, as an error.
    pub(super) fn load_library(&self) -> Cmd {
        let mut command = redis::cmd("FUNCTION");
        command.arg("LOAD").arg(self.library.text());
        command
    }
}

fn call(how: &str, name: &str, keys: &[&str]) -> Cmd {
    let mut command = redis::cmd(how);
    command.arg(name).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    command
}

/// The times that a text has by itself: each argument of a call costs the server as much as a line.
fn times() -> String {
    let (lease, kept) = (ms(LEASE), ms(LEASE + SLACK));
    format!(
        "local LEASE, LEASE_KEPT, TOMBSTONE, SLACK = {lease}, '{kept}', {}, {}\n",
        ms(TOMBSTONE),
        ms(SLACK)
    )
}

impl Script {
    fn new(text: String) -> Self {
        let hash = digest(&text);
        Self { text, hash }
    }
}

impl Library {
    fn new(body: String, steps: Vec<(Step, String)>) -> Self {
        let all = steps.iter().fold(body.clone(), |all, (_, text)| all + text);
        let name = format!("consolegate_{}", &digest(&all)[..16]);
        Self { body, steps, name }
    }

    fn text(&self) -> String {
        let Self { body, steps, name } = self;
        let mut text = format!("#!lua name={name}\nlocal KEYS, ARGV\n{body}");
        for ((_, function), (_, step)) in FUNCTIONS.iter().zip(steps) {
            text += &format!(
                "redis.register_function('{name}_{function}', function(keys, args)\nKEYS, ARGV = keys, args\n{step}end)\n"
            );
        }
        text
    }
}

fn digest(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
