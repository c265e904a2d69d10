//! The unit file that we ship: systemd takes it as it is, and gives a stop the time that our settings need.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::server::config;
use crate::support::temp;

/// What systemd may find exposed, of 100: an unconfined service is above 90.
const EXPOSED: &str = "30";

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/consolegate.service");
    std::fs::read_to_string(path).expect("the unit file")
}

fn systemd_analyze(arguments: &[&str]) {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.expect("systemd-analyze does not start: run `cargo xtask setup`");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "systemd-analyze {arguments:?}: {said}");
    assert!(!said.contains("Unknown"), "a setting that systemd does not know: {said}");
}

#[test]
fn systemd_takes_the_unit() {
    let program = env!("CARGO_BIN_EXE_consolegate");
    let installed = "ExecStart=/usr/bin/consolegate serve";
    assert!(unit().contains(installed), "the command line as README has it");
    let dir = temp::dir();
    let copy = dir.path().join("consolegate.service");
    // systemd looks whether the program is there; here it lies elsewhere.
    let text = unit().replace(installed, &format!("ExecStart={program} serve"));
    std::fs::write(&copy, text).expect("a copy");
    let copy = copy.to_str().expect("UTF-8");
    systemd_analyze(&["verify", "--man=no", copy]);
    systemd_analyze(&["security", "--offline=true", "--no-pager", "--threshold", EXPOSED, copy]);
}

#[test]
fn a_stop_may_take_as_long_as_a_drain() {
    let unit = unit();
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s'));
    let stop = Duration::from_secs(seconds.expect("a time in seconds").parse().expect("a number"));
    let proxy = config("").proxy;
    assert!(stop > proxy.drain + proxy.unready, "{stop:?} against {:?} and {:?}", proxy.drain, proxy.unready);
}
