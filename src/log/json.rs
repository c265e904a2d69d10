//! Log lines as JSON (RFC 8259), one object a line.
//!
//! ```text
//! {"timestamp":"2026-11-21T19:30:00.123456Z","level":"INFO","message":"console issued",...fields...,
//!  "module":"consolegate::api::trail","span":{...fields of the innermost span...,"name":"session"}}
//! ```
//!
//! tracing-subscriber has such a formatter; this one takes a fifth of its time, writes no key twice (an event's
//! `target` and the module's path shared one), and escapes DEL and the C1 controls, which terminals act on.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{self, Stamp};
use crate::json::{Fields, escape, name, quote};

use super::lines::{Lines, is_urgent};

/// Formats every event of its subscriber.
pub(super) struct Json {
    lines: Lines,
}

impl Json {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines }
    }
}

/// Writes a line as a subscriber would write the event of these fields, which is in no span.
pub(super) fn line(
    lines: &Lines,
    level: Level,
    module: &str,
    message: &str,
    fields: impl FnOnce(&mut Fields<'_>),
) {
    with_buffer(|Buffer { stamp, .. }| {
        let time = stamp.text(clock::date());
        lines.make(is_urgent(level), |text| {
            begin(text, time, level);
            let mut line = Fields(text);
            line.word(name!("message"), Some(message));
            fields(&mut line);
            line.word(name!("module"), Some(module));
            text.push_str("}\n");
        });
    });
}

/// A span's fields, rendered when they were recorded. A field is recorded once.
struct Recorded(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Json {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = String::new();
        attributes.record(&mut Object(&mut fields));
        span.extensions_mut().insert(Recorded(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Recorded(fields)) = span.extensions_mut().get_mut() {
            values.record(&mut Object(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let urgent = is_urgent(*event.metadata().level());
        with_buffer(|Buffer { text, stamp }| {
            text.clear();
            begin(text, stamp.text(clock::date()), *event.metadata().level());
            event.record(&mut Object(text));
            text.push_str(",\"module\":");
            quote(text, event.metadata().target());
            if let Some(span) = &span {
                text.push_str(",\"span\":{");
                if let Some(Recorded(fields)) = span.extensions().get() {
                    text.extend(fields.strip_prefix(','));
                    text.push_str(if fields.is_empty() { "" } else { "," });
                }
                text.push_str("\"name\":");
                quote(text, span.name());
                text.push('}');
            }
            text.push_str("}\n");
            self.lines.push(text.as_bytes(), urgent);
        });
    }
}

/// Makes a line. A field whose own formatting logs gets a buffer of its own.
fn with_buffer(line: impl FnOnce(&mut Buffer)) {
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => line(&mut buffer),
        Err(_) => line(&mut Buffer::default()),
    });
}

thread_local! {
    /// Each thread's line in the making.
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

#[derive(Default)]
struct Buffer {
    text: String,
    stamp: Stamp,
}

/// Begins a line, up to its level.
fn begin(line: &mut String, time: &str, level: Level) {
    for part in ["{\"timestamp\":\"", time, "\",\"level\":\"", level.as_str(), "\""] {
        line.push_str(part);
    }
}

/// Appends `,"name":value` for each field.
struct Object<'a>(&'a mut String);

impl Object<'_> {
    fn name(&mut self, field: &Field) {
        self.0.push_str(",\"");
        // Names are Rust's identifiers, with dots.
        let name = field.name();
        self.0.push_str(name.strip_prefix("r#").unwrap_or(name));
        self.0.push_str("\":");
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for Object<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.plain(field, value),
            false => self.plain(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        quote(self.0, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push('"');
        let _ = write!(Escaped(self.0), "{value:?}");
        self.0.push('"');
    }
}

/// Escapes what is written to it.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `story` runs, as text.
    pub(crate) fn logged(story: impl FnOnce()) -> String {
        written(|lines| {
            let subscriber = tracing_subscriber::registry().with(Json::new(lines.clone()));
            // As in `api::testing`: a second one keeps other tests' threads from deciding for this one.
            let _second = tracing::Dispatch::new(tracing_subscriber::registry());
            tracing::subscriber::with_default(subscriber, story);
        })
    }

    /// A line of these fields, written without a subscriber.
    pub(crate) fn direct(module: &str, message: &str, fields: impl FnOnce(&mut Fields<'_>)) -> String {
        written(|lines| line(lines, Level::INFO, module, message, fields))
    }

    fn written(story: impl FnOnce(&Lines)) -> String {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        story(&lines);
        lines.flush();
        let text = sink.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    /// The lines, without what differs from run to run.
    fn values(text: &str) -> Vec<Value> {
        let value = |line: &str| {
            let mut value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let time = value.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(humantime::parse_rfc3339(time.as_str().unwrap()).is_ok(), "{time}");
            value
        };
        text.lines().map(value).collect()
    }

    #[test]
    fn every_kind_of_field() {
        let text = logged(|| {
            tracing::warn!(
                text = "a\"b", number = -3, big = u64::MAX, huge = u128::MAX, yes = true, half = 0.5,
                none = Option::<&str>::None, nan = f64::NAN, shown = %Level::INFO, debugged = ?Some("x"),
                "said {}", 1
            );
        });
        let module = module_path!();
        let expected = json!({
            "level": "WARN", "message": "said 1", "text": "a\"b", "number": -3, "big": u64::MAX, "yes": true,
            "half": 0.5, "nan": null, "shown": "INFO", "debugged": "Some(\"x\")", "module": module,
        });
        let mut found = values(&text);
        // serde_json's own numbers end before this one.
        assert!(text.contains(&format!(",\"huge\":{},", u128::MAX)), "{text}");
        found[0].as_object_mut().unwrap().remove("huge");
        assert_eq!(found, [expected]);
    }

    #[test]
    fn the_innermost_span_with_what_was_recorded_later() {
        let text = logged(|| {
            let _outer = tracing::info_span!("outer", a = 1).entered();
            let span = tracing::info_span!("session", request = %7, issued_by = tracing::field::Empty);
            let _inner = span.enter();
            tracing::info!("before");
            span.record("issued_by", "x\ny");
            tracing::info!("after");
            tracing::info_span!("bare").in_scope(|| tracing::info!("bare"));
        });
        let spans: Vec<_> = values(&text).into_iter().map(|mut line| line["span"].take()).collect();
        assert_eq!(
            spans,
            [
                json!({"request": "7", "name": "session"}),
                json!({"request": "7", "issued_by": "x\ny", "name": "session"}),
                json!({"name": "bare"}),
            ]
        );
    }

    #[test]
    fn a_field_called_target_is_the_servers_and_no_key_comes_twice() {
        let text = logged(|| tracing::info!(target = "vm-1", "console issued"));
        assert_eq!(text.matches("\"target\":").count(), 1, "{text}");
        assert_eq!(values(&text)[0]["target"], "vm-1");
    }

    #[test]
    fn a_field_that_logs_spoils_nothing() {
        struct Talkative;
        impl fmt::Debug for Talkative {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                tracing::info!("inner");
                f.write_str("shown")
            }
        }
        // tracing itself keeps an event within an event from its subscriber.
        let found = values(&logged(|| tracing::info!(field = ?Talkative, "outer")));
        assert_eq!(found.last().unwrap()["field"], "shown");
    }
}
