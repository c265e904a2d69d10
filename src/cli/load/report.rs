//! What was measured: a table for people, JSON for programs.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// The longest latency told apart, in nanoseconds: a minute is a failure, not a latency.
const MOST: u64 = 60_000_000_000;

/// One number with its name in JSON, its name for people and its unit.
#[derive(Clone, Debug)]
struct Figure {
    key: String,
    label: String,
    value: f64,
    unit: &'static str,
}

/// The figures of a run, in the order they are shown.
#[derive(Debug, Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub(super) fn add(&mut self, key: &str, label: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, unit });
    }

    pub(super) fn add_some(&mut self, key: &str, label: &str, value: Option<f64>, unit: &'static str) {
        if let Some(value) = value {
            self.add(key, label, value, unit);
        }
    }

    /// Percentiles in microseconds, their keys and labels after `key` and `label`.
    pub(super) fn add_latency(&mut self, key: &str, label: &str, latency: &Latency) {
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let value = latency.microseconds(quantile);
            self.add(&format!("{key}{name}_us"), &format!("{label} {name}"), value, "us");
        }
    }

    /// Another run's figures, each key prefixed `direct_`: the same load with nothing in between.
    pub(super) fn add_direct(&mut self, direct: Self) {
        for figure in direct.figures {
            let (key, label) = (format!("direct_{}", figure.key), format!("{} (direct)", figure.label));
            self.figures.push(Figure { key, label, ..figure });
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// `{"figures": {...}}`, and whatever `about` says of the run.
    pub(super) fn json(&self, about: Value) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value))).collect();
        json!({"run": about, "figures": figures})
    }

    pub(super) fn table(&self) -> String {
        let width = self.figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
        let line = |figure: &Figure| {
            let value = shown(figure.value);
            format!("  {:<width$}  {value:>12} {}", figure.label, figure.unit).trim_end().to_owned()
        };
        self.figures.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Three digits that mean something, and no more than three behind the point.
fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Latencies, recorded while it is on. Shared by the sessions of a run.
#[derive(Debug)]
pub(super) struct Latency {
    on: AtomicBool,
    histogram: Mutex<Histogram<u64>>,
}

impl Latency {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = Mutex::new(Histogram::new_with_bounds(1, MOST, 3)?);
        Ok(Self { on: AtomicBool::new(false), histogram })
    }

    /// Whether the measured part of the run is under way.
    pub(super) fn record_from_now(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// One latency. With a pace, also those that would have been measured had the late answer not held up
    /// the next questions (coordinated omission).
    pub(super) fn record(&self, latency: Duration, pace: Option<Duration>) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let nanoseconds = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(MOST).clamp(1, MOST);
        let mut histogram = self.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        // In bounds by the clamp, so that nothing is refused.
        let _ = match pace {
            Some(pace) => histogram.record_correct(nanoseconds(latency), nanoseconds(pace)),
            None => histogram.record(nanoseconds(latency)),
        };
    }

    pub(super) fn microseconds(&self, quantile: f64) -> f64 {
        let histogram = self.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.value_at_quantile(quantile) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_what_json_says() {
        let latency = Latency::new().unwrap();
        latency.record(Duration::from_secs(9), None);
        latency.record_from_now(true);
        for n in 1..=100 {
            latency.record(Duration::from_micros(n), None);
        }
        let mut report = Report::default();
        report.add("mb_per_s", "throughput", 1234.5, "MB/s");
        report.add_latency("", "round trip", &latency);
        let mut direct = Report::default();
        direct.add("mb_per_s", "throughput", 0.25, "MB/s");
        report.add_direct(direct);
        let json = report.json(json!({"mode": "down"}));
        assert_eq!(json["figures"]["direct_mb_per_s"], 0.25);
        let p99 = json["figures"]["p99_us"].as_f64().unwrap();
        assert!((98.0..=100.0).contains(&p99), "{p99}");
        let table = report.table();
        assert!(
            table.contains("throughput") && table.contains("1234 MB/s") && table.contains("0.250"),
            "{table}"
        );
    }

    #[test]
    fn a_late_answer_counts_for_the_questions_it_held_up() {
        let latency = Latency::new().unwrap();
        latency.record_from_now(true);
        latency.record(Duration::from_millis(100), Some(Duration::from_millis(10)));
        assert_eq!(latency.histogram.lock().unwrap().len(), 10);
    }
}
