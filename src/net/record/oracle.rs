//! What holds for the record layer whatever comes in; `cargo test` replays it and `cargo fuzz` can drive it.
