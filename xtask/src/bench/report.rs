//! The tables: on the terminal, and in BENCHMARKING.md between its markers.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Options;
use super::measure::Results;
use super::parts::{self, Parts};
use super::verdict::{Before, Verdict};
use crate::project::root;

/// What the figures were measured on and how.
pub(super) struct About {
    text: String,
}

impl About {
    pub(super) fn new(options: &Options, parts: &Parts, minutes: f64) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let load = read("/proc/loadavg");
        let text = format!(
            "{cores} x {}, Linux {}, load {} at the end (the bench itself makes about 2). {} rounds of {} s, \
             {minutes:.0} minutes in all, `cargo xtask bench{}`. {}.",
            model.map_or("unknown CPU", |(_, model)| model),
            read("/proc/sys/kernel/osrelease").trim(),
            load.split(' ').next().unwrap_or("unknown"),
            options.rounds(),
            options.seconds(),
            if options.quick { " --quick" } else { "" },
            parts::versions(parts),
        );
        Self { text }
    }
}

/// A table of cells, the first row its head.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.0.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text
    }

    fn plain(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text
    }
}

/// Three digits that mean something.
pub(super) fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// `before`: what was reached the last time.
fn verdicts(verdicts: &[Verdict], before: &Before) -> Table {
    let mut table = Table::new(&["what", "against", "ours", "theirs", "reached", "run before", "mark", ""]);
    for row in verdicts {
        let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
        let sized =
            |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{}{unit}", shown(Some(v))));
        let mark = if row.more {
            format!(">= {:.0} x", 1.0 / row.at_most)
        } else {
            format!("<= {}", shown(Some(row.at_most)))
        };
        table.0.push(vec![
            row.what.clone(),
            row.against.clone(),
            sized(row.ours),
            sized(row.theirs),
            shown(row.reached()),
            shown(before.of(row)),
            mark,
            row.word().to_owned(),
        ]);
    }
    table
}

/// A load's title, and the figures shown of it: key, head, and the factor to the unit shown.
type Shape = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const THROUGHPUT: &[(&str, &str)] =
    &[("mb_per_s", "MB/s"), ("cpu_s_per_gb", "CPU s/GB"), ("user_s_per_gb", "own code's")];
const TRIPS: &[(&str, &str)] = &[
    ("p50_us", "p50 us"),
    ("p99_us", "p99 us"),
    ("p999_us", "p99.9 us"),
    ("cpu_us_per_trip", "CPU us each"),
];
const MEMORY: &[(&str, &str)] = &[
    ("kib_before", "KiB a session before traffic"),
    ("kib_after", "after"),
    ("kib_empty", "KiB of the process"),
];

const NEWCOMERS: &[(&str, &str)] = &[
    ("setup_per_s", "a second"),
    ("p50_us", "p50 us"),
    ("p99_us", "p99 us"),
    ("beside_trip_per_s", "round trips beside a second"),
];
const SCREEN: &[(&str, &str)] = &[("frames_per_s", "frames a second"), ("cpu_us_per_frame", "CPU us each")];

const SHAPES: &[Shape] = &[
    ("down", "Down: console to viewer, one session", THROUGHPUT),
    ("up-64k", "Up: viewer to console, 64 KiB frames", THROUGHPUT),
    ("up-16k", "Up: viewer to console, 16 KiB frames", THROUGHPUT),
    ("down-tls", "Down, TLS 1.3", THROUGHPUT),
    ("up-64k-tls", "Up, TLS 1.3, 64 KiB frames", THROUGHPUT),
    ("rtt-1", "Round trips of 64 bytes: 1 session, 200 a second", TRIPS),
    ("rtt-100", "Round trips of 64 bytes: 100 sessions, 20 a second each", TRIPS),
    ("rtt-1000", "Round trips of 64 bytes: 1,000 sessions, 2 a second each", TRIPS),
    (
        "small",
        "Round trips of 64 bytes one after the other, 16 sessions",
        &[("trip_per_s", "a second"), ("cpu_us_per_trip", "CPU us each")],
    ),
    ("flat-10", "The same 2,000 round trips a second: 10 sessions", TRIPS),
    ("flat-8000", "The same 2,000 round trips a second: 8,000 sessions", TRIPS),
    (
        "setups",
        "Set-ups, 32 at a time (ours spends a token each)",
        &[
            ("setup_per_s", "a second"),
            ("cpu_us_per_setup", "CPU us each"),
            ("p50_us", "p50 us"),
            ("p99_us", "p99 us"),
        ],
    ),
    ("newcomers-0", "Newcomers, 8 at a time, when nobody else is there", NEWCOMERS),
    (
        "newcomers-8000",
        "Newcomers, 8 at a time, while 8,000 sessions make a round trip each in 2 s",
        NEWCOMERS,
    ),
    (
        "fairness",
        "A ping beside a 50 MB/s session on the same thread",
        &[("alone_p99_us", "p99 us alone"), ("beside_p99_us", "p99 us beside"), ("p99_ratio", "ratio")],
    ),
    ("screen-xvnc", "noVNC on a busy Xvnc", SCREEN),
    ("screen-qemu", "noVNC on a QEMU guest whose text screen scrolls", SCREEN),
    ("idle-100", "Idle sessions: 100", MEMORY),
    ("idle-100-tls", "Idle sessions: 100, TLS", MEMORY),
    ("idle-1000", "Idle sessions: 1,000", MEMORY),
    ("idle-1000-tls", "Idle sessions: 1,000, TLS", MEMORY),
    ("idle-8000", "Idle sessions: 8,000", MEMORY),
    ("idle-8000-tls", "Idle sessions: 8,000, TLS", MEMORY),
    (
        "verify",
        "Every byte checked: 50 sessions, fragments, pings, odd pieces, half-close",
        &[
            ("sessions_right", "sessions without a wrong byte"),
            ("messages", "messages"),
            ("megabytes", "MB each way"),
        ],
    ),
];

fn tables(results: &Results) -> Vec<(&'static str, Table)> {
    let mut tables = Vec::new();
    for (load, title, figures) in SHAPES {
        let who = results.who(load);
        if who.is_empty() {
            continue;
        }
        let mut head = vec![""];
        head.extend(figures.iter().map(|(_, head)| *head));
        head.push("+-");
        let mut table = Table::new(&head);
        for who in who {
            let mut row = vec![who.to_owned()];
            row.extend(figures.iter().map(|(key, _)| shown(results.median(load, who, key))));
            // The noise of the figure that counts: the cost where there is one, else the first.
            let counted = figures.iter().find(|(key, _)| key.starts_with("cpu_")).unwrap_or(&figures[0]).0;
            let counted = if who == "direct" { figures[0].0 } else { counted };
            let spread = results.spread(load, who, counted).filter(|spread| *spread > 0.0);
            row.push(spread.map_or(String::new(), |spread| format!("{:.0} %", spread * 100.0)));
            table.0.push(row);
        }
        tables.push((*title, table));
    }
    tables
}

/// All of it for a terminal.
pub(super) fn text(about: &About, results: &Results, rows: &[Verdict], before: &Before) -> String {
    let mut text = format!("\n{}\n", about.text);
    for (title, table) in tables(results) {
        let _ = write!(text, "\n{title}\n{}", table.plain());
    }
    let _ = write!(text, "\nWhat is to be reached\n{}", verdicts(rows, before).plain());
    if let Some(agreement) = before.agreement(rows) {
        let _ = writeln!(text, "\n{agreement}");
    }
    for failure in &results.failures {
        let _ = writeln!(text, "\nnot measured: {failure}");
    }
    text
}

fn path() -> PathBuf {
    root().join("BENCHMARKING.md")
}

/// BENCHMARKING.md as it is.
pub(super) fn page() -> Result<String> {
    fs::read_to_string(path()).with_context(|| format!("cannot read {}", path().display()))
}

/// Replaces what stands between the markers of BENCHMARKING.md. `charts`: their files and titles.
pub(super) fn write(
    about: &About,
    results: &Results,
    rows: &[Verdict],
    before: &Before,
    charts: &[(String, &'static str)],
) -> Result<()> {
    let (path, mut page) = (path(), page()?);
    let mut all = String::new();
    for (title, table) in tables(results) {
        let _ = write!(all, "### {title}\n\n{}\n", table.markdown());
    }
    let mut marks = verdicts(rows, before).markdown();
    if let Some(agreement) = before.agreement(rows) {
        let _ = writeln!(marks, "\n{agreement}");
    }
    for (file, title) in charts {
        let _ = write!(marks, "\n![{title}]({file})\n");
    }
    for (name, text) in [("machine", format!("{}\n", about.text)), ("marks", marks), ("figures", all)] {
        page = replace(&page, name, &text)
            .with_context(|| format!("no markers for {name} in {}", path.display()))?;
    }
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- measured: {name} -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}{begin}\n{}\n<!-- end -->{after}", text.trim_end().to_owned() + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\nold\n<!-- end -->\n";
        let once = replace(page, "x", "| new |\n").unwrap();
        assert_eq!(once, replace(&once, "x", "| new |").unwrap(), "a second time changes nothing");
        assert!(once.starts_with("a\n") && once.contains("| new |") && once.contains("y -->\nold"), "{once}");
        assert_eq!(replace(page, "z", ""), None);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [1234.5, 56.78, 5.678, 0.5678].map(|value| shown(Some(value)));
        assert_eq!(shown, ["1234", "56.8", "5.68", "0.568"]);
    }
}
