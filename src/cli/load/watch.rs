//! What a process and its children cost: CPU seconds and anonymous memory, from /proc (proc(5)).

use std::collections::HashMap;
use std::fs;

use anyhow::Context as _;

/// Looks at one process and everything below it: websockify forks for each viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pid: u32,
}

/// CPU seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    /// In the program's own code; the rest is the kernel's, on its behalf.
    pub(super) user: f64,
    pub(super) all: f64,
}

impl Cpu {
    pub(super) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, all: self.all - before.all }
    }
}

/// The fields of /proc/PID/stat that count here, in clock ticks; children that ended and were waited for included.
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
}

impl Watch {
    /// # Errors
    /// If there is no such process.
    pub(super) fn new(pid: u32) -> anyhow::Result<Self> {
        stat(pid).with_context(|| format!("no process {pid} to watch"))?;
        Ok(Self { pid })
    }

    /// User and system seconds so far, all threads, ended children included.
    pub(super) fn cpu(self) -> Cpu {
        let stats = self.tree().into_iter().filter_map(stat);
        let (user, system) = stats.fold((0, 0), |(u, s), stat| (u + stat.user, s + stat.system));
        let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Cpu { user: seconds(user), all: seconds(user + system) }
    }

    /// Memory of its own that is resident (RssAnon), in bytes; pages shared with a file do not count.
    pub(super) fn anonymous_bytes(self) -> u64 {
        self.tree().iter().filter_map(|pid| anonymous(*pid)).sum()
    }

    /// The process and its descendants. A child that comes or goes meanwhile is caught the next time.
    fn tree(self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in pids {
            if let Some(stat) = stat(pid) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        let mut tree = vec![self.pid];
        let mut at = 0;
        while at < tree.len() {
            tree.extend(children.remove(&tree[at]).unwrap_or_default());
            at += 1;
        }
        tree
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also spaces and brackets; the fields begin after its last bracket.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Stat { parent, user: number(11)? + number(13)?, system: number(12)? + number(14)? })
}

fn anonymous(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_its_children_are_seen() {
        let watch = Watch::new(std::process::id()).unwrap();
        assert!(watch.anonymous_bytes() > 0 && watch.cpu().all >= watch.cpu().user - 1.0);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let seen = watch.tree().contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen);
        assert!(Watch::new(u32::MAX).is_err());
    }
}
