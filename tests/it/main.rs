//! The integration tests: one binary, so that the support code is compiled and linked once.

mod console;
mod dialects;
mod golden;
mod huawei;
mod openstack;
mod support;
