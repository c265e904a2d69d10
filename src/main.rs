//! The `consolegate` program: parse, run, exit code.

/// glibc keeps the pages that short-lived TLS records leave between sessions: measured at 8,000 sessions after
/// traffic, 28 KiB a TLS session against 11.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    consolegate::cli::main()
}
