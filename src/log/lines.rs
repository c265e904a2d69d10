//! The way of a log line: into one buffer that all threads share, and from there, many in one write, to stderr.
//!
//! The first line after a quiet moment is written at once, those that follow within a millisecond together.
//! Warnings and errors are written before whoever logged them goes on, with all that came before them: what a
//! crash can cost is a millisecond of what went well. Nobody loses a line to a slow reader of stderr: when the
//! buffer is full, who logs waits.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines gather: a thousand writes a second at most, and no delay that a person would see.
const GATHER: Duration = Duration::from_millis(1);

/// Bytes that wait at most, a millisecond of six hundred thousand lines a second. Then who logs writes.
const FULL: usize = 256 * 1024;

/// Lines on their way to one sink. Clones are the same way.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>, Thread);

struct Shared {
    waiting: Mutex<String>,
    /// Whoever has this writes, so that lines stay in their order. Taken before `waiting`.
    out: Mutex<Out>,
}

struct Out {
    sink: Box<dyn Write + Send>,
    /// The lines being written; empty, with its room, in between.
    taken: String,
}

impl Lines {
    /// The way to `sink`, and a thread for it.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let out = Mutex::new(Out { sink: Box::new(sink), taken: String::new() });
        let shared = Arc::new(Shared { waiting: Mutex::default(), out });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || theirs.serve())?;
        Ok(Self(shared, thread.thread().clone()))
    }

    /// Sends a line, its end included, on its way; if it is `urgent`, returns when it is written.
    pub(super) fn push(&self, line: &[u8], urgent: bool) {
        self.make(urgent, |waiting| waiting.push_str(&String::from_utf8_lossy(line)));
    }

    /// As [`Lines::push`], of a line that is made where it is taken from. To copy it there takes as long: the memory was
    /// last the log's thread's, on another processor, and is waited for. `line` appends, and logs nothing itself.
    pub(super) fn make(&self, urgent: bool, line: impl FnOnce(&mut String)) {
        let mut waiting = lock(&self.0.waiting);
        let first = waiting.is_empty();
        let mut making = Making { whole: waiting.len(), text: &mut waiting };
        line(making.text);
        making.whole = making.text.len();
        drop(making);
        let full = waiting.len() >= FULL;
        drop(waiting);
        if urgent || full {
            self.0.flush();
        } else if first {
            self.1.unpark();
        }
    }

    /// Returns once everything pushed so far is written.
    pub(super) fn flush(&self) {
        self.0.flush();
    }
}

/// A line in the making, after `whole` bytes of others; dropped in a panic, it takes back what there is of it.
struct Making<'a> {
    text: &'a mut String,
    whole: usize,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.text.truncate(self.whole);
    }
}

impl Shared {
    fn serve(&self) {
        loop {
            if lock(&self.waiting).is_empty() {
                // A push that came between is not missed: its unpark makes this return.
                thread::park();
            } else {
                self.flush();
                thread::sleep(GATHER);
            }
        }
    }

    fn flush(&self) {
        let mut out = lock(&self.out);
        let Out { sink, taken } = &mut *out;
        std::mem::swap(&mut *lock(&self.waiting), taken);
        // Where would a log that cannot be written be complained about?
        let _ = sink.write_all(taken.as_bytes()).and_then(|()| sink.flush());
        taken.clear();
    }
}

/// A line is pushed whole or not at all, so what a thread that panicked leaves behind is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a line of this level is written before its writer goes on.
pub(super) fn is_urgent(level: Level) -> bool {
    level <= Level::WARN
}

/// One line's way in, for formatters that write.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    urgent: bool,
}

impl Write for Line<'_> {
    /// Formatters hand over a line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, urgent: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, urgent: is_urgent(*meta.level()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Remembers each write, and can be held up.
    #[derive(Clone, Default)]
    struct Sink(Arc<(Mutex<Held>, Condvar)>);

    #[derive(Default)]
    struct Held {
        writes: Vec<Vec<u8>>,
        stopped: bool,
    }

    impl Sink {
        fn stop(&self, stopped: bool) {
            lock(&self.0.0).stopped = stopped;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(lock(&self.0.0).writes.concat()).unwrap()
        }

        /// Waits until all of `text` is there.
        fn wait_for(&self, text: &str) {
            let held = lock(&self.0.0);
            let missing = |held: &mut Held| !String::from_utf8_lossy(&held.writes.concat()).contains(text);
            drop(self.0.1.wait_while(held, missing).unwrap());
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let held = lock(&self.0.0);
            let mut held = self.0.1.wait_while(held, |held| held.stopped).unwrap();
            held.writes.push(bytes.to_vec());
            self.0.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_many_threads_come_whole_in_order_and_all_of_them() {
        const EACH: usize = 2_000;
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        thread::scope(|scope| {
            for name in 0..8 {
                let lines = &lines;
                scope.spawn(move || {
                    (0..EACH).for_each(|at| lines.push(format!("{name} {at}\n").as_bytes(), at % 500 == 0));
                });
            }
        });
        lines.flush();
        let mut next = [0; 8];
        for line in sink.text().lines() {
            let (name, at) = line.split_once(' ').unwrap();
            let name: usize = name.parse().unwrap();
            assert_eq!(at.parse(), Ok(next[name]), "{line}");
            next[name] += 1;
        }
        assert_eq!(next, [EACH; 8]);
    }

    #[test]
    fn a_panic_leaves_no_half_of_a_line() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lines.make(false, |text| {
                text.push_str("half");
                panic!("in the middle");
            });
        }));
        assert!(panicked.is_err());
        lines.make(true, |text| text.push_str("whole\n"));
        lines.push(b"\xff odd\n", true);
        assert_eq!(sink.text(), "whole\n\u{fffd} odd\n");
    }

    #[test]
    fn a_line_on_its_own_is_written_without_a_flush() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        lines.push(b"one\n", false);
        sink.wait_for("one\n");
        lines.push(b"two\n", false);
        sink.wait_for("one\ntwo\n");
    }

    #[test]
    fn what_is_urgent_is_written_before_its_writer_goes_on_and_all_before_it() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        for at in 0..100 {
            lines.push(format!("{at}\n").as_bytes(), false);
        }
        lines.push(b"urgent\n", true);
        assert!(sink.text().ends_with("98\n99\nurgent\n"), "{}", sink.text());
    }

    #[test]
    fn what_gathers_while_the_reader_sleeps_is_written_in_one_go() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        sink.stop(true);
        (0..1000).for_each(|_| lines.push(b"0123456789abcdef\n", false));
        sink.stop(false);
        lines.flush();
        // The log's own thread may have taken some, and waited with them; the rest went together.
        assert!(lock(&sink.0.0).writes.len() <= 3);
        assert_eq!(sink.text().lines().count(), 1000);
    }

    #[test]
    fn a_full_buffer_makes_whoever_logs_wait_and_loses_nothing() {
        const LINE: &[u8] = &[b'x'; 1024];
        // One buffer is being written, one is full; no line of the other two has found a place.
        const MANY: usize = 4 * FULL / LINE.len();
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        sink.stop(true);
        let pushed = AtomicUsize::new(0);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..MANY {
                    lines.push(LINE, false);
                    pushed.fetch_add(1, Ordering::SeqCst);
                }
            });
            while pushed.load(Ordering::SeqCst) < FULL / LINE.len() - 1 {
                thread::yield_now();
            }
            assert!(!writer.is_finished() && pushed.load(Ordering::SeqCst) <= 2 * FULL / LINE.len());
            sink.stop(false);
        });
        lines.flush();
        assert_eq!(lock(&sink.0.0).writes.concat().len(), MANY * LINE.len());
    }
}
