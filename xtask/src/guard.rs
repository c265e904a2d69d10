//! Counting instructions: the codec's and the token store's, against a baseline that is part of the project.
//!
//! A count says the same on a busy machine and on an idle one, so that a small loss is seen where no clock sees
//! it. It is not a time: that is `bench`'s. The code is compiled as the tests are, with optimisation for our own
//! crate only: the crates it uses are then compiled already, and no release build is needed. `test` ends with it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::project::{cargo, root, setup_dir, which};
use crate::setup::apt;
use crate::ui;

/// By how much a count may differ, in percent. The same compiler makes the same code, and what libc runs is not
/// counted, so that the counts repeat to the last digit; the tolerance is for what changed code elsewhere in the
/// crate does to inlining and to the use of registers.
const TOLERANCE: f64 = 3.0;

/// What the counted code is compiled with, beside the profile of the tests. In one unit: of several, the compiler
/// cuts which function is inlined where anew whenever the crate grows.
const PROFILE: [&str; 6] = [
    "profile.dev.package.consolegate.opt-level=3",
    "profile.dev.package.consolegate.codegen-units=1",
    "profile.dev.package.consolegate.debug-assertions=false",
    "profile.dev.package.consolegate.overflow-checks=false",
    "profile.dev.package.consolegate-instructions.opt-level=3",
    "profile.dev.package.consolegate-instructions.overflow-checks=false",
];

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Take today's counts as the new baseline
    #[arg(long)]
    pub(crate) accept: bool,
    /// Whether this is the end of `test`, which another compiler must not fail.
    #[arg(skip)]
    pub(crate) within_test: bool,
}

/// One kind of work.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    name: String,
    operation: String,
    /// Instructions per operation.
    count: f64,
}

/// The counts that hold, and the compiler they were taken with.
struct Baseline {
    compiler: String,
    counts: BTreeMap<String, f64>,
}

/// Builds, counts, and compares or accepts.
pub(crate) fn guard(options: Options) -> Result<()> {
    apt::install(if which("valgrind").is_some() { &[] } else { &["valgrind"] })?;
    let valgrind = which("valgrind").context("valgrind was installed, but is not found")?;
    let program = build()?;
    let cases = cases(&valgrind, &program)?;
    let compiler = compiler()?;
    let file = root().join("benches/instructions/baseline.json");
    if options.accept {
        save(&file, &compiler, &cases)?;
        ui::note(&format!("{} holds today's counts; say in its commit why they changed", file.display()));
        return Ok(());
    }
    let baseline = load(&file)?;
    let (table, changed) = compare(&baseline.counts, &cases);
    ui::result(&table);
    if changed == 0 {
        return Ok(());
    }
    let accept =
        "run `cargo xtask guard --accept` and commit benches/instructions/baseline.json with the reason";
    if compiler != baseline.compiler {
        let other = format!("the baseline is {}'s, this is {compiler}", baseline.compiler);
        // A person with a newer compiler did nothing wrong; where this was asked for in CI, nobody would ever look
        // again.
        if options.within_test || env::var_os("CI").is_none() {
            ui::note(&format!("not judged: {other}. Where CI's compiler changed, {accept}"));
            return Ok(());
        }
        bail!("{changed} counts changed by more than {TOLERANCE} %, but {other}. To go on: {accept}");
    }
    bail!(
        "{changed} counts changed by more than {TOLERANCE} %. To go on: find out why (`valgrind --tool=callgrind {} \
         CASE work`, then callgrind_annotate), or, if it is meant, {accept}",
        program.display()
    );
}

/// The counted program's path, from what cargo says it built.
fn build() -> Result<PathBuf> {
    let mut command = cargo(["test", "--workspace", "--locked", "--quiet", "--no-run"]);
    command.args(["--bench", "instructions", "--message-format", "json-render-diagnostics"]);
    PROFILE.iter().for_each(|setting| _ = command.args(["--config", setting]));
    // Incremental code is cut into smaller pieces, and differently from build to build.
    command.env("CARGO_INCREMENTAL", "0").env_remove("RUSTFLAGS").stderr(Stdio::inherit());
    ui::heading("Building what is counted");
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("building what is counted: {}. To go on: mend what cargo names above", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == "instructions";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    program.context("cargo built no program named instructions")
}

/// The compiler, as it names itself: version, commit.
fn compiler() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("cannot start rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Counts each case of the program.
fn cases(valgrind: &Path, program: &Path) -> Result<Vec<Case>> {
    let output = Command::new(program).arg("list").output().context("cannot start what is counted")?;
    let list = String::from_utf8(output.stdout).context("the list of cases")?;
    let mut cases = vec![];
    for line in list.lines() {
        let [name, operations, operation] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("not a case: {line}");
        };
        let work = count(valgrind, program, name, "work")?;
        let idle = count(valgrind, program, name, "idle")?;
        let done = work.checked_sub(idle).with_context(|| format!("{name} does less when it works"))?;
        let count = done as f64 / operations.parse::<f64>().context("a number of operations")?;
        cases.push(Case { name: name.to_owned(), operation: operation.to_owned(), count });
    }
    Ok(cases)
}

/// Instructions of one run, from start to end, libc's left out.
fn count(valgrind: &Path, program: &Path, name: &str, how: &str) -> Result<u64> {
    let dir = setup_dir().join("guard");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join(format!("{name}.{how}.callgrind"));
    let mut command = Command::new(valgrind);
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    // Whoever runs this has an environment of some size, which the start of a program looks through.
    let output =
        command.arg(program).args([name, how]).env_clear().output().context("cannot start valgrind")?;
    if !output.status.success() {
        bail!("{name} {how}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let profile = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    own(&profile, &program.to_string_lossy()).with_context(|| format!("{} is no profile", file.display()))
}

/// Sums up what a callgrind profile says ran in one object (Callgrind Format Specification, valgrind.org): `ob=` and
/// `cob=` name objects, in full the first time, by number after that; a line of position and cost counts for the
/// latest `ob=`, but the one after `calls=` is what the callee cost, which is on its own lines as well.
///
/// libc's allocator and its copies differ with its version and with the CPU; how often they are called is another
/// test's affair.
fn own(profile: &str, object: &str) -> Option<u64> {
    let mut ours = None;
    let (mut inside, mut callee, mut sum) = (false, false, 0);
    for line in profile.lines() {
        if let Some(named) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            let (number, name) = named.split_once(' ').unwrap_or((named, ""));
            if name == object {
                ours = Some(number);
            }
            if line.starts_with("ob=") {
                inside = ours == Some(number);
            }
        } else if line.starts_with("calls=") {
            callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if inside && !callee {
                sum += line.split(' ').nth(1)?.parse::<u64>().ok()?;
            }
            callee = false;
        }
    }
    ours.map(|_| sum)
}

fn load(file: &Path) -> Result<Baseline> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let value: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let counts = value["instructions"].as_object().into_iter().flatten();
    Ok(Baseline {
        compiler: value["compiler"].as_str().unwrap_or_default().to_owned(),
        counts: counts.filter_map(|(name, count)| Some((name.clone(), count.as_f64()?))).collect(),
    })
}

fn save(file: &Path, compiler: &str, cases: &[Case]) -> Result<()> {
    let counts: BTreeMap<_, _> = cases.iter().map(|case| (&case.name, rounded(case.count))).collect();
    let value = json!({ "compiler": compiler, "instructions": counts });
    let text = format!("{}\n", serde_json::to_string_pretty(&value)?);
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// To two digits behind the point: what one more instruction in a hundred operations makes.
fn rounded(count: f64) -> f64 {
    (count * 100.0).round() / 100.0
}

/// A line a case, old and new and percent, and how many differ too much. A gain counts as well: unless it becomes
/// the baseline, it may be lost again unseen. So does a case that is on one side only.
fn compare(baseline: &BTreeMap<String, f64>, cases: &[Case]) -> (String, usize) {
    let mut table = format!("{:<44} {:>10} {:>10} {:>9}\n", "instructions per", "baseline", "now", "change");
    let mut changed = 0;
    for Case { name, operation, count } in cases {
        let now = rounded(*count);
        let (before, percent) = match baseline.get(name) {
            Some(before) => (format!("{before:.2}"), (now - before) / before * 100.0),
            None => ("none".to_owned(), f64::INFINITY),
        };
        let over = percent.is_nan() || percent.abs() > TOLERANCE;
        changed += usize::from(over);
        let what = format!("{operation} ({name})");
        let mark = if over { "  FAILED" } else { "" };
        let _ = writeln!(table, "{what:<44} {before:>10} {now:>10.2} {percent:>+7.2} %{mark}");
    }
    for (name, before) in baseline.iter().filter(|(name, _)| cases.iter().all(|case| case.name != **name)) {
        changed += 1;
        let _ = writeln!(table, "{name:<44} {before:>10.2} {:>10} {:>9}  FAILED", "none", "");
    }
    (table, changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: &[(&str, f64)], now: &[(&str, f64)]) -> (String, usize) {
        let baseline = before.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let case = |(name, count): &(&str, f64)| Case {
            name: (*name).to_owned(),
            operation: "operation".to_owned(),
            count: *count,
        };
        compare(&baseline, &now.iter().map(case).collect::<Vec<_>>())
    }

    #[test]
    fn three_percent_pass_in_both_directions_and_more_does_not() {
        let before = [("a", 100.0)];
        for (now, expected) in
            [(100.0, 0), (103.0, 0), (103.01, 1), (97.0, 0), (96.99, 1), (0.0, 1), (f64::NAN, 1)]
        {
            assert_eq!(changed(&before, &[("a", now)]).1, expected, "{now}");
        }
        let (table, _) = changed(&before, &[("a", 104.0)]);
        let line = table.lines().nth(1).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["operation", "(a)", "100.00", "104.00", "+4.00", "%", "FAILED"]);
    }

    #[test]
    fn a_case_without_its_other_side_fails() {
        assert_eq!(changed(&[("a", 1.0)], &[("a", 1.0), ("b", 1.0)]).1, 1);
        assert_eq!(changed(&[("a", 1.0), ("b", 1.0)], &[("a", 1.0)]).1, 1);
        assert_eq!(changed(&[("a", 0.0)], &[("a", 0.0)]).1, 1, "nothing was counted");
    }

    #[test]
    fn only_the_programs_own_instructions_count() {
        let profile = "events: Ir\nfl=(1)\nob=(1) /lib/libc.so.6\nfn=(1) main\n1 1000\ncob=(2) /bin/ours\n\
                       cfn=(2) work\ncalls=1 0 \n+3 500\n\nob=(2)\nfn=(2)\n5 20\n+1 3\n* 4\ncob=(1)\n\
                       cfn=(3) malloc\ncalls=2 0 \n-2 70\n9 1\n\nob=(1)\nfn=(3)\n7 70\n\ntotals: 1098\n";
        assert_eq!(own(profile, "/bin/ours"), Some(28));
        assert_eq!(own(profile, "/lib/libc.so.6"), Some(1070));
        assert_eq!(own(profile, "/bin/other"), None);
    }

    #[test]
    fn a_saved_baseline_is_what_is_loaded() {
        let file = env::temp_dir().join(format!("consolegate-guard-{}.json", std::process::id()));
        let case = Case { name: "a".into(), operation: "operation".into(), count: 1.234_567 };
        save(&file, "rustc 1.2.3", std::slice::from_ref(&case)).unwrap();
        let baseline = load(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(baseline.compiler, "rustc 1.2.3");
        assert_eq!(compare(&baseline.counts, &[case]).1, 0);
    }
}
