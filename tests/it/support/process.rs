//! A child process that ends with the test, with what it said kept for the failure message.

use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A running program; killed when dropped, by its own handle.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts `command` with no input; its output goes to `NAME.log` in `dir`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("a log file");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = command.kill_on_drop(true).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// kill -9, and its end.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child to kill");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().await.expect("the state of a child")
    }

    /// Tries `attempt` until it gives something, and fails at once when the program has ended.
    ///
    /// The programs we start announce themselves by making a file or a socket, which only looking tells.
    pub(crate) async fn ready<T>(&mut self, what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            if let Some(ready) = attempt().await {
                return ready;
            }
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                panic!("{} ended ({status}) before {what}. It said:\n{}", self.name, self.said());
            }
            let now = look.tick().await;
            assert!(now < deadline, "{}: no {what} yet. It said:\n{}", self.name, self.said());
        }
    }
}

impl Drop for Process {
    /// Kills it and waits, briefly: its directory is removed next, and it must not write there any more.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        while let Ok(None) = self.child.try_wait() {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_program_that_ends_early_is_quoted() {
    let dir = super::temp::dir();
    let mut command = Command::new("sh");
    command.args(["-c", "echo no such display >&2; exit 3"]);
    let mut process = Process::start("sh", command, dir.path());
    let waiting = tokio::spawn(async move { process.ready("a socket", async || None::<()>).await });
    let words = *waiting.await.unwrap_err().into_panic().downcast::<String>().unwrap();
    assert!(words.contains("no such display") && words.contains("exit status: 3"), "{words}");
}
