//! The integration tests: one binary, so that the support code is compiled and linked once.

mod console;
mod guest;
mod mass;
mod memory;
mod openstack;
mod support;
mod vnc_password;
mod xvnc;
