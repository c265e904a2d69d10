//! The document as a page: no script, one style, everything escaped.

use std::fmt::Write as _;

use serde_json::Value;

/// The page's only style; the answer's policy names its digest.
pub(super) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f4f4f4;padding:.75rem;overflow:auto}\
h3{border-top:1px solid #ccc;padding-top:1rem}h3 code{font-size:1rem}.m{font-weight:bold}\
table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;vertical-align:top}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}pre{background:#22252b}a{color:#8ab4f8}}";

/// Renders the page.
pub(super) fn render(document: &Value) -> String {
    let title = escape(text(&document["info"]["title"]));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1><p>{} Version {}. The same for programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
        escape(text(&document["info"]["description"])),
        escape(text(&document["info"]["version"])),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let _ = write!(page, "<h2>{}</h2><p>{}</p>", escape(name), escape(text(&tag["description"])));
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == name {
                    render_operation(&mut page, document, (method, path), operation);
                }
            }
        }
    }
    page.push_str("</html>\n");
    page
}

fn render_operation(page: &mut String, document: &Value, (method, path): (&str, &str), operation: &Value) {
    let method = method.to_uppercase();
    // Writing to a String cannot fail.
    let _ = write!(page, "<h3><span class=\"m\">{method}</span> <code>{}</code></h3>", escape(path));
    let (summary, more) = (text(&operation["summary"]), text(&operation["description"]));
    let _ = write!(page, "<p>{}. {}</p>", escape(summary), escape(more));
    let parameters: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        page.push_str("<table>");
        for parameter in parameters {
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let about = escape(text(&parameter["description"]));
            let _ = write!(page, "<tr><td><code>{}</code><td>{place}<td>{about}", escape(name));
        }
        page.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    if !body.is_null() {
        let _ = write!(page, "<p>Body, for example:<pre>{}</pre>", pretty(&body["example"]));
        let _ = write!(
            page,
            "<details><summary>Schema</summary><pre>{}</pre></details>",
            pretty(resolve(document, &body["schema"]))
        );
    }
    page.push_str("<table>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let about = escape(text(&resolve(document, response)["description"]));
        let _ = write!(page, "<tr><td>{}<td>{about}", escape(status));
    }
    page.push_str("</table>");
}

/// What a `$ref` points to, or the value itself.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
