//! Turns the built pages (`web/dist`, made by `npm run build` in `web/`) into a table inside the binary.
//!
//! Without `web/dist` the table is empty, so that a plain `cargo build` needs no npm; such a binary answers
//! page requests with the remedy. The list of files is `web/dist/files.txt`: the build reads no directory.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "web/dist/files.txt";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    // Cargo re-runs the script each time if a named path is missing, so name one that exists.
    let built = root.join(LIST).is_file();
    println!("cargo::rerun-if-changed={}", if built { "web/dist" } else { "web" });
    let entries = if built { entries(&root)? } else { String::new() };
    let table = format!("&[{entries}]");
    let out = Path::new(&variable("OUT_DIR")?).join("pages.rs");
    fs::write(&out, table).map_err(|e| format!("cannot write {}: {e}", out.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("{name}: {e}"))
}

/// One `File { .. }` a line of the list: name, content type, ETag value, `gzip` or `plain`, tab-separated.
fn entries(root: &Path) -> Result<String, String> {
    let list = fs::read_to_string(root.join(LIST)).map_err(|e| format!("cannot read {LIST}: {e}"))?;
    let mut entries = String::new();
    for line in list.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, content_type, etag, packing] = fields.as_slice() else {
            return Err(format!("{LIST}: not four fields: {line:?}; run `npm run build` in web/ again"));
        };
        let body = include(root, name)?;
        let gzip = match packing {
            "gzip" => format!("Some({})", include(root, &format!("{name}.gz"))?),
            _ => "None".to_owned(),
        };
        let _ = write!(
            entries,
            "File {{ name: {name:?}, content_type: {content_type:?}, etag: {etag:?}, body: {body}, gzip: {gzip} }},"
        );
    }
    Ok(entries)
}

fn include(root: &Path, name: &str) -> Result<String, String> {
    let path = format!("web/dist/{name}");
    if !root.join(&path).is_file() {
        return Err(format!("{LIST} names {name}, which is missing; run `npm run build` in web/ again"));
    }
    let path = format!("/{path}");
    Ok(format!("include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))"))
}
