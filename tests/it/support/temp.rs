//! Directories of a test, gone when it ends, and names of things that must not meet.

use std::fs;
use std::path::{Path, PathBuf};

/// A new empty directory with a short path: Unix socket paths end at 108 bytes.
pub(crate) fn dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cg-").tempdir_in("/tmp").expect("a directory in /tmp")
}

/// Where a browser may keep its profile. A snap sees neither /tmp nor hidden directories, only its own.
pub(crate) fn profile_dir(browser: &Path) -> tempfile::TempDir {
    if !browser.starts_with("/snap") {
        return dir();
    }
    let home = PathBuf::from(std::env::var_os("HOME").expect("HOME"));
    let common = home.join("snap/chromium/common");
    fs::create_dir_all(&common).expect("the snap's own directory");
    tempfile::Builder::new().prefix("cg-").tempdir_in(common).expect("a directory for the snap")
}

#[test]
fn a_directory_is_gone_with_its_owner() {
    let kept = {
        let dir = dir();
        fs::write(dir.path().join("file"), "content").unwrap();
        dir.path().to_path_buf()
    };
    assert!(!kept.exists());
    assert!(kept.as_os_str().len() < 60, "room for a socket's name below 108 bytes");
}
