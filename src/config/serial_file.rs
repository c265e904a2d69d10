//! The `serial` endpoint of a target and its `[target.serial_line]` table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::section::{Fault, Section};
use super::serial_line::{Flow, LineSettings, Parity, Program, ServerCheck};
use super::target::{Endpoint, Host};
use super::units;

/// Fastest line: beyond it no UART goes.
const BAUD_MAX: u64 = 12_000_000;

/// Most arguments of a command; more belong into a script.
const ARGS_MAX: usize = 64;

/// Longest argument, in bytes.
const ARG_MAX: usize = 4096;

/// Longest time a lost line may be dialled again for: beyond it nobody waits at the console any more.
const RECONNECT_MAX: Duration = Duration::from_secs(3600);

/// Reads `serial` and everything in `serial_line`.
pub(super) fn read(target: &Section<'_>) -> (Option<Endpoint>, Option<Duration>) {
    let endpoint = target.text("serial", endpoint);
    let section = target.section("serial_line");
    let (check, line, args) = (server_check(&section), line(&section), args(&section));
    let reconnect = section.text("reconnect", reconnect).flatten();
    let endpoint = endpoint.map(|endpoint| match endpoint {
        Endpoint::Tls(host, port, _) => Endpoint::Tls(host, port, check),
        Endpoint::Telnet(host, port, _) => Endpoint::Telnet(host, port, line),
        Endpoint::Tty(path, _) => Endpoint::Tty(path, line),
        Endpoint::Command(program) => Endpoint::Command(Program { args, ..program }),
        plain => plain,
    });
    if section.present() && section.clean() {
        fits(&section, endpoint.as_ref());
    }
    section.finish();
    (endpoint, reconnect)
}

const LINE: [&str; 7] = ["baud", "data_bits", "parity", "stop_bits", "flow", "dtr", "rts"];

/// Refuses settings of another kind of endpoint: somebody expects something of them.
fn fits(section: &Section<'_>, endpoint: Option<&Endpoint>) {
    let Some(endpoint) = endpoint else {
        return section.problem("", "is for a target with a serial endpoint; add serial, or remove this");
    };
    let refuse = |keys: &[&'static str], place: &str| {
        for key in keys.iter().filter(|key| section.has(key)) {
            section.problem(key, format!("is for {place} endpoints, and serial is {endpoint}; remove it"));
        }
    };
    if !matches!(endpoint, Endpoint::Tls(..)) {
        refuse(&["ca", "server_name", "pin"], "tls:");
    }
    if !matches!(endpoint, Endpoint::Telnet(..) | Endpoint::Tty(..)) {
        refuse(&LINE, "telnet: and tty:");
    }
    if !matches!(endpoint, Endpoint::Command(..)) {
        refuse(&["args"], "command:");
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Fault> {
    const FORM: &str = "\"tcp://host:port\", \"tls://host:port\", \"telnet://host:port\", \"unix:/path\", \
                        \"tty:/dev/ttyS0\" or \"command:/path/of/program\"";
    match text.split_once(':') {
        Some(("tls", rest)) => {
            let (host, port) = units::dialled(rest).ok_or_else(|| Fault::expected(FORM))?;
            Ok(Endpoint::Tls(host, port, ServerCheck::Chain { ca: None, name: None }))
        }
        Some(("telnet", rest)) => {
            let (host, port) = units::dialled(rest).ok_or_else(|| Fault::expected(FORM))?;
            Ok(Endpoint::Telnet(host, port, LineSettings::default()))
        }
        Some(("tty", path)) => Ok(Endpoint::Tty(absolute(path, "tty:/dev/ttyS0")?, LineSettings::default())),
        Some(("command", path)) => {
            let path = absolute(path, "command:/usr/bin/ipmitool")?;
            Ok(Endpoint::Command(Program { path, args: Vec::new() }))
        }
        Some(("tcp" | "unix", _)) => units::endpoint(text),
        _ => Err(Fault::expected(FORM)),
    }
}

fn absolute(text: &str, example: &str) -> Result<PathBuf, Fault> {
    let printable = !text.chars().any(char::is_control);
    match text.starts_with('/') && !text.ends_with('/') && printable && text.len() <= ARG_MAX {
        true => Ok(Path::new(text).to_owned()),
        false => Err(Fault::Expected(format!("an absolute path, such as \"{example}\""))),
    }
}

fn server_check(section: &Section<'_>) -> ServerCheck {
    let ca = section.path("ca");
    let name = section.text("server_name", units::host_name);
    let pin = section.text("pin", pin);
    if section.has("pin") {
        for key in ["ca", "server_name"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, "is not looked at when there is a pin; keep one of the two");
        }
    }
    pin.map_or(ServerCheck::Chain { ca, name }, ServerCheck::Pin)
}

/// 32 bytes in hexadecimal, with or without colons.
fn pin(text: &str) -> Result<[u8; 32], Fault> {
    let form = || Fault::expected("a certificate's SHA-256 fingerprint, 64 hexadecimal digits");
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(form());
    }
    let mut pin = [0; 32];
    for (at, byte) in pin.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| form())?;
    }
    Ok(pin)
}

fn line(section: &Section<'_>) -> LineSettings {
    let small = |number: u64| u8::try_from(number).ok();
    let settings = LineSettings {
        baud: section.number("baud", 50..=BAUD_MAX).and_then(|baud| u32::try_from(baud).ok()),
        data_bits: section.number("data_bits", 5..=8).and_then(small),
        parity: section.text("parity", parity),
        stop_bits: section.number("stop_bits", 1..=2).and_then(small),
        flow: section.text("flow", flow),
        dtr: section.flag("dtr"),
        rts: section.flag("rts"),
    };
    if settings.flow == Some(Flow::RtsCts) && settings.rts.is_some() {
        section.problem("rts", "belongs to the flow control \"rts-cts\"; remove one of the two");
    }
    settings
}

fn parity(text: &str) -> Result<Parity, Fault> {
    match text {
        "none" => Ok(Parity::None),
        "odd" => Ok(Parity::Odd),
        "even" => Ok(Parity::Even),
        _ => Err(Fault::expected("\"none\", \"odd\" or \"even\"")),
    }
}

fn flow(text: &str) -> Result<Flow, Fault> {
    match text {
        "none" => Ok(Flow::None),
        "xon-xoff" => Ok(Flow::XonXoff),
        "rts-cts" => Ok(Flow::RtsCts),
        _ => Err(Fault::expected("\"none\", \"xon-xoff\" or \"rts-cts\"")),
    }
}

fn args(section: &Section<'_>) -> Vec<String> {
    let args = section.texts("args", |text| match text.contains('\0') || text.len() > ARG_MAX {
        true => Err(Fault::expected("an argument of at most 4096 bytes without zeros")),
        false => Ok(text.to_owned()),
    });
    let args = args.unwrap_or_default();
    if args.len() > ARGS_MAX {
        section.problem("args", format!("has more than {ARGS_MAX} arguments; put them into a script"));
    }
    args
}

fn reconnect(text: &str) -> Result<Option<Duration>, Fault> {
    match units::duration_or_off(text)? {
        Some(patience) if patience > RECONNECT_MAX => Err(Fault::expected("at most \"1h\"")),
        patience => Ok(patience),
    }
}

/// The table as JSON, or nothing when it would be empty.
pub(super) fn to_json(endpoint: Option<&Endpoint>, reconnect: Option<Duration>) -> Option<Value> {
    let mut table = Map::new();
    match endpoint {
        Some(Endpoint::Tls(_, _, ServerCheck::Chain { ca, name })) => {
            put(&mut table, "ca", ca.as_ref().map(|ca| ca.display().to_string()));
            put(&mut table, "server_name", name.as_ref().map(Host::to_string));
        }
        Some(Endpoint::Tls(_, _, ServerCheck::Pin(pin))) => {
            put(&mut table, "pin", Some(pin.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
        }
        Some(Endpoint::Telnet(_, _, line) | Endpoint::Tty(_, line)) => line_to_json(&mut table, line),
        Some(Endpoint::Command(Program { path: _, args })) if !args.is_empty() => {
            put(&mut table, "args", Some(args));
        }
        Some(Endpoint::Command(_) | Endpoint::Tcp(..) | Endpoint::Unix(_)) | None => {}
    }
    put(&mut table, "reconnect", reconnect.map(|patience| humantime::format_duration(patience).to_string()));
    (!table.is_empty()).then_some(Value::Object(table))
}

fn line_to_json(table: &mut Map<String, Value>, line: &LineSettings) {
    let LineSettings { baud, data_bits, parity, stop_bits, flow, dtr, rts } = line;
    put(table, "baud", *baud);
    put(table, "data_bits", *data_bits);
    let parity = parity.map(|parity| match parity {
        Parity::None => "none",
        Parity::Odd => "odd",
        Parity::Even => "even",
    });
    put(table, "parity", parity);
    put(table, "stop_bits", *stop_bits);
    let flow = flow.map(|flow| match flow {
        Flow::None => "none",
        Flow::XonXoff => "xon-xoff",
        Flow::RtsCts => "rts-cts",
    });
    put(table, "flow", flow);
    put(table, "dtr", *dtr);
    put(table, "rts", *rts);
}

fn put(table: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        table.insert(key.to_owned(), json!(value));
    }
}
