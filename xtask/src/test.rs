//! Checking everything.

use anyhow::Result;

use crate::guard;
use crate::lint;
use crate::project::cargo;
use crate::setup;
use crate::ui;
use crate::web;

/// Set-up, pages, lints, `cargo test`, whose closing lines are shown; then each bench once, to see that it works, and
/// the instruction counts. When tests are selected, only these.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let parts = setup::for_tests()?;
    web::build()?;
    if args.is_empty() {
        lint::all(&parts.venv)?;
        web::test()?;
    }
    let mut command = cargo(["test", "--workspace", "--locked"]);
    command.args(args);
    parts.tell(&mut command);
    let remedy = "mend what the lines above name, then run this command again";
    ui::shown("Tests", remedy, command)?;
    if !args.is_empty() {
        return Ok(());
    }
    let mut command = cargo(["test", "--workspace", "--locked", "--bench", "*"]);
    parts.tell(&mut command);
    ui::step("Each bench once", remedy, command)?;
    guard::guard(guard::Options { within_test: true, ..guard::Options::default() })
}
