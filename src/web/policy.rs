//! The Content-Security-Policy of every answer: what a page may load, and who may frame it.

use hyper::header::HeaderValue;

use super::route::{OPERATOR_PAGE, RECORDINGS_PAGE, SERIAL_PAGE};

/// A `frame_ancestors` entry that is not one CSP source expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame_ancestors: {0:?} is not a CSP source such as \"https://dashboard.example.com\" or \"'self'\"")]
pub struct InvalidFrameAncestor(pub String);

/// One ready header value for each kind of answer.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    vnc: HeaderValue,
    serial: HeaderValue,
    operator: HeaderValue,
    recordings: HeaderValue,
    asset: HeaderValue,
}

impl Policies {
    pub(super) fn new(frame_ancestors: &[String]) -> Result<Self, InvalidFrameAncestor> {
        if let Some(bad) = frame_ancestors.iter().find(|source| !is_source(source)) {
            return Err(InvalidFrameAncestor(bad.clone()));
        }
        let ancestors =
            if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
        let page = |style: &str, ancestors: &str| {
            let policy = format!(
                "default-src 'none'; script-src 'self'; style-src {style}; img-src 'self' data:; font-src 'self'; \
                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
            );
            HeaderValue::from_str(&policy).map_err(|_| InvalidFrameAncestor(ancestors.to_owned()))
        };
        Ok(Self {
            vnc: page("'self'", &ancestors)?,
            // xterm.js makes style elements for its cell size and colours.
            serial: page("'self' 'unsafe-inline'", &ancestors)?,
            // A page that ends sessions by a click belongs into nobody's frame, dashboards included.
            operator: page("'self'", "'none'")?,
            recordings: page("'self' 'unsafe-inline'", "'none'")?,
            // An asset opened by itself is a document that may do nothing.
            asset: HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        })
    }

    pub(super) fn of(&self, page: &str) -> &HeaderValue {
        match page {
            SERIAL_PAGE => &self.serial,
            OPERATOR_PAGE => &self.operator,
            RECORDINGS_PAGE => &self.recordings,
            _ => &self.vnc,
        }
    }

    pub(super) fn asset(&self) -> &HeaderValue {
        &self.asset
    }
}

/// Visible ASCII without what would end the source, the directive or the policy.
fn is_source(source: &str) -> bool {
    !source.is_empty() && source.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_cannot_smuggle_directives() {
        let good = ["https://dashboard.example.com", "https://*.example.com:8443", "'self'", "https:", "*"];
        for source in good {
            assert!(Policies::new(&[source.to_owned()]).is_ok(), "{source}");
        }
        let bad = [
            "",
            "https://a https://b",
            "x; script-src *",
            "a,b",
            "https://a\r\nX: y",
            "https://b\u{fc}cher.example",
        ];
        for source in bad {
            let refused = Policies::new(&["https://a".to_owned(), source.to_owned()]);
            assert_eq!(refused.err(), Some(InvalidFrameAncestor(source.to_owned())), "{source:?}");
        }
    }
}
