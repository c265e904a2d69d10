//! Checking everything.

use anyhow::Result;

use crate::lint;
use crate::project::cargo;
use crate::setup;
use crate::ui;
use crate::web;

/// Set-up, pages, lints (only when no test is selected), then `cargo test`, whose closing lines are shown.
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
    ui::shown("Tests", "mend what the lines above name, then run this command again", command)
}
