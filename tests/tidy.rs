//! The shape of the house, held by a test: layers point down, files stay small, every file says what it is.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from top to bottom; a module may use lower rows only, never its own row.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["server"],
    &["admin"],
    &["api", "web", "proxy"],
    &["fleet"],
    &["relay"],
    &["auth", "tokens", "targets", "certs"],
    &["rfb", "serial", "ws"],
    &["net"],
    &["metrics", "log", "audit", "limits", "once", "unbroken"],
    &["config"],
    &["ids", "clock", "json"],
];

/// Protocol modules: bytes and time in, bytes out; nothing of the crate, no runtime.
const PURE: &[&str] = &["rfb", "serial", "ws"];

/// The only files where a dashmap may stand: synchronous, and no guard leaves them.
const DASHMAP: &[&str] = &["src/limits.rs", "src/proxy/sessions.rs", "src/tokens/memory/outstanding.rs"];

/// The only file with `unsafe`, if any.
const UNSAFE: &[&str] = &[];

/// Longest source file, in lines: past it a file has more than one noun.
const MAX_LINES: usize = 600;

/// Longest function, in lines, its head included.
const MAX_FUNCTION: usize = 70;

struct Source {
    path: String,
    module: String,
    text: String,
}

fn walk(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !matches!(name.to_str(), Some("target" | "node_modules" | "dist" | ".git")) {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn files(extension: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no .{extension} file below {}", root.display());
    found
}

fn relative(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for path in files("rs") {
        let path_text = relative(&path);
        let Some(inside) = path_text.strip_prefix("src/") else { continue };
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        sources.push(Source { path: path_text, module, text: fs::read_to_string(&path).unwrap_or_default() });
    }
    sources
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The text without comment lines and without unit tests, at its end or in a file of their own.
fn code(source: &Source) -> String {
    if source.path.ends_with("/tests.rs") {
        return String::new();
    }
    let body = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Modules that follow `prefix` in `text`: `crate::x` and the members of `crate::{x, y}`.
fn used_modules(text: &str, prefix: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0usize;
            let mut start = true;
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && (c.is_alphanumeric() || c == '_') => {
                        found.push(word(&group[i..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(word(rest));
        }
    }
    found
}

#[test]
fn layers_point_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.module == "lib" {
            continue;
        }
        let Some(own) = rank(&source.module) else {
            wrong.push(format!("{}: module `{}` has no layer", source.path, source.module));
            continue;
        };
        let prefix = if source.module == "main" { "consolegate::" } else { "crate::" };
        for used in used_modules(&code(&source), prefix) {
            let fine = used == source.module || rank(&used).is_some_and(|r| r > own);
            if !fine {
                wrong.push(format!("{}: uses `{used}`, which is not below `{}`", source.path, source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn protocols_are_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.module.as_str())) {
        let code = code(source);
        for banned in ["tokio", "std::net", "std::fs", "std::thread", "Instant::now", "SystemTime"] {
            if code.contains(banned) {
                wrong.push(format!("{}: `{banned}` in a pure protocol module", source.path));
            }
        }
        for used in used_modules(&code, "crate::") {
            if used != source.module {
                wrong.push(format!("{}: imports crate::{used}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_small_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for path in files("rs") {
        let text = fs::read_to_string(&path).unwrap();
        let path = relative(&path);
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}: the first line is not a `//!` line"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{path}: {lines} lines, at most {MAX_LINES}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The functions of a file that rustfmt has laid out: their heads' first lines, and how many lines each has.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let head = |line: &str| {
        let mut words = line.split_whitespace();
        let is_qualifier = |word: &&str| {
            word.starts_with("pub") || word.ends_with(')') || ["async", "const", "unsafe"].contains(word)
        };
        words.find(|word| !is_qualifier(word)) == Some("fn")
    };
    let length = |at: usize| {
        let indent = &lines[at][..lines[at].len() - lines[at].trim_start().len()];
        // One that has no body, or has it in the same line, ends there.
        let ends = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest == "}");
        let whole = lines[at].ends_with(['}', ';']);
        if whole { 1 } else { lines[at..].iter().position(ends).map_or(0, |last| last + 1) }
    };
    (0..lines.len()).filter(|at| head(lines[*at])).map(|at| (lines[at].trim(), length(at))).collect()
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (head, lines) in functions(&source.text) {
            if lines > MAX_FUNCTION {
                wrong.push(format!("{}: {lines} lines, at most {MAX_FUNCTION}: {head}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn shared_maps_and_unsafe_stay_where_they_are_audited() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = code(&source);
        let marked = DASHMAP.contains(&source.path.as_str());
        if code.contains("dashmap") && !marked {
            wrong.push(format!("{}: dashmap outside {DASHMAP:?}", source.path));
        }
        if marked {
            for banned in ["async fn", "-> dashmap::", "-> Ref<", "-> RefMut<"] {
                if code.contains(banned) {
                    wrong.push(format!("{}: `{banned}` in a file that holds a dashmap", source.path));
                }
            }
        }
        if code.contains("unsafe ") && !UNSAFE.contains(&source.path.as_str()) {
            wrong.push(format!("{}: unsafe outside {UNSAFE:?}", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn anyhow_stays_at_the_edge() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|s| !matches!(s.module.as_str(), "main" | "cli") && code(s).contains("anyhow"))
        .map(|s| format!("{}: anyhow; use the module's own error", s.path))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tidy_checks_see_what_they_look_for() {
    let uses = used_modules("use crate::{ids::{A, B}, config}; crate::ws::x(); mycrate::no();", "crate::");
    assert_eq!(uses, ["ids", "config", "ws"]);
    assert!(rank("main") < rank("cli") && rank("relay") < rank("ws") && rank("nowhere").is_none());
    let text = "impl A {\n    fn a() {\n        b(|| {\n        });\n    }\n    fn c();\n}\n/// fn d()\npub fn e() {\n}\n";
    assert_eq!(functions(text), [("fn a() {", 4), ("fn c();", 1), ("pub fn e() {", 2)]);
}
