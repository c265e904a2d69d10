//! Bar charts as SVG: a bar, its name and its number, legible on light and dark pages.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::measure::Results;
use super::report::shown;
use crate::project::root;

const WIDTH: u32 = 760;
const LEFT: u32 = 150;
const RIGHT: u32 = 90;
const BAR: u32 = 20;
const GAP: u32 = 8;

/// Bars of one figure under one load.
struct Panel {
    title: String,
    bars: Vec<(&'static str, f64)>,
}

/// Writes every chart whose figures were measured; their files, below the root, and titles.
pub(super) fn write(results: &Results) -> Result<Vec<(String, &'static str)>> {
    let panel = |load: &str, title: &str, key: &str| Panel {
        title: title.to_owned(),
        bars: results
            .who(load)
            .into_iter()
            .filter(|who| *who != "direct")
            .filter_map(|who| Some((who, results.median(load, who, key)?)))
            .collect(),
    };
    let cost = "cpu_s_per_gb";
    let charts = [
        (
            "bench-throughput",
            "CPU seconds of the proxy per GB relayed (less is better)",
            vec![
                panel("down", "console to viewer", cost),
                panel("up-64k", "viewer to console, 64 KiB frames", cost),
                panel("up-16k", "viewer to console, 16 KiB frames", cost),
                panel("down-tls", "console to viewer, TLS 1.3", cost),
                panel("up-64k-tls", "viewer to console, TLS 1.3", cost),
            ],
        ),
        (
            "bench-latency",
            "Round trip of 64 bytes, 100 sessions, microseconds (less is better)",
            vec![panel("rtt-100", "median", "p50_us"), panel("rtt-100", "99 of 100", "p99_us")],
        ),
        (
            "bench-setups",
            "Consoles opened a second (more is better)",
            vec![panel("setups", "", "setup_per_s")],
        ),
        (
            "bench-memory",
            "KiB per idle session that has carried traffic (less is better)",
            vec![
                panel("idle-1000", "1,000 sessions", "kib_after"),
                panel("idle-8000", "8,000 sessions", "kib_after"),
                panel("idle-8000-tls", "8,000 sessions, TLS", "kib_after"),
            ],
        ),
    ];
    let dir = root().join("docs");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut written = Vec::new();
    for (name, title, mut panels) in charts {
        panels.retain(|panel| !panel.bars.is_empty());
        if !panels.is_empty() {
            let path = dir.join(format!("{name}.svg"));
            fs::write(&path, svg(title, &panels))
                .with_context(|| format!("cannot write {}", path.display()))?;
            written.push((format!("docs/{name}.svg"), title));
        }
    }
    Ok(written)
}

fn svg(title: &str, panels: &[Panel]) -> String {
    let mut body = String::new();
    let mut y = 34;
    for panel in panels {
        if !panel.title.is_empty() {
            y += 18;
            let _ = writeln!(body, "<text class=\"h\" x=\"12\" y=\"{y}\">{}</text>", escape(&panel.title));
            y += 8;
        }
        let most = panel.bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        for (who, value) in &panel.bars {
            let share = (value / most).clamp(0.0, 1.0) * f64::from(WIDTH - LEFT - RIGHT);
            let class = if *who == "consolegate" { "us" } else { "them" };
            let middle = y + BAR - 6;
            let _ = writeln!(
                body,
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{share:.1}\" height=\"{BAR}\"/>\
                 <text x=\"{:.1}\" y=\"{middle}\">{}</text>",
                LEFT - 8,
                escape(who),
                f64::from(LEFT) + share + 6.0,
                shown(Some(*value)),
            );
            y += BAR + GAP;
        }
    }
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{0}\" \
         viewBox=\"0 0 {WIDTH} {0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>rect.bg {{ fill: #fff }} text {{ font: 13px system-ui, sans-serif; fill: #222 }} \
         text.t {{ font-size: 15px; font-weight: 600 }} text.h {{ fill: #555 }} rect.us {{ fill: #0a6e9e }} \
         rect.them {{ fill: #b8c4cc }}</style>\n<rect class=\"bg\" width=\"{WIDTH}\" height=\"{0}\" rx=\"6\"/>\n\
         <text class=\"t\" x=\"12\" y=\"24\">{title}</text>\n{body}</svg>\n",
        y + 10
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let panel = Panel { title: "a < b".into(), bars: vec![("consolegate", 1.0), ("other", 2.0)] };
        let svg = svg("t", &[panel]);
        assert!(
            svg.contains("a &lt; b") && svg.contains("width=\"260.0\"") && svg.contains("width=\"520.0\"")
        );
        assert_eq!(svg.matches("<rect").count(), 3);
    }
}
