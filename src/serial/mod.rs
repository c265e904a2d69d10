//! Serial consoles, pure: bytes in, bytes out.

pub mod utf8;
