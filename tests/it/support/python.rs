//! Programs of the Python venv: the OpenStack clients, as users run them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

use super::{part, setup_dir, temp, within};

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its standard output, or a failure that quotes what it said.
    pub(crate) fn success(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs `program` of the venv (`openstack`, `python`, ...) with `args` and only the given environment, and
/// waits for its end.
pub(crate) async fn run<A: AsRef<OsStr>>(program: &str, args: &[A], env: &[(&str, &str)]) -> Ran {
    let home = temp::dir();
    let mut command = command(program, home.path());
    command.args(args).envs(env.iter().copied()).current_dir(home.path());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within(program, command.output()).await;
    let output = output.unwrap_or_else(|error| {
        panic!("cannot start {program} of the venv: {error}. To go on: run `cargo xtask setup`")
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A program of the venv with a clean environment and home: nobody's own cloud settings take part in a test.
pub(crate) fn command(program: &str, home: &Path) -> Command {
    let bin = part("CONSOLEGATE_TEST_VENV", &[setup_dir().join("venv")]).join("bin");
    let mut command = Command::new(bin.join(program));
    command.env_clear().env("PATH", &bin).env("HOME", home).env("LANG", "C.UTF-8");
    command
}

/// Runs lines of Python in the venv.
pub(crate) async fn script(source: &str, env: &[(&str, &str)]) -> Ran {
    run("python", &["-c", source], env).await
}

#[tokio::test]
async fn the_clients_are_there_in_the_pinned_versions() {
    assert_eq!(run("openstack", &["--version"], &[]).await.success(), "openstack 10.5.0\n");
    let versions = "import importlib.metadata as m, os; print(m.version('openstacksdk'), os.environ['X'])";
    assert_eq!(script(versions, &[("X", "told")]).await.success(), "4.22.0 told\n");
    let failed = script("import sys; sys.exit('no such cloud')", &[]).await;
    assert_eq!((failed.status.code(), failed.stderr.as_str()), (Some(1), "no such cloud\n"));
}
