//! Which threads of a bench share a processor. Left to itself the kernel leaves a server's small threads where they
//! were last, which may be the worker's processor or the client's: requests a second then differ by a tenth from round
//! to round, without a line of code being different.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Two processors: one of the workers, one of the client.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    workers: usize,
    client: usize,
}

/// Where a server's other threads run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// With the client, in time that it only spins away.
    Apart,
    /// With the worker: one processor does all that the server does.
    Together,
}

impl Processors {
    /// The first two that this process may use, if there are two.
    pub(crate) fn two() -> Option<Self> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        Some(Self { workers: free.next()?, client: free.next()? })
    }

    /// Gives every thread of this process its place: workers, the client, which is whoever calls this, and others.
    pub(crate) fn place(self, others: Others) {
        let client = rustix::thread::gettid();
        for thread in fs::read_dir("/proc/self/task").expect("this process' threads").flatten() {
            let Some(id) = thread.file_name().to_str().and_then(|id| Pid::from_raw(id.parse().ok()?)) else {
                continue;
            };
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let with_workers = name.starts_with("worker-") || (others == Others::Together && id != client);
            let mut processor = CpuSet::new();
            processor.set(if with_workers { self.workers } else { self.client });
            // One that has just ended needs none.
            let _ = sched_setaffinity(Some(id), &processor);
        }
    }
}
