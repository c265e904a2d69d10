//! The integration tests: one binary, so that the support code is compiled and linked once.

mod admin;
mod console;
mod mass;
mod native;
mod openstack;
mod support;
