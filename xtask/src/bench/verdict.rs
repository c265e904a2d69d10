//! What is to be reached, and whether it was: every mark is a ratio within one run, or a size.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::measure::Results;

/// A virtual machine's own noise: a row above its mark by less is passed, and says so.
const NOISE: f64 = 1.25;

/// One row of the table.
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) against: String,
    /// Ours and theirs, in the figure's unit; theirs is absent where the mark is a size.
    pub(super) ours: Option<f64>,
    pub(super) theirs: Option<f64>,
    pub(super) unit: &'static str,
    /// The mark: at most this.
    pub(super) at_most: f64,
    /// What stands against the mark.
    pub(super) value: Option<f64>,
    /// Whether more is better: the value is then theirs over ours, and shown the other way round.
    pub(super) more: bool,
    /// Whether the run's noise is allowed for; a size has none.
    noisy: bool,
    /// Where a miss is explained: how a paragraph of BENCHMARKING.md begins. Empty: nowhere.
    topic: &'static str,
    /// Whether that paragraph is there.
    explained: bool,
}

impl Verdict {
    pub(super) fn missed(&self) -> bool {
        self.value.is_some_and(|value| value > self.limit())
    }

    fn limit(&self) -> f64 {
        if self.noisy { self.at_most * NOISE } else { self.at_most }
    }

    /// The value as it is shown: how many times as much, where more is better.
    pub(super) fn reached(&self) -> Option<f64> {
        if self.more { self.value.map(f64::recip) } else { self.value }
    }

    /// Looks for the paragraph that says why it is missed.
    fn look_up(&mut self, page: &str) {
        self.explained = !self.topic.is_empty() && page.contains(&format!("\n- **{}", self.topic));
    }

    /// Missed, and nobody has said why.
    pub(super) fn unexplained(&self) -> bool {
        self.missed() && !self.explained
    }

    fn key(&self) -> String {
        format!("{} / {}", self.what, self.against)
    }

    pub(super) fn word(&self) -> &'static str {
        match self.value {
            None => "not measured",
            Some(value) if value <= self.at_most => "pass",
            Some(value) if value <= self.limit() => "within noise",
            Some(_) if self.explained => "missed, explained below",
            Some(_) => "MISSED",
        }
    }
}

/// What the last whole run reached: two runs that say the same say something.
#[derive(Debug, Default)]
pub(super) struct Before(BTreeMap<String, f64>);

impl Before {
    /// Nothing, if this machine has not run it yet.
    pub(super) fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self(serde_json::from_str(&text).unwrap_or_default())
    }

    pub(super) fn of(&self, row: &Verdict) -> Option<f64> {
        self.0.get(&row.key()).copied()
    }

    /// How well this run and the last one agree, in a sentence; `None` without a last one.
    pub(super) fn agreement(&self, rows: &[Verdict]) -> Option<String> {
        let both = rows.iter().filter_map(|row| Some((row, row.reached()? / self.of(row)?)));
        let (mut compared, mut apart) = (0, Vec::new());
        for (row, ratio) in both {
            compared += 1;
            if ratio.max(ratio.recip()) > NOISE {
                let times = ratio.max(ratio.recip());
                apart.push(format!("{} against {} (by {times:.2})", row.what, row.against));
            }
        }
        let same = compared - apart.len();
        let percent = (NOISE - 1.0) * 100.0;
        let others = if apart.is_empty() { String::new() } else { format!("; apart: {}", apart.join(", ")) };
        (compared > 0).then(|| {
            format!("{same} of {compared} rows reach the same as in the run before, within {percent:.0} %{others}.")
        })
    }

    pub(super) fn save(path: &Path, rows: &[Verdict]) -> Result<()> {
        let reached = rows.iter().filter_map(|row| Some((row.key(), row.reached()?)));
        let text = serde_json::to_string_pretty(&reached.collect::<BTreeMap<_, _>>())?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Every row of the table. `page`: BENCHMARKING.md, whose paragraphs explain what is missed.
pub(super) fn judge(results: &Results, page: &str) -> Vec<Verdict> {
    let mut rows = Vec::new();
    for (load, label, marks) in [
        ("down", "down, CPU/GB", [("raw copy loop", 1.1), ("websockify", 0.45), ("websocat", 0.75)]),
        ("up-64k", "up 64 KiB, CPU/GB", [("raw copy loop", 1.25), ("websockify", 0.2), ("websocat", 0.3)]),
        ("up-16k", "up 16 KiB, CPU/GB", [("raw copy loop", 1.25), ("websockify", 0.2), ("websocat", 0.3)]),
    ] {
        rows.extend(marks.map(|(peer, mark)| ratio(results, load, label, peer, "cpu_s_per_gb", "s", mark)));
    }
    for (plain, tls, way) in [("down", "down-tls", "down"), ("up-64k", "up-64k-tls", "up")] {
        let label = format!("TLS {way}, passes of the cipher on top of plain");
        rows.push(tls_passes(results, &label, plain, tls, "cpu_s_per_gb"));
        // The rest is the kernel's, which wakes peers that now have more to do before they sleep.
        rows.push(tls_passes(results, &format!("{label}, own code"), plain, tls, "user_s_per_gb"));
    }
    for (load, label) in [("down-tls", "TLS down, CPU/GB"), ("up-64k-tls", "TLS up, CPU/GB")] {
        rows.extend(["HAProxy", "nginx"].map(|peer| Verdict {
            topic: "TLS against HAProxy and nginx",
            ..ratio(results, load, label, peer, "cpu_s_per_gb", "s", 0.5)
        }));
    }
    for (key, label) in [("p50_us", "round trip p50"), ("p99_us", "round trip p99")] {
        rows.push(ratio(results, "rtt-100", label, "tokio copy", key, "us", 1.1));
    }
    let label = "CPU per 64-byte message";
    rows.push(ratio(results, "small", label, "tokio copy", "cpu_us_per_trip", "us", 1.1));
    rows.push(size(results, "fairness", "ping p99 beside bulk", "alone", "p99_ratio", "", 3.0, true));
    rows.push(rate(results, "setups", "set-ups a second, token spent", "setup_per_s", 20.0));
    for (load, label) in [("screen-xvnc", "a busy Xvnc"), ("screen-qemu", "a busy QEMU guest")] {
        rows.push(rate(results, load, &format!("noVNC's frames of {label}"), "frames_per_s", 1.0));
    }
    // The marks are meant for 8,000; a quick run has no more than 1,000 to show.
    let measured = |many: &i32| results.median(&format!("idle-{many}"), "consolegate", "kib_after").is_some();
    if let Some(many) = [8000, 1000].into_iter().find(measured) {
        let (plain, tls) = (format!("idle-{many}"), format!("idle-{many}-tls"));
        let label = format!("memory per idle session of {many}, after traffic");
        let plain = size(results, &plain, &label, "plain", "kib_after", "KiB", 4.0, false);
        let topic = if many < 8000 { "Memory**: at 100 and 1,000" } else { "" };
        rows.push(Verdict { topic, ..plain });
        rows.push(size(results, &tls, &label, "TLS", "kib_after", "KiB", 16.0, false));
    }
    rows.extend([1000, 8000].map(|many| flatness(results, many)));
    rows.retain(|row| row.value.is_some());
    rows.iter_mut().for_each(|row| row.look_up(page));
    rows
}

fn ratio(
    results: &Results,
    load: &str,
    label: &str,
    peer: &str,
    key: &str,
    unit: &'static str,
    at_most: f64,
) -> Verdict {
    let ours = results.median(load, "consolegate", key);
    let theirs = results.median(load, peer, key);
    let value = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
    Verdict {
        what: label.into(),
        against: peer.into(),
        ours,
        theirs,
        unit,
        at_most,
        value,
        more: false,
        noisy: true,
        topic: "",
        explained: false,
    }
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn size(
    results: &Results,
    load: &str,
    label: &str,
    against: &str,
    key: &str,
    unit: &'static str,
    at_most: f64,
    noisy: bool,
) -> Verdict {
    let ours = results.median(load, "consolegate", key);
    let (what, against) = (label.to_owned(), against.to_owned());
    Verdict {
        what,
        against,
        ours,
        theirs: None,
        unit,
        at_most,
        value: ours,
        more: false,
        noisy,
        topic: "",
        explained: false,
    }
}

/// How many passes of the cipher TLS costs on top of plain, of all CPU or of our own code's.
fn tls_passes(results: &Results, label: &str, plain: &str, tls: &str, key: &str) -> Verdict {
    let row = ratio(results, tls, label, "consolegate", key, "s", 1.2);
    let theirs = results.median(plain, "consolegate", key);
    let pass = results.median("aead", "one pass", "cpu_s_per_gb");
    let value = row.ours.zip(theirs).zip(pass).map(|((tls, plain), pass)| (tls - plain) / pass);
    Verdict { against: "own plain".into(), theirs, value, topic: "TLS in passes of the cipher", ..row }
}

/// At least `times` websockify's rate: theirs over ours is at most its inverse.
fn rate(results: &Results, load: &str, label: &str, key: &str, times: f64) -> Verdict {
    let row = ratio(results, load, label, "websockify", key, "/s", times.recip());
    Verdict { value: row.value.map(f64::recip), more: true, ..row }
}

/// The same messages a second over 10 sessions and over many.
fn flatness(results: &Results, many: usize) -> Verdict {
    let key = "cpu_us_per_trip";
    let label = format!("CPU per message over {many} sessions");
    let row = ratio(results, &format!("flat-{many}"), &label, "consolegate", key, "us", 1.15);
    let theirs = results.median("flat-10", "consolegate", key);
    let value = row.ours.zip(theirs).map(|(many, few)| many / few);
    Verdict { against: "over 10".into(), theirs, value, topic: "8,000 sessions against 10", ..row }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64, at_most: f64) -> Verdict {
        let row = ratio(&Results::default(), "load", "what", "peer", "key", "s", at_most);
        Verdict { value: Some(value), topic: "A topic", ..row }
    }

    #[test]
    fn a_miss_is_explained_by_a_paragraph_of_the_page_alone() {
        for (value, page, word, unexplained) in [
            (1.0, "", "pass", false),
            (1.2, "", "within noise", false),
            (1.3, "", "MISSED", true),
            (1.3, "\n- **Another topic**: because", "MISSED", true),
            (1.3, "text\n- **A topic**: because", "missed, explained below", false),
        ] {
            let mut row = row(value, 1.0);
            row.look_up(page);
            assert_eq!((row.word(), row.unexplained()), (word, unexplained), "{value} with {page:?}");
        }
        let mut row = Verdict { topic: "", ..row(2.0, 1.0) };
        row.look_up("\n- **");
        assert!(row.unexplained(), "a row without a topic is explained nowhere");
    }

    #[test]
    fn two_runs_agree_within_the_noise() {
        let before = |value: f64| Before([("what / peer".to_owned(), value)].into());
        assert_eq!(Before::default().agreement(&[row(1.0, 1.0)]), None);
        for (then, expected) in [
            (0.8, "1 of 1 rows reach the same as in the run before, within 25 %."),
            (1.25, "1 of 1 rows reach the same as in the run before, within 25 %."),
            (
                0.5,
                "0 of 1 rows reach the same as in the run before, within 25 %; apart: what against peer (by 2.00).",
            ),
        ] {
            assert_eq!(before(then).agreement(&[row(1.0, 1.0)]).as_deref(), Some(expected));
        }
    }
}
