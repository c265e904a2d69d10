//! Why requests are refused, for all dialects: one code a cause, its meaning and its remedy.
//!
//! A code never changes its meaning; a new cause gets the next number. The README's table is this one.

use hyper::StatusCode;

/// The header that names the code in every dialect, also in those whose body has no place for it.
pub(super) const HEADER: &str = "x-error-code";

/// Why a request was refused, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The code clients get: `CONSOLE.0001` and on.
    pub code: &'static str,
    /// The word in logs, by which the rest of the issuer names the cause.
    pub word: &'static str,
    /// The statuses it is answered with; dialects differ.
    pub statuses: &'static [u16],
    /// What is wrong, in Markdown.
    pub meaning: &'static str,
    /// What helps, in Markdown.
    pub remedy: &'static str,
}

/// The code of a cause.
pub(super) fn code(word: &str) -> &'static str {
    find(word).map_or("CONSOLE.0000", |cause| cause.code)
}

/// Whether the cause is in the table with this status.
pub(super) fn is_documented(word: &str, status: StatusCode) -> bool {
    find(word).is_some_and(|cause| cause.statuses.contains(&status.as_u16()))
}

fn find(word: &str) -> Option<&'static Cause> {
    CAUSES.iter().find(|cause| cause.word == word)
}

const fn cause(
    code: &'static str,
    word: &'static str,
    statuses: &'static [u16],
    meaning: &'static str,
    remedy: &'static str,
) -> Cause {
    Cause { code, word, statuses, meaning, remedy }
}

/// All there are, in the order of their codes.
pub static CAUSES: &[Cause] = &[
    cause(
        "CONSOLE.0001",
        "unauthenticated",
        &[401],
        "The credential is missing, wrong or expired, or there are two.",
        "Send one valid credential.",
    ),
    cause(
        "CONSOLE.0002",
        "project",
        &[403, 400],
        "The project in the URL or in `X-Project-Id` is not the credential's (OpenStack answers 400).",
        "Use the project the credential is for.",
    ),
    cause(
        "CONSOLE.0003",
        "policy",
        &[403],
        "No role of the caller permits it; the answer names the permission.",
        "Give the caller a role that has the permission: by default `member` or `admin`.",
    ),
    cause(
        "CONSOLE.0004",
        "no-server",
        &[404],
        "No such server, or another project's, or of a kind that this API does not see.",
        "Check the id, and that the target's `project` and `kind` are right in the inventory.",
    ),
    cause("CONSOLE.0005", "no-route", &[404], "No such path in this API.", "Check the path and its version."),
    cause(
        "CONSOLE.0006",
        "method",
        &[405],
        "The path takes another method.",
        "Use a method that the header `Allow` names.",
    ),
    cause(
        "CONSOLE.0007",
        "media-type",
        &[415],
        "The body is said to be something other than JSON.",
        "Send `Content-Type: application/json`.",
    ),
    cause(
        "CONSOLE.0008",
        "malformed-body",
        &[400],
        "The body is not the JSON it should be.",
        "Send the body that the API's documentation shows.",
    ),
    cause(
        "CONSOLE.0009",
        "schema",
        &[400],
        "A field of the body is missing, unknown or has a value it cannot have.",
        "Correct the field that the answer names.",
    ),
    cause(
        "CONSOLE.0010",
        "microversion",
        &[400, 406],
        "The microversion is malformed, not known here, or does not have this API.",
        "Ask for 2.1 to 2.104, or `latest`.",
    ),
    cause(
        "CONSOLE.0011",
        "query",
        &[400],
        "A query parameter has a value it cannot have.",
        "Correct the parameter that the answer names.",
    ),
    cause(
        "CONSOLE.0012",
        "not-offered",
        &[400],
        "No URL template is configured for this console type.",
        "Ask for another type, or set its template in `[urls]`.",
    ),
    cause(
        "CONSOLE.0013",
        "bad-pair",
        &[400],
        "Protocol and type do not belong together.",
        "Ask for vnc/novnc, serial/serial, spice/spice-html5, spice/spice-direct or mks/webmks.",
    ),
    cause(
        "CONSOLE.0014",
        "no-action",
        &[400],
        "No such server action here.",
        "Use `os-getVNCConsole`, `os-getSerialConsole`, `os-getSPICEConsole` or `os-getMKSConsole`.",
    ),
    cause(
        "CONSOLE.0015",
        "not-ready",
        &[409],
        "The server is building, being deleted or migrated, or a stopped virtual machine.",
        "Wait for the server, or start it.",
    ),
    cause(
        "CONSOLE.0016",
        "no-console",
        &[501, 400],
        "The server has no console of this protocol (Huawei's APIs answer 400).",
        "Ask for another console, or add the endpoint to the target.",
    ),
    cause(
        "CONSOLE.0017",
        "windows",
        &[400],
        "Windows bare-metal servers have no remote login in the BMS API.",
        "Use the server's VNC console, or Windows' own remote desktop.",
    ),
    cause(
        "CONSOLE.0018",
        "issue-rate",
        &[429],
        "The caller asks for URLs faster than `limits.issue_per_second`.",
        "Wait as long as `Retry-After` says.",
    ),
    cause(
        "CONSOLE.0019",
        "outstanding",
        &[429],
        "The server has as many unopened URLs as `limits.outstanding_per_target`.",
        "Open one of them, or wait until one expires.",
    ),
    cause(
        "CONSOLE.0020",
        "body-too-large",
        &[413],
        "The body is larger than 64 KiB.",
        "Send the body that the API's documentation shows.",
    ),
    cause(
        "CONSOLE.0021",
        "body-too-slow",
        &[408],
        "The body did not arrive within 10 seconds.",
        "Check the network between client and issuer, then try again.",
    ),
    cause(
        "CONSOLE.0022",
        "store",
        &[503],
        "The token store is full or does not answer.",
        "Try again after `Retry-After`; if it stays, raise `tokens.capacity` or shorten `tokens.ttl`.",
    ),
    cause(
        "CONSOLE.0023",
        "generator",
        &[503],
        "The operating system gives no random bytes.",
        "Try again after `Retry-After`; if it stays, look at the issuer's log.",
    ),
    cause(
        "CONSOLE.0024",
        "lifetime",
        &[500],
        "The configured lifetime of a token is none that may be used.",
        "Correct `tokens.ttl`, `tokens.max_ttl` or `[api.ttl]`.",
    ),
    cause(
        "CONSOLE.0025",
        "no-token",
        &[404],
        "No such token, or it is expired or spent, or its server is no longer there.",
        "Ask for a new URL.",
    ),
    cause(
        "CONSOLE.0026",
        "unscoped-token",
        &[401],
        "The token is for no project.",
        "Log in with a project, then try again.",
    ),
    cause(
        "CONSOLE.0027",
        "signature-algorithm",
        &[401],
        "The request is signed with an algorithm that is not supported.",
        "Sign with SDK-HMAC-SHA256.",
    ),
    cause(
        "CONSOLE.0028",
        "signature-form",
        &[401],
        "The signature lacks something, or is malformed; the answer says what.",
        "Sign `host` and `x-sdk-date` at least, as the SDKs do.",
    ),
    cause(
        "CONSOLE.0029",
        "signature-date",
        &[401],
        "The request was signed more than 15 minutes ago, or in the future.",
        "Set the client's clock, then try again.",
    ),
    cause(
        "CONSOLE.0030",
        "signature-payload",
        &[401],
        "The body is not the one that was signed, or was not signed.",
        "Sign the body that is sent.",
    ),
    cause(
        "CONSOLE.0031",
        "signature-replayed",
        &[401],
        "A request with this signature was here before.",
        "Sign anew in the next second: `X-Sdk-Date` counts seconds.",
    ),
    cause(
        "CONSOLE.0032",
        "credential-expired",
        &[401],
        "The temporary credential has expired.",
        "Get a new one.",
    ),
    cause(
        "CONSOLE.0033",
        "access-key-busy",
        &[429],
        "More signed requests with one access key than `auth.signatures_per_key`.",
        "Try again after `Retry-After`, or raise the limit.",
    ),
    cause(
        "CONSOLE.0034",
        "passwords-busy",
        &[503],
        "More passwords are being checked than there is time for.",
        "Try again after `Retry-After`, or use a token.",
    ),
    cause(
        "CONSOLE.0035",
        "identity",
        &[503],
        "The identity service cannot be asked.",
        "Try again after `Retry-After`; if it stays, look at `[auth.keystone]` and the issuer's log.",
    ),
    cause(
        "CONSOLE.0036",
        "ttl",
        &[400],
        "The lifetime asked for is zero or above `tokens.max_ttl`.",
        "Ask for less, or leave it out.",
    ),
    cause(
        "CONSOLE.0037",
        "view-only",
        &[400],
        "View-only was asked for a console whose input is not filtered in this version.",
        "Ask for a VNC or serial console, or leave it out.",
    ),
    cause(
        "CONSOLE.0038",
        "uses",
        &[400],
        "More than one use of a token was asked for.",
        "Ask for one URL a session.",
    ),
    cause(
        "CONSOLE.0039",
        "record",
        &[400],
        "A recording was asked for where none can be made: there is no `[recording]`, or the console is SPICE or MKS.",
        "Leave it out, or ask the operator.",
    ),
    cause(
        "CONSOLE.0040",
        "not-owner",
        &[403],
        "The token is another user's.",
        "Let its user or an administrator revoke it.",
    ),
    cause(
        "CONSOLE.0041",
        "audit",
        &[503],
        "The audit log cannot be written, and nothing is issued without it.",
        "Try again after `Retry-After`; if it stays, look at the disk of `audit.file`.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_count_up_and_words_are_unique() {
        for (at, cause) in CAUSES.iter().enumerate() {
            assert_eq!(cause.code, format!("CONSOLE.{:04}", at + 1));
            assert!(!cause.statuses.is_empty() && !cause.meaning.is_empty() && !cause.remedy.is_empty());
        }
        let words: BTreeSet<_> = CAUSES.iter().map(|cause| cause.word).collect();
        assert_eq!(words.len(), CAUSES.len());
    }

    #[test]
    fn the_readme_has_the_table() {
        let row = |cause: &Cause| {
            let statuses: Vec<_> = cause.statuses.iter().map(u16::to_string).collect();
            let statuses = statuses.join(", ");
            format!("| {} | {} | {statuses} | {} | {} |", cause.code, cause.word, cause.meaning, cause.remedy)
        };
        let head = "| code | cause in the log | status | meaning | remedy |\n|---|---|---|---|---|";
        let rows: Vec<_> = CAUSES.iter().map(row).collect();
        let table = format!("{head}\n{}\n", rows.join("\n"));
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&table), "put this into README.md, in place of the old table:\n\n{table}");
    }
}
