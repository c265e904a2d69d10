//! The integration tests: one binary, so that the support code is compiled and linked once.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, its futures live once, its tables explain themselves"
)]

mod admin;
mod audit;
mod churn;
mod connect;
mod connect_resume;
mod conserver;
mod console;
mod control;
mod dialects;
mod drain;
mod endings;
mod examples;
mod fleet;
mod fleet_inventory;
mod fleet_servers;
mod fleet_stores;
mod golden;
mod golden_audit;
mod golden_credentials;
mod golden_native;
mod guest;
mod handshake;
mod hot_restart;
mod huawei;
mod hub;
mod keystone;
mod kills;
mod lifecycle;
mod limits;
mod listeners;
mod logs;
mod mass;
mod memory;
mod metrics;
mod native;
mod openapi;
mod openstack;
mod operator;
mod page_files;
mod pressure;
mod recording;
mod recording_admin;
mod redis;
mod refusals;
mod resume;
mod resume_browser;
mod rolling;
mod serial_command;
mod serial_lines;
mod serial_tls;
mod shared_pages;
mod spice;
mod support;
mod systemd;
mod tempest;
mod tls;
mod tls_anonymous;
mod tls_openssl;
mod tokens_once;
mod tunnel;
mod vnc_anonymous;
mod vnc_hostile;
mod vnc_password;
mod vnc_security;
mod vnc_view_only;
mod xvnc;
