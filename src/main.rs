//! The `consolegate` program: parse, run, exit code.

fn main() {}
