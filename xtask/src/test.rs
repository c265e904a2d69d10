//! Checking everything.

use std::process::Stdio;

use anyhow::Result;

use crate::guard;
use crate::lint;
use crate::project::cargo;
use crate::setup;
use crate::ui;
use crate::web;

/// Set-up, pages, lints, `cargo test`, whose closing lines are shown, the benches' smoke run and the counts of
/// instructions; when tests are selected, only these.
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
    ui::shown("Tests", "mend what the lines above name, then run this command again", command)?;
    if args.is_empty() {
        // Each bench once, unoptimised: that they still build and run is all this says.
        let mut benches =
            cargo(["test", "--workspace", "--locked", "--quiet", "--bench", "*", "--", "--test"]);
        benches.stdout(Stdio::null());
        ui::shown("Benches, once each", "run `cargo test --workspace --bench '*' -- --test`", benches)?;
        guard::guard(guard::Options::default())?;
    }
    Ok(())
}
