//! Reads one table of a TOML document: every mistake is noted with its line, and reading goes on.
//!
//! The settings are read by asking for each key; what was never asked for is unknown, and what was asked for
//! is the list the nearest name is suggested from (and the example file is checked against).

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// Looks up an environment variable; a function so that tests need not touch the process.
pub(super) type Env = fn(&str) -> Option<String>;

/// Longest piece of somebody's value that is repeated in a message.
const QUOTED: usize = 60;

/// Why a text is not a value of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What would have been right; the reader adds what was found.
    Expected(String),
    /// A whole sentence.
    Said(String),
}

impl Fault {
    pub(super) fn expected(what: &str) -> Self {
        Self::Expected(what.to_owned())
    }

    pub(super) fn said(what: &str) -> Self {
        Self::Said(what.to_owned())
    }

    fn message(self, found: &str) -> String {
        match self {
            Self::Expected(what) => format!("expected {what}, found {found}"),
            Self::Said(what) => what,
        }
    }
}

/// The text being read and what was wrong with it so far.
pub(super) struct Document {
    name: PathBuf,
    base: PathBuf,
    lines: Vec<usize>,
    env: Env,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<String>>,
}

impl Document {
    /// Relative paths in the text are taken from the directory of `name`.
    pub(super) fn new(name: &Path, text: &str, env: Env) -> Self {
        Self {
            name: name.to_owned(),
            base: name.parent().unwrap_or(Path::new("")).to_owned(),
            lines: text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect(),
            env,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// Notes a mistake of the file as a whole.
    pub(super) fn problem(&self, at: Option<usize>, key: &str, message: String) {
        let problem = self.told(at, key, message);
        self.problems.borrow_mut().push(problem);
    }

    fn told(&self, at: Option<usize>, key: &str, message: String) -> Problem {
        Problem { file: self.name.clone(), line: at.map(|at| self.line(at)), key: key.to_owned(), message }
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|newline| *newline < at) + 1
    }

    fn place(&self, at: Option<usize>) -> String {
        let name = self.name.display();
        at.map_or_else(|| name.to_string(), |at| format!("{name}:{}", self.line(at)))
    }

    /// The file's permission bits, if there is a file.
    pub(super) fn mode(&self) -> Option<u32> {
        std::fs::metadata(&self.name).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
    }

    /// Everything noted, in the order of the lines.
    pub(super) fn problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// What is allowed but hardly meant.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        self.warnings.borrow().clone()
    }

    pub(super) fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    pub(super) fn root<'d>(&'d self, table: &'d DeTable<'d>) -> Section<'d> {
        Section::new(self, String::new(), None, Some(table))
    }
}

/// One table, or the absence of it (then every key is absent).
pub(super) struct Section<'d> {
    doc: &'d Document,
    path: String,
    at: Option<usize>,
    table: Option<&'d DeTable<'d>>,
    asked: RefCell<Vec<&'static str>>,
    faults: Cell<usize>,
}

impl<'d> Section<'d> {
    fn new(doc: &'d Document, path: String, at: Option<usize>, table: Option<&'d DeTable<'d>>) -> Self {
        Self { doc, path, at, table, asked: RefCell::default(), faults: Cell::new(0) }
    }

    pub(super) fn document(&self) -> &'d Document {
        self.doc
    }

    /// Whether the table was written at all.
    pub(super) fn present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether `key` was written, well or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// Whether nothing wrong was noted here; checks that compare settings wait for this.
    pub(super) fn clean(&self) -> bool {
        self.faults.get() == 0
    }

    /// `file:line` of where the table begins.
    pub(super) fn place(&self) -> String {
        self.doc.place(self.at)
    }

    /// The dotted path of `key`.
    pub(super) fn full(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{key}", self.path),
        }
    }

    /// Notes a mistake at `key`, or where the table begins if the key was not written.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problem_at(self.offset(key), key, message.into());
    }

    /// Notes something at `key` that is allowed but hardly meant.
    pub(super) fn warning(&self, key: &str, message: String) {
        let warning = self.doc.told(self.offset(key), &self.full(key), message);
        self.doc.warnings.borrow_mut().push(warning);
    }

    fn offset(&self, key: &str) -> Option<usize> {
        let entry = self.table.and_then(|table| table.get_key_value(key));
        entry.map(|(name, _)| name.span().start).or(self.at)
    }

    fn problem_at(&self, at: Option<usize>, key: &str, message: String) {
        self.faults.set(self.faults.get() + 1);
        self.doc.problem(at, &self.full(key), message);
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.borrow_mut().push(key);
        self.table?.get(key)
    }

    fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.settle(key, value.span(), value.get_ref(), parse)
    }

    fn settle<T>(
        &self,
        key: &str,
        span: Range<usize>,
        value: &'d DeValue<'d>,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, Fault>,
    ) -> Option<T> {
        parse(value)
            .map_err(|fault| self.problem_at(Some(span.start), key, fault.message(&found(value))))
            .ok()
    }

    /// A string, as `parse` understands it.
    pub(super) fn text<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        self.read(key, |value| match (value.as_str(), parse) {
            (Some(text), parse) => parse(text),
            // A value of another type gets what an empty text would get: that message names the form.
            (None, parse) => Err(match parse("") {
                Err(Fault::Expected(form)) => Fault::Expected(form),
                _ => Fault::expected("a string"),
            }),
        })
    }

    /// A string whose value must not be repeated in a message.
    pub(super) fn hidden(&self, key: &'static str) -> Option<&'d str> {
        self.read(key, |value| value.as_str().ok_or_else(|| Fault::said("expected a string")))
    }

    /// Like [`Section::text`]; absence is a mistake.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.table.is_none_or(|table| table.get(key).is_none()) {
            self.asked.borrow_mut().push(key);
            self.problem(key, "is required here; add it");
            return None;
        }
        self.text(key, parse)
    }

    /// A list of strings, each understood by `parse`; every bad one is noted on its own line.
    pub(super) fn texts<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let list = self.read(key, |value| {
            value.as_array().ok_or_else(|| Fault::expected("a list of strings such as [\"a\", \"b\"]"))
        })?;
        let parsed = list.iter().filter_map(|item| {
            self.settle(key, item.span(), item.get_ref(), |value| {
                parse(value.as_str().ok_or_else(|| Fault::expected("a string"))?)
            })
        });
        Some(parsed.collect())
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.read(key, |value| {
            let parsed = value.as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
            parsed.filter(|n| range.contains(n)).ok_or_else(|| {
                Fault::Expected(format!("a whole number from {} to {}", range.start(), range.end()))
            })
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        self.read(key, |value| value.as_bool().ok_or_else(|| Fault::expected("true or false")))
    }

    /// A file's path; a relative one starts at the configuration file's directory.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key, |text| match text.is_empty() || text.contains('\0') {
            true => Err(Fault::expected("the path of a file")),
            false => Ok(self.doc.base.join(text)),
        })
    }

    /// A table within this one; if it is missing or no table, every key of it is absent.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let value = self.value(key);
        let table = value.and_then(|value| {
            self.settle(key, value.span(), value.get_ref(), |value| {
                value.as_table().ok_or_else(|| Fault::Said(format!("expected a table, [{}]", self.full(key))))
            })
        });
        Section::new(self.doc, self.full(key), value.map(|value| value.span().start), table)
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        // What was found is not shown here nor in `section`: it may be a secret in the wrong place.
        let wanted = || Fault::Said(format!("expected tables, each under [[{}]]", self.full(key)));
        let Some(list) = self.read(key, |value| value.as_array().ok_or_else(wanted)) else {
            return Vec::new();
        };
        let tables = list.iter().filter_map(|item| {
            let table =
                self.settle(key, item.span(), item.get_ref(), |value| value.as_table().ok_or_else(wanted))?;
            Some(Section::new(self.doc, self.full(key), Some(item.span().start), Some(table)))
        });
        tables.collect()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.take();
        #[cfg(test)]
        self.doc.asked.borrow_mut().extend(asked.iter().map(|key| self.full(key)));
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !asked.contains(&name) {
                let message = format!("unknown setting; {}", suggestion(name, &asked));
                self.problem_at(Some(key.span().start), name, message);
            }
        }
    }
}

/// What to write instead of `name`.
pub(super) fn suggestion(name: &str, known: &[&'static str]) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let nearest = known.iter().min_by_key(|candidate| distance(candidate));
    match nearest {
        // A third of the letters wrong is a slip; more is another word.
        Some(nearest) if distance(nearest) <= (name.chars().count() / 3).max(1) => {
            format!("did you mean {nearest}?")
        }
        _ => {
            let mut known = known.to_vec();
            known.sort_unstable();
            known.dedup();
            format!("known here: {}", known.join(", "))
        }
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `text` in quotes, escaped and cut: it goes to a terminal.
pub(super) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(QUOTED).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{dots}\"", cut.escape_debug())
}
