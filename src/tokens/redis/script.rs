//! The store's steps as Lua: each is one script, so each is atomic. Those that open a console are functions of a library
//! as well, which a server remembers more for (`lua/library.lua`).

use redis::Cmd;
use sha1::{Digest, Sha1};

use super::call::Call;
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

/// What does several steps in one call.
const TOGETHER: &str = include_str!("lua/batch.lua");

/// The steps that are functions of it by themselves, and what they are called.
const FUNCTIONS: [(Step, &str); 2] = [(Step::Claim, "claim"), (Step::Confirm, "confirm")];

/// The steps that may go out together: those of issuing, opening and leaving a console. Each is short whoever asks.
const TOGETHER_STEPS: [Step; 14] = [
    Step::Create,
    Step::Claim,
    Step::Confirm,
    Step::Release,
    Step::Peek,
    Step::Note,
    Step::Seat,
    Step::Resume,
    Step::Resumed,
    Step::Keep,
    Step::Forget,
    Step::Kept,
    Step::Enter,
    Step::Leave,
];

/// What is added to each number that a batch is described by, so that it is a character to read.
const READABLE: usize = 32;

/// Keys, or arguments, that a step of a batch may have: those that characters are left for. None has a third of it,
/// but for many sessions that leave.
const WORDS: usize = 90;

/// Words of a batch beside keys and arguments: command, name, how many keys, the steps.
const FRAME_WORDS: usize = 4;

/// Room for them in bytes; three of the steps' for each step.
const FRAME: usize = 64 + 3 * super::queue::MOST;

/// The scripts and the library, and the names Redis knows them by.
#[derive(Clone)]
pub(super) struct Scripts {
    scripts: Vec<Script>,
    library: Library,
    /// How many steps go out together at least.
    least: usize,
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
    name: String,
    /// The same as a script, for servers without functions and users who must not call them.
    batch: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let common = format!("{}{COMMON}", times());
        let of_tokens = TEXTS.iter().map(|text| Script::new(format!("{common}{text}")));
        let of_sessions = LIVE_TEXTS.iter().map(|text| Script::new(format!("{common}{LIVE}{text}")));
        let of_targets = TARGET_TEXTS.iter().map(|text| Script::new(format!("{common}{TARGETS}{text}")));
        let step = |step: &Step| {
            let at = *step as usize;
            let text = TEXTS.get(at).unwrap_or_else(|| &LIVE_TEXTS[at - TEXTS.len()]);
            format!("STEPS[{}] = function()\n{text}end\n", at + READABLE)
        };
        let steps: String = TOGETHER_STEPS.iter().map(step).collect();
        Self {
            scripts: of_tokens.chain(of_sessions).chain(of_targets).collect(),
            library: Library::new(format!("{common}{LIVE}{LIBRARY}{steps}{TOGETHER}")),
            least: 2,
        }
    }

    /// With `from` replaced by `to` wherever it stands, which must be somewhere: what a test breaks on purpose.
    #[cfg(test)]
    pub(super) fn edited(self, from: &str, to: &str) -> Self {
        let Self { scripts, library: Library { body, .. }, least } = self;
        let known = scripts.iter().any(|script| script.text.contains(from)) || body.contains(from);
        assert!(known, "no script has {from:?}");
        let scripts = scripts.iter().map(|script| Script::new(script.text.replace(from, to))).collect();
        Self { scripts, library: Library::new(body.replace(from, to)), least }
    }

    /// So that a step goes out as one of several also when it is alone.
    #[cfg(test)]
    pub(super) fn together(self) -> Self {
        Self { least: 1, ..self }
    }

    /// How many steps go out together at least; fewer go one by one.
    pub(super) fn least(&self) -> usize {
        self.least
    }

    /// A step by itself, as a script.
    pub(super) fn alone(&self, call: &Call) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.scripts[call.step as usize].hash).arg(call.counts()[0]);
        call.keys().chain(call.arguments()).for_each(|word| _ = command.arg(word));
        command
    }

    /// The same by the library, if the step is a function of it by itself.
    pub(super) fn function(&self, call: &Call) -> Option<Cmd> {
        let (_, name) = FUNCTIONS.iter().find(|(function, _)| *function == call.step)?;
        let mut command = redis::cmd("FCALL");
        command.arg(format!("{}_{name}", self.library.name)).arg(call.counts()[0]);
        call.keys().chain(call.arguments()).for_each(|word| _ = command.arg(word));
        Some(command)
    }

    /// Whether a step may be one of several.
    pub(super) fn joins(call: &Call) -> bool {
        TOGETHER_STEPS.contains(&call.step) && call.counts().iter().all(|count| *count <= WORDS)
    }

    /// Several steps, which all have to be such: by the library, or as a script.
    pub(super) fn batch(&self, calls: &[Call], function: bool) -> Cmd {
        let words = calls.iter().flat_map(Call::counts).sum::<usize>() + FRAME_WORDS;
        let mut command = Cmd::with_capacity(words, calls.iter().map(Call::len).sum::<usize>() + FRAME);
        command.arg(if function { "FCALL" } else { "EVALSHA" });
        match function {
            true => command.arg(format!("{}_batch", self.library.name)),
            false => command.arg(&self.library.batch.hash),
        };
        command.arg(calls.iter().map(|call| call.counts()[0]).sum::<usize>());
        calls.iter().flat_map(Call::keys).for_each(|key| _ = command.arg(key));
        let numbers = calls.iter().flat_map(|call| {
            let [keys, arguments] = call.counts();
            [call.step as usize, keys, arguments]
        });
        let steps = numbers.map(|number| u8::try_from(number + READABLE).unwrap_or(u8::MAX));
        command.arg(steps.collect::<Vec<u8>>());
        calls.iter().flat_map(Call::arguments).for_each(|word| _ = command.arg(word));
        command
    }

    /// The call of a step with these keys; arguments are added to it.
    pub(super) fn call(&self, step: Step, keys: &[&str]) -> Cmd {
        call("EVALSHA", &self.scripts[step as usize].hash, keys)
    }

    /// What makes a server know all scripts.
    pub(super) fn loads(&self) -> impl Iterator<Item = Cmd> {
        self.scripts.iter().chain([&self.library.batch]).map(|script| {
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
    fn new(body: String) -> Self {
        let name = format!("consolegate_{}", &digest(&body)[..16]);
        let batch = Script::new(format!(
            "local keys, args = KEYS, ARGV\nlocal KEYS, ARGV\n{body}return batch(keys, args)\n"
        ));
        Self { body, name, batch }
    }

    fn text(&self) -> String {
        let Self { body, name, .. } = self;
        let mut text = format!("#!lua name={name}\nlocal KEYS, ARGV\n{body}");
        text += &format!("redis.register_function('{name}_batch', batch)\n");
        for (step, function) in FUNCTIONS {
            let step = step as usize + READABLE;
            text += &format!(
                "redis.register_function('{name}_{function}', function(keys, args)\n\
                 KEYS, ARGV, together = keys, args, false\nreturn STEPS[{step}]()\nend)\n"
            );
        }
        text
    }
}

fn digest(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
