//! The table of embedded files, written by `build.rs` from the npm build of `web/`.

/// One embedded file.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Path below the page's directory: `vnc.html`, `assets/vnc-5NQ3TKHD.js`.
    pub(super) name: &'static str,
    /// Value of `Content-Type`.
    pub(super) content_type: &'static str,
    /// Hex digest of `body`, without quotes.
    pub(super) etag: &'static str,
    /// The bytes as they are.
    pub(super) body: &'static [u8],
    /// The same bytes compressed, where that pays.
    pub(super) gzip: Option<&'static [u8]>,
}

/// Every file the binary carries; empty if the pages were not built first.
pub(super) static EMBEDDED: &[File] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));
