//! The measurements: each proxy started anew, loaded by `consolegate load`, in turn, again and again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Options;
use super::parts::Parts;
use super::peers::{Peer, credential, free_address, start};
use super::screens::{Screen, Theatre};
use crate::ui;

/// One line of a table: a load, and a proxy under it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    /// Which table: `down`, `up-64k`, `rtt-100`, `idle-8000-tls`, ...
    pub(super) load: String,
    /// A proxy's name, or `direct` for the generator alone.
    pub(super) who: &'static str,
}

/// Every sample of every figure.
#[derive(Debug, Default)]
pub(super) struct Results {
    samples: BTreeMap<Case, BTreeMap<String, Vec<f64>>>,
    /// Why a case has no figures.
    pub(super) failures: Vec<String>,
}

impl Results {
    fn add(&mut self, case: &Case, figures: &Value) {
        let into = self.samples.entry(case.clone()).or_default();
        for (key, value) in figures.as_object().into_iter().flatten() {
            into.entry(key.clone()).or_default().extend(value.as_f64());
        }
    }

    /// A figure's median.
    pub(super) fn median(&self, load: &str, who: &str, key: &str) -> Option<f64> {
        let samples = self.samples(load, who, key)?;
        let middle = samples.len() / 2;
        Some(if samples.len() % 2 == 1 {
            samples[middle]
        } else {
            f64::midpoint(samples[middle - 1], samples[middle])
        })
    }

    /// Half the distance between the largest and the smallest sample, as a part of the median.
    pub(super) fn spread(&self, load: &str, who: &str, key: &str) -> Option<f64> {
        let samples = self.samples(load, who, key)?;
        Some((samples.last()? - samples.first()?) / 2.0 / self.median(load, who, key)?)
    }

    fn samples(&self, load: &str, who: &str, key: &str) -> Option<Vec<f64>> {
        let case = self.samples.iter().find(|(case, _)| case.load == load && case.who == who)?;
        let mut samples = case.1.get(key)?.clone();
        samples.sort_by(f64::total_cmp);
        (!samples.is_empty()).then_some(samples)
    }

    /// Who was measured under a load, in the order of [`Peer`].
    pub(super) fn who(&self, load: &str) -> Vec<&'static str> {
        let mut who: Vec<_> =
            self.samples.keys().filter(|case| case.load == load).map(|case| case.who).collect();
        who.sort_by_key(|who| ORDER.iter().position(|peer| peer.name() == *who).unwrap_or(usize::MAX));
        who
    }

    /// Every sample, for whoever wants to look closer.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let cases = self.samples.iter();
        let cases =
            cases.map(|(case, figures)| json!({"load": case.load, "who": case.who, "figures": figures}));
        let text = serde_json::to_string_pretty(&cases.collect::<Vec<_>>())?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        ui::note(&format!("every sample is in {}", path.display()));
        Ok(())
    }
}

/// The order of tables.
const ORDER: [Peer; 7] = [
    Peer::Consolegate,
    Peer::RawCopy,
    Peer::TokioCopy,
    Peer::Websockify,
    Peer::Websocat,
    Peer::Haproxy,
    Peer::Nginx,
];

/// One load, and who is put under it.
struct Group {
    load: String,
    tls: bool,
    cores: usize,
    peers: Vec<Peer>,
    /// What `consolegate load` is told.
    arguments: Vec<String>,
    /// Whether the generator alone is measured as well.
    direct: bool,
    rounds: usize,
}

fn group(load: impl Into<String>, peers: &[Peer], arguments: &str, rounds: usize) -> Group {
    let arguments = arguments.split(' ').map(str::to_owned).collect();
    Group { load: load.into(), tls: false, cores: 1, peers: peers.to_vec(), arguments, direct: false, rounds }
}

/// All of them.
pub(super) fn all(options: &Options, parts: &Parts) -> Result<Results> {
    let mut results = Results::default();
    let mut groups = bulk(options);
    groups.extend(latency(options));
    groups.extend(sessions(options));
    for mut group in groups.into_iter().filter(|group| options.wants(&group.load)) {
        group.peers.retain(|peer| *peer != Peer::Websocat || parts.websocat.is_some());
        run(&group, parts, &mut results)?;
    }
    aead(options, parts, &mut results)?;
    if !options.quick && options.wants("screen") {
        screens(options, parts, &mut results)?;
    }
    Ok(results)
}

/// Real consoles in a real browser.
fn screens(options: &Options, parts: &Parts, results: &mut Results) -> Result<()> {
    let theatre = Theatre::new(parts)?;
    for screen in [Screen::Xvnc, Screen::Qemu] {
        let load = screen.load();
        ui::heading(&format!("{load}: consolegate, websockify (x{})", options.rounds()));
        for _ in 0..options.rounds() {
            for peer in [Peer::Consolegate, Peer::Websockify] {
                let figures = theatre.measure(screen, peer, options.seconds(), parts);
                let figures = figures.with_context(|| format!("{} under {load}", peer.name()))?;
                results.add(&Case { load: load.to_owned(), who: peer.name() }, &figures);
            }
        }
    }
    Ok(())
}

fn bulk(options: &Options) -> Vec<Group> {
    use Peer::{Consolegate, Haproxy, Nginx, RawCopy, TokioCopy, Websocat, Websockify};
    let (rounds, seconds) = (options.rounds(), options.seconds());
    let plain = [Consolegate, RawCopy, TokioCopy, Websockify, Websocat];
    let with_tls = [Consolegate, Websockify, Haproxy, Nginx];
    let direct = |group: Group| Group { direct: true, ..group };
    let tls = |group: Group| Group { tls: true, ..group };
    let mut groups = vec![
        direct(group("down", &plain, &format!("down --seconds {seconds}"), rounds)),
        direct(group("up-64k", &plain, &format!("up --size 65536 --seconds {seconds}"), rounds)),
        tls(group("down-tls", &with_tls, &format!("down --seconds {seconds}"), rounds)),
    ];
    if !options.quick {
        groups.push(direct(group("up-16k", &plain, &format!("up --size 16384 --seconds {seconds}"), rounds)));
        groups.push(tls(group("up-64k-tls", &with_tls, &format!("up --seconds {seconds}"), rounds)));
    }
    groups
}

fn latency(options: &Options) -> Vec<Group> {
    use Peer::{Consolegate, Haproxy, TokioCopy, Websockify};
    let (rounds, seconds) = (options.rounds(), options.seconds());
    let mut groups = vec![];
    let all = [Consolegate, TokioCopy, Haproxy, Websockify];
    let few = [Consolegate, TokioCopy];
    let peers: &[Peer] = if options.quick { &few } else { &all };
    let counts: &[(usize, usize)] =
        if options.quick { &[(100, 20)] } else { &[(1, 200), (100, 20), (1000, 2)] };
    for (sessions, rate) in counts {
        let arguments = format!("rtt --sessions {sessions} --rate {rate} --seconds {seconds}");
        // A process for each viewer: a thousand Pythons are another measurement.
        let peers: Vec<_> =
            peers.iter().copied().filter(|peer| *sessions < 1000 || *peer != Websockify).collect();
        groups.push(Group { direct: true, ..group(format!("rtt-{sessions}"), &peers, &arguments, rounds) });
    }
    let arguments = format!("small --sessions 16 --seconds {seconds}");
    groups.push(group("small", &few, &arguments, rounds));
    let arguments =
        format!("fairness --sessions 1 --rate 200 --beside 1 --bulk-rate 50000000 --seconds {seconds}");
    groups.push(group("fairness", &few, &arguments, rounds));
    // The same messages a second, over few sessions and over many; a plain copy shows what the kernel adds.
    let many = if options.quick { 1000 } else { 8000 };
    for sessions in [10, many] {
        let rate = 2000.0 / f64::from(sessions);
        let arguments = format!("rtt --sessions {sessions} --rate {rate} --seconds {seconds}");
        groups.push(group(format!("flat-{sessions}"), &few, &arguments, rounds));
    }
    groups
}

fn sessions(options: &Options) -> Vec<Group> {
    use Peer::{Consolegate, Haproxy, TokioCopy, Websocat, Websockify};
    let rounds = options.rounds();
    let count = if options.quick { 2000 } else { 8000 };
    let mut groups =
        vec![group("setups", &[Consolegate], &format!("setups --sessions 32 --count {count}"), rounds)];
    // A fork each: a tenth of them takes as long.
    let slow = format!("setups --sessions 32 --count {}", count / 20);
    groups.push(group("setups", &[Websockify], &slow, rounds));
    if !options.quick {
        let others = [Haproxy, Websocat];
        groups.push(group("setups", &others, &format!("setups --sessions 32 --count {count}"), rounds));
    }
    if !options.quick {
        // Whether newcomers get in while everybody else is busy: 4,000 round trips a second.
        for (load, beside) in [("newcomers-0", ""), ("newcomers-8000", " --beside 8000 --rate 0.5")] {
            let arguments = format!("setups --sessions 8 --count 4000{beside}");
            groups.push(group(load, &[Consolegate, TokioCopy, Haproxy], &arguments, rounds));
        }
    }
    let counts: &[usize] = if options.quick { &[100, 1000] } else { &[100, 1000, 8000] };
    let others: &[Peer] = if options.quick { &[] } else { &[TokioCopy, Haproxy] };
    for sessions in counts {
        let arguments = format!("idle --sessions {sessions}");
        let plain: Vec<_> = [Consolegate].iter().chain(others).copied().collect();
        groups.push(group(format!("idle-{sessions}"), &plain, &arguments, 1));
        let tls = Group { tls: true, ..group(format!("idle-{sessions}-tls"), &[Consolegate], &arguments, 1) };
        groups.push(tls);
    }
    let check = format!("verify --sessions 50 --seconds {}", options.seconds());
    groups.push(group("verify", &[Consolegate], &check, 1));
    groups
}

/// A B A B: what drifts while it runs, drifts for all.
fn run(group: &Group, parts: &Parts, results: &mut Results) -> Result<()> {
    let names: Vec<_> = group.peers.iter().map(|peer| peer.name()).collect();
    ui::heading(&format!("{}: {} (x{})", group.load, names.join(", "), group.rounds));
    for round in 1..=group.rounds {
        for peer in &group.peers {
            let case = Case { load: group.load.clone(), who: peer.name() };
            match once(group, *peer, parts) {
                Ok(figures) => results.add(&case, &figures),
                // One peer's trouble must not cost the others their figures; it is told at the end.
                Err(error) if *peer != Peer::Consolegate => {
                    results
                        .failures
                        .push(format!("{} under {}, round {round}: {error:#}", case.who, case.load));
                }
                Err(error) => return Err(error).with_context(|| format!("consolegate under {}", group.load)),
            }
        }
        if group.direct {
            let figures = load(&group.arguments, &["--no-direct".to_owned()], parts)?;
            results.add(&Case { load: group.load.clone(), who: "direct" }, &figures);
        }
    }
    Ok(())
}

fn once(group: &Group, peer: Peer, parts: &Parts) -> Result<Value> {
    let console = free_address()?;
    let proxy = start(peer, group.tls, group.cores, console, parts)?;
    let mut more = proxy.arguments.clone();
    more.extend(["--console".to_owned(), console.to_string()]);
    more.extend(["--watch".to_owned(), proxy.pid().to_string(), "--no-direct".to_owned()]);
    load(&group.arguments, &more, parts)
}

/// One `consolegate load`; its figures.
fn load(arguments: &[String], more: &[String], parts: &Parts) -> Result<Value> {
    let mut command = Command::new(&parts.consolegate);
    command.arg("load").args(arguments).args(more).arg("--json");
    command.env(credential().0, credential().1).env_remove("CONSOLEGATE_API");
    let output = command.output().context("cannot start consolegate load")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: Value = serde_json::from_slice(&output.stdout).context("consolegate load said no JSON")?;
    Ok(answer["figures"].clone())
}

/// One pass of the cipher over every byte: what TLS cannot do without.
fn aead(options: &Options, parts: &Parts, results: &mut Results) -> Result<()> {
    for _ in 0..options.rounds() {
        let output = Command::new(&parts.aead_pass).output().context("cannot start aead-pass")?;
        let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("aead-pass")?;
        results.add(&Case { load: "aead".to_owned(), who: "one pass" }, &json!({"cpu_s_per_gb": seconds}));
    }
    Ok(())
}
