//! A real browser: headless Chromium, driven through its DevTools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::devtools::DevTools;
use super::keys::{self, Key};
use super::picture::Picture;
use super::process::Process;
use super::{PATIENCE, part, temp};

/// No sandbox, because CI runs as root; nothing fetched from outside; timers of hidden pages at full speed.
const ARGUMENTS: [&str; 15] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
];

/// Runs in every page before its own scripts: the policy's violations become console errors.
const WATCH: &str = "document.addEventListener('securitypolicyviolation', event => \
    console.error(`CSP ${event.effectiveDirective}: ${event.blockedURI}`))";

/// A browser with an empty profile; gone when dropped.
pub(crate) struct Browser {
    devtools: DevTools,
    // In this order: the process ends before its profile is removed.
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser.
    pub(crate) async fn launch() -> Self {
        Self::launch_with(&[]).await
    }

    /// Starts a browser with more arguments, such as `--ignore-certificate-errors`.
    pub(crate) async fn launch_with(arguments: &[&str]) -> Self {
        let names = ["/usr/bin/chromium", "/snap/bin/chromium", "/usr/bin/google-chrome"];
        let browser = part("CONSOLEGATE_TEST_CHROMIUM", &names.map(PathBuf::from));
        let profile = temp::profile_dir(&browser);
        let mut command = Command::new(browser);
        let data = format!("--user-data-dir={}", profile.path().display());
        command.args(ARGUMENTS).args(arguments).arg(data).arg("about:blank");
        let mut process = Process::start("chromium", command, profile.path());
        let announced = profile.path().join("DevToolsActivePort");
        let url = process.ready("its DevTools port", async || endpoint(&announced)).await;
        let devtools = DevTools::connect(&url).await;
        Self { devtools, _process: process, _profile: profile }
    }

    /// Opens a tab and loads `url` in it.
    ///
    /// # Panics
    /// When the page cannot be loaded; [`Page::goto`] on a [`Browser::blank`] tab tells instead.
    pub(crate) async fn page(&self, url: &str) -> Page {
        let page = self.blank().await;
        page.goto(url).await.unwrap_or_else(|error| panic!("cannot load {url}: {error}"));
        page
    }

    /// Keeps what pages hand out as files in this directory.
    pub(crate) async fn saves_to(&self, dir: &Path) {
        let params = json!({ "behavior": "allow", "downloadPath": dir });
        self.devtools.call(None, "Browser.setDownloadBehavior", params).await.expect("a place for downloads");
    }

    /// Opens an empty tab.
    pub(crate) async fn blank(&self) -> Page {
        let browser = |method: &'static str, params| {
            let devtools = self.devtools.clone();
            async move { devtools.call(None, method, params).await.expect(method) }
        };
        let target = browser("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser("Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let page = Page { devtools: self.devtools.clone(), session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await;
        // Several tabs may each believe to be the one in front, so that keys and timers work in all.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        page.viewport(1280, 800).await;
        page
    }
}

/// One tab.
pub(crate) struct Page {
    devtools: DevTools,
    session: String,
}

impl Page {
    /// Any method of the protocol.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.devtools.call(Some(&self.session), method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Loads a page and waits until it is complete; the error is Chromium's (`net::ERR_...`).
    pub(crate) async fn goto(&self, url: &str) -> Result<(), String> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(error.to_owned());
        }
        self.wait_for("document.readyState === 'complete'").await;
        Ok(())
    }

    /// The value of an expression; promises are awaited.
    ///
    /// # Panics
    /// When it throws, or has another type.
    pub(crate) async fn eval<T: DeserializeOwned>(&self, expression: &str) -> T {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let words = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            panic!("{expression}\n{}", words.unwrap_or("threw something"));
        }
        let value = answer["result"]["value"].take();
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{expression}: {error}: {answer}"))
    }

    /// Waits, inside the page, until a condition holds; it may await, and throwing counts as not yet.
    ///
    /// # Panics
    /// When it does not hold in time, with what the page shows as text.
    pub(crate) async fn wait_for(&self, condition: &str) {
        // Shorter than the patience for the call itself, so that the page's own words are the failure.
        let patience = (PATIENCE - Duration::from_secs(10)).as_millis();
        let wait = format!(
            "new Promise(resolve => {{
                const end = performance.now() + {patience};
                let last = '';
                const look = async () => {{
                    try {{ if (await (async () => ({condition}))()) return resolve(''); }} catch (error) {{ last = `${{error}}`; }}
                    if (performance.now() > end) return resolve(`${{last}} ${{location}} ${{document.body?.innerText}}`);
                    setTimeout(look, 16);
                }};
                look();
            }})"
        );
        let shown: String = self.eval(&wait).await;
        assert!(shown.is_empty(), "never came true: {condition}\nThe page: {shown}");
    }

    /// Presses a key by name or character, or several together: `Enter`, `a`, `Control+Alt+Delete`.
    pub(crate) async fn key(&self, chord: &str) {
        let names = if chord == "+" { vec!["+"] } else { chord.split('+').collect() };
        let pressed: Vec<Key> = names.into_iter().map(keys::key).collect();
        let mut held = 0;
        for key in &pressed {
            held |= key.modifier;
            self.dispatch(key, true, held).await;
        }
        for key in pressed.iter().rev() {
            held &= !key.modifier;
            self.dispatch(key, false, held).await;
        }
    }

    /// Types text as on a US keyboard, with Shift where it takes one.
    pub(crate) async fn type_text(&self, text: &str) {
        let shift = keys::key("Shift");
        for character in text.chars() {
            let key = keys::typed(character);
            let held = if key.shift { shift.modifier } else { 0 };
            if key.shift {
                self.dispatch(&shift, true, held).await;
            }
            self.dispatch(&key, true, held).await;
            self.dispatch(&key, false, held).await;
            if key.shift {
                self.dispatch(&shift, false, 0).await;
            }
        }
    }

    async fn dispatch(&self, key: &Key, down: bool, modifiers: u32) {
        // With Control, Alt or Meta held, a key types nothing.
        let text = key.text.as_ref().filter(|_| down && modifiers & 0b0111 == 0);
        let kind = match (down, text) {
            (true, Some(_)) => "keyDown",
            (true, None) => "rawKeyDown",
            (false, _) => "keyUp",
        };
        let mut params = json!({
            "type": kind, "key": key.key, "code": key.code, "modifiers": modifiers,
            "windowsVirtualKeyCode": key.number,
        });
        if let Some(text) = text {
            params["text"] = text.as_str().into();
        }
        self.call("Input.dispatchKeyEvent", params).await;
    }

    /// Clicks with the left button at a place of the viewport.
    pub(crate) async fn click(&self, x: f64, y: f64) {
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let params = json!({
                "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    /// Clicks in the middle of the element a selector finds.
    pub(crate) async fn click_on(&self, selector: &str) {
        let selector = json!(selector);
        self.wait_for(&format!("document.querySelector({selector}).getBoundingClientRect().width > 0")).await;
        let place = format!(
            "(() => {{ const e = document.querySelector({selector}); e.scrollIntoViewIfNeeded(); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let (x, y): (f64, f64) = self.eval(&place).await;
        self.click(x, y).await;
    }

    /// The size of the page's window in CSS pixels.
    pub(crate) async fn viewport(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What the system says it prefers: `light` or `dark`.
    pub(crate) async fn color_scheme(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// A picture of the viewport, as a PNG file.
    pub(crate) async fn screenshot(&self, path: impl AsRef<Path>) {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let png = BASE64_STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path.as_ref(), png).expect("a file for the screenshot");
    }

    /// What the canvas a selector finds holds, in its own pixels, whatever it is scaled to.
    pub(crate) async fn canvas(&self, selector: &str) -> Picture {
        let read = format!(
            "(() => {{ const c = document.querySelector({}), \
             d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
             let s = ''; for (let i = 0; i < d.length; i += 4) s += String.fromCharCode(d[i], d[i + 1], d[i + 2]); \
             return [c.width, c.height, btoa(s)]; }})()",
            json!(selector)
        );
        let (width, height, pixels): (usize, usize, String) = self.eval(&read).await;
        Picture { width, height, rgb: BASE64_STANDARD.decode(pixels).expect("base64") }
    }

    /// What went wrong in the page so far: violations of its policy, exceptions, console errors, failed loads.
    pub(crate) async fn violations(&self) -> Vec<String> {
        // A round trip: what happened before it has been told by its end.
        let _: u32 = self.eval("0").await;
        self.devtools.events(&self.session).iter().filter_map(violation).collect()
    }
}

/// The one file with this ending that a browser has saved, its name and what is in it.
///
/// It has another ending until it is whole; only looking tells.
pub(crate) async fn downloaded(dir: &Path, extension: &str) -> (String, Vec<u8>) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let saved = async {
        loop {
            let entries = std::fs::read_dir(dir).expect("the downloads");
            let mut paths = entries.map(|entry| entry.expect("an entry").path());
            if let Some(path) = paths.find(|path| path.to_string_lossy().ends_with(extension)) {
                return path;
            }
            look.tick().await;
        }
    };
    let path = super::within(extension, saved).await;
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    (name, std::fs::read(path).expect("the download"))
}

/// Where the browser listens, once it has written that down.
fn endpoint(announced: &Path) -> Option<String> {
    let text = std::fs::read_to_string(announced).ok()?;
    let (port, path) = text.split_once('\n')?;
    Some(format!("ws://127.0.0.1:{port}{}", path.trim())).filter(|_| path.starts_with('/'))
}

fn violation(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            let entry = &params["entry"];
            Some(format!("{}: {} {}", entry["source"], entry["text"], entry["url"]))
        }
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        _ => None,
    }
}

/// Serves one small page, whose policy forbids the inline script in it, until dropped.
#[cfg(test)]
async fn small_page() -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    const BODY: &str = "<title>small</title><body style='background:#336699'><input autofocus>\
        <canvas width=2 height=1></canvas><script>document.title = 'bad'</script>";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" && {
                line.clear();
                stream.read_line(&mut line).await.unwrap_or(0) > 0
            } {}
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Content-Security-Policy: script-src 'none'\r\nConnection: close\r\n\r\n{BODY}",
                BODY.len()
            );
            let _ = stream.get_mut().write_all(head.as_bytes()).await;
        }
    });
    (url, server)
}

#[tokio::test]
async fn a_page_is_loaded_evaluated_typed_into_and_photographed() {
    let (url, server) = small_page().await;
    let browser = Browser::launch().await;
    let page = browser.page(&url).await;
    assert_eq!(page.eval::<String>("document.title").await, "small");
    assert_eq!(page.eval::<u32>("new Promise(done => setTimeout(() => done(6 * 7)))").await, 42);

    let violations = page.violations().await;
    assert!(violations.iter().any(|words| words.contains("CSP script-src")), "{violations:?}");

    page.click_on("input").await;
    page.type_text("echo \"Hi|~\" $((6*7))").await;
    page.key("Backspace").await;
    page.wait_for("document.querySelector('input').value === 'echo \"Hi|~\" $((6*7)'").await;
    let listen =
        "addEventListener('keydown', e => { window.chord = [e.key, e.ctrlKey, e.altKey, e.shiftKey] })";
    page.eval::<Value>(listen).await;
    page.key("Control+Alt+Delete").await;
    page.wait_for("chord + '' === 'Delete,true,true,false'").await;

    let paint = "(() => { const c = document.querySelector('canvas').getContext('2d'); \
        c.fillStyle = '#ff8000'; c.fillRect(1, 0, 1, 1); })()";
    page.eval::<Value>(paint).await;
    let picture = page.canvas("canvas").await;
    assert_eq!((picture.width, picture.at(1, 0)), (2, [0xff, 0x80, 0x00]));

    page.color_scheme("dark").await;
    page.wait_for("matchMedia('(prefers-color-scheme: dark)').matches").await;
    let dir = temp::dir();
    let file = dir.path().join("page.png");
    page.screenshot(&file).await;
    let png = std::fs::read(&file).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&png[16..24], [0, 0, 5, 0, 0, 0, 3, 32], "1280 by 800");
    server.abort();
}

#[tokio::test]
async fn what_never_comes_and_what_cannot_be_loaded_are_told() {
    let browser = Browser::launch().await;
    let page = browser.blank().await;
    let refused = page.goto("http://127.0.0.1:1/").await.unwrap_err();
    assert!(refused.starts_with("net::ERR_"), "{refused}");
    page.goto("data:text/html,<script>setTimeout(() => { throw new Error('oops') })</script>").await.unwrap();
    page.wait_for("new Promise(done => setTimeout(() => done(true)))").await;
    let violations = page.violations().await;
    assert!(violations.iter().any(|words| words.contains("oops")), "{violations:?}");
}
