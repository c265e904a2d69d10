//! The `consolegate` program: parse, run, exit code.

fn main() -> std::process::ExitCode {
    consolegate::cli::main()
}
