//! The published vectors, every change of one bit, and what else is refused.

use std::sync::{Arc, LazyLock};

use hyper::header::HeaderName;
use hyper::{HeaderMap, Method};
use proptest::prelude::*;
use serde::Deserialize;

use crate::auth::Identified;
use crate::config::Role;

use super::*;

mod replay;

/// Signatures remembered of one key.
const MOST: usize = 1000;

/// A request that Huawei's own signer signed, with what it computed on the way.
#[derive(Deserialize)]
struct Vector {
    name: String,
    ak: String,
    sk: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    canonical_request: String,
    string_to_sign: String,
    signature: String,
    authorization: String,
}

fn vectors() -> &'static [Vector] {
    static ALL: LazyLock<Vec<Vector>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../../tests/data/sdk-hmac-vectors.json")).unwrap()
    });
    assert_eq!(ALL.len(), 5);
    &ALL
}

/// A request as it arrives.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    method: Vec<u8>,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    authorization: Vec<u8>,
    body: Vec<u8>,
}

impl Sent {
    fn of(vector: &Vector) -> Self {
        let (path, query) = vector.target.split_once('?').unwrap_or((&vector.target, ""));
        Self {
            method: vector.method.clone().into(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vector.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone().into())).collect(),
            authorization: vector.authorization.clone().into(),
            body: vector.body.clone().into(),
        }
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.headers.iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    /// The parts of an HTTP request, if it is one at all.
    fn parts(&self) -> Option<(Method, HeaderMap)> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().ok()?;
            map.append(name, hyper::header::HeaderValue::from_bytes(value).ok()?);
        }
        Some((Method::from_bytes(&self.method).ok()?, map))
    }

    /// Signs it with the vectors' key, over these headers.
    fn sign(&mut self, signed: &[&str]) {
        let (method, headers) = self.parts().unwrap();
        let head = Head { method: &method, path: &self.path, query: &self.query, headers: &headers };
        let canonical = Canonical::of(&head, signed).unwrap().with_body(&hex(&Sha256::digest(&self.body)));
        let date = String::from_utf8(self.header("x-sdk-date").clone()).unwrap();
        let text = format!("{ALGORITHM}\n{date}\n{}", hex(&Sha256::digest(canonical)));
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(vectors()[0].sk.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let (names, signature) = (signed.join(";"), hex(&mac.finalize().into_bytes()));
        self.authorization =
            format!("{ALGORITHM} Access={}, SignedHeaders={names}, Signature={signature}", vectors()[0].ak)
                .into();
    }
}

fn time(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).unwrap()
}

/// The date of all vectors.
fn then() -> SystemTime {
    time("2026-01-02T03:04:05Z")
}

fn key() -> AccessKey {
    let vector = &vectors()[0];
    AccessKey {
        access_key: vector.ak.clone(),
        secret_key: vector.sk.clone().into(),
        security_token: None,
        expires: None,
        user: "demo".into(),
        project: "p".into(),
        roles: vec!["member".to_owned()],
    }
}

fn auth(access_keys: Vec<AccessKey>) -> Auth {
    Auth { access_keys, signatures_per_key: MOST, ..Auth::default() }
}

fn keys_at(key: AccessKey, now: SystemTime) -> AccessKeys {
    AccessKeys::new(&auth(vec![key]), None, &Policy::new(Role::defaults()), Clock::manual_at(now))
}

fn ask(keys: &AccessKeys, sent: &Sent) -> Result<Arc<Caller>, AuthError> {
    let Some((method, headers)) = sent.parts() else { return Err(AuthError::Unauthenticated) };
    let head = Head { method: &method, path: &sent.path, query: &sent.query, headers: &headers };
    tokio_test::block_on(keys.check(&sent.authorization, &head)?.verify(&sent.body))
}

fn ask_fresh(sent: &Sent) -> Result<Arc<Caller>, AuthError> {
    ask(&keys_at(key(), then()), sent)
}

#[test]
fn the_vectors_pass_and_agree_on_every_step() {
    for vector in vectors() {
        let sent = Sent::of(vector);
        let (method, headers) = sent.parts().unwrap();
        let head = Head { method: &method, path: &sent.path, query: &sent.query, headers: &headers };
        let parsed = header::parse(&sent.authorization).unwrap();
        assert_eq!(hex(&parsed.signature), vector.signature, "{}", vector.name);
        let canonical = Canonical::of(&head, &parsed.signed_headers).unwrap();
        let request = canonical.with_body(&hex(&Sha256::digest(&sent.body)));
        assert_eq!(String::from_utf8(request.clone()).unwrap(), vector.canonical_request, "{}", vector.name);
        let text = format!("{ALGORITHM}\n20260102T030405Z\n{}", hex(&Sha256::digest(request)));
        assert_eq!(text, vector.string_to_sign, "{}", vector.name);
        assert_eq!(ask_fresh(&sent).unwrap().user.as_str(), "demo", "{}", vector.name);
    }
}

/// What the signer saw; two requests alike in this are one request.
fn meaning(sent: &Sent) -> Option<Vec<u8>> {
    let (method, headers) = sent.parts()?;
    let head = Head { method: &method, path: &sent.path, query: &sent.query, headers: &headers };
    let signed = header::parse(&sent.authorization).ok()?.signed_headers;
    Some(Canonical::of(&head, &signed).ok()?.with_body(&hex(&Sha256::digest(&sent.body))))
}

/// Every request that differs from `sent` in one bit of `part`.
fn flips(sent: &Sent, part: impl Fn(&mut Sent) -> &mut Vec<u8>) -> Vec<Sent> {
    let bits = part(&mut sent.clone()).len() * 8;
    let flip = |bit: usize| {
        let mut changed = sent.clone();
        part(&mut changed)[bit / 8] ^= 1 << (bit % 8);
        changed
    };
    (0..bits).map(flip).collect()
}

/// As [`flips`], of a part that is text: changes that are not UTF-8 cannot be in a request line.
fn text_flips(sent: &Sent, part: impl Fn(&mut Sent) -> &mut String) -> Vec<Sent> {
    let text = part(&mut sent.clone()).clone().into_bytes();
    let flip = |bit: usize| {
        let mut bytes = text.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut changed = sent.clone();
        *part(&mut changed) = String::from_utf8(bytes).ok()?;
        Some(changed)
    };
    (0..text.len() * 8).filter_map(flip).collect()
}

#[test]
fn every_change_of_one_bit_is_refused() {
    let mut checked = 0;
    for vector in vectors() {
        let sent = Sent::of(vector);
        let mut changed = flips(&sent, |sent| &mut sent.method);
        changed.extend(flips(&sent, |sent| &mut sent.body));
        changed.extend(flips(&sent, |sent| &mut sent.authorization));
        for (name, _) in &sent.headers {
            changed.extend(flips(&sent, |sent| sent.header(name)));
        }
        changed.extend(text_flips(&sent, |sent| &mut sent.path));
        changed.extend(text_flips(&sent, |sent| &mut sent.query));
        for one in &changed {
            let passed = ask_fresh(one).is_ok();
            // `%2B` and `%2b` are one path; anything else that passes is a forgery.
            let same = passed && one.authorization == sent.authorization && meaning(one) == meaning(&sent);
            assert!(!passed || same, "{}: {one:?}", vector.name);
            if passed {
                let only = (&one.path, &one.query) != (&sent.path, &sent.query);
                assert!(only, "only another spelling of the same URL may pass: {one:?}");
            }
        }
        checked += changed.len();
    }
    assert!(checked > 15_000, "{checked}");
}

#[test]
fn every_bit_of_the_signed_bytes_and_of_the_signature_counts() {
    for vector in vectors() {
        let signature = header::parse(vector.authorization.as_bytes()).unwrap().signature;
        let good = |text: &[u8], signature: &[u8]| {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(vector.sk.as_bytes()).unwrap();
            mac.update(text);
            mac.verify_slice(signature).is_ok()
        };
        let text = vector.string_to_sign.as_bytes();
        assert!(good(text, &signature));
        for bit in 0..text.len() * 8 {
            let mut changed = text.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!good(&changed, &signature), "{} {bit}", vector.name);
        }
        for bit in 0..256 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!good(text, &changed), "{} {bit}", vector.name);
        }
        let digest = Sha256::digest(&vector.canonical_request);
        for bit in 0..vector.canonical_request.len() * 8 {
            let mut changed = vector.canonical_request.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sha256::digest(changed), digest, "{} {bit}", vector.name);
        }
    }
}

#[test]
fn a_date_is_good_for_a_quarter_of_an_hour_either_way() {
    let sent = Sent::of(&vectors()[0]);
    let check = |now: &str, expected: Result<(), AuthError>| {
        assert_eq!(ask(&keys_at(key(), time(now)), &sent).map(|_| ()), expected, "{now}");
    };
    check("2026-01-02T03:19:05Z", Ok(()));
    check("2026-01-02T03:19:05.001Z", Err(AuthError::SignatureDate));
    check("2026-01-02T02:49:05Z", Ok(()));
    check("2026-01-02T02:49:04.999Z", Err(AuthError::SignatureDate));
    check("2027-01-02T03:04:05Z", Err(AuthError::SignatureDate));
    check("1970-01-01T00:00:00Z", Err(AuthError::SignatureDate));
}

#[test]
fn a_date_has_one_form() {
    for date in [
        "",
        "20260102T030405",
        "20260102T030405z",
        "20260102 030405Z",
        "2026-01-02T03:04:05Z",
        "20261302T030405Z",
        "20260231T030405Z",
        "20260102T250405Z",
        "20260102T030405ZZ",
        "+0260102T030405Z",
        "2026010éT03045Z",
    ] {
        let mut sent = Sent::of(&vectors()[0]);
        *sent.header("x-sdk-date") = date.into();
        assert!(matches!(ask_fresh(&sent), Err(AuthError::SignatureForm(_))), "{date}");
    }
}

#[test]
fn host_and_date_must_be_signed_and_every_signed_header_there_once() {
    let base = || Sent::of(&vectors()[0]);
    for signed in [&["host"][..], &["x-sdk-date"], &["content-type", "host"]] {
        let mut sent = base();
        sent.sign(signed);
        assert!(matches!(ask_fresh(&sent), Err(AuthError::SignatureForm(_))), "{signed:?}");
    }
    let mut sent = base();
    sent.sign(&["host", "x-sdk-date"]);
    assert!(ask_fresh(&sent).is_ok(), "other headers need not be signed");
    let twice =
        Sent { headers: [base().headers, vec![("host".into(), b"other".to_vec())]].concat(), ..base() };
    assert!(matches!(ask_fresh(&twice), Err(AuthError::SignatureForm(_))));
    let mut gone = base();
    gone.headers.retain(|(name, _)| name != "content-type");
    assert!(matches!(ask_fresh(&gone), Err(AuthError::SignatureForm(_))));
}

#[test]
fn the_body_is_the_signed_one() {
    let names = ["host", "x-sdk-content-sha256", "x-sdk-date"];
    let with = |declared: &str| {
        let mut sent = Sent::of(&vectors()[0]);
        sent.headers.push(("x-sdk-content-sha256".to_owned(), declared.into()));
        sent.sign(&names);
        sent
    };
    let digest = hex(&Sha256::digest(vectors()[0].body.as_bytes()));
    assert!(ask_fresh(&with(&digest)).is_ok());
    assert_eq!(ask_fresh(&with("UNSIGNED-PAYLOAD")), Err(AuthError::SignaturePayload));
    assert_eq!(ask_fresh(&with(&hex(&Sha256::digest(b"")))), Err(AuthError::SignaturePayload));
    assert_eq!(ask_fresh(&with(&digest.to_uppercase())), Err(AuthError::SignaturePayload));
    assert_eq!(ask_fresh(&with("")), Err(AuthError::SignaturePayload));
    let other = Sent { body: b"{}".to_vec(), ..with(&digest) };
    assert_eq!(ask_fresh(&other), Err(AuthError::SignaturePayload));
}

#[test]
fn temporary_credentials() {
    let names = ["host", "x-sdk-date", "x-security-token"];
    let token = |token: &str, names: &[&str]| {
        let mut sent = Sent::of(&vectors()[0]);
        sent.headers.push(("x-security-token".to_owned(), token.into()));
        sent.sign(names);
        sent
    };
    let temporary = || AccessKey { security_token: Some("session".into()), ..key() };
    let ask = |key: AccessKey, sent: &Sent| ask(&keys_at(key, then()), sent).map(|_| ());
    assert_eq!(ask(temporary(), &token("session", &names)), Ok(()));
    assert_eq!(ask(temporary(), &token("other", &names)), Err(AuthError::Unauthenticated));
    assert_eq!(ask(temporary(), &Sent::of(&vectors()[0])), Err(AuthError::Unauthenticated));
    assert_eq!(ask(key(), &token("session", &names)), Err(AuthError::Unauthenticated));
    let unsigned = ask(temporary(), &token("session", &names[..2]));
    assert!(matches!(unsigned, Err(AuthError::SignatureForm(_))));
    let ended = |end| AccessKey { expires: Some(time(end)), ..temporary() };
    assert_eq!(ask(ended("2026-01-02T03:04:06Z"), &token("session", &names)), Ok(()));
    let expired = ask(ended("2026-01-02T03:04:05Z"), &token("session", &names));
    assert_eq!(expired, Err(AuthError::CredentialExpired));
    let stolen = ask(ended("2026-01-02T03:04:05Z"), &token("guess", &names));
    assert_eq!(stolen, Err(AuthError::Unauthenticated), "that it expired is told to its holder alone");
}

#[test]
fn each_key_signs_for_itself() {
    let second =
        AccessKey { access_key: "AAA".into(), secret_key: "other".into(), user: "two".into(), ..key() };
    let policy = Policy::new(Role::defaults());
    let keys = AccessKeys::new(&auth(vec![key(), second]), None, &policy, Clock::manual_at(then()));
    let sent = Sent::of(&vectors()[0]);
    assert_eq!(ask(&keys, &sent).unwrap().user.as_str(), "demo");
    let text = String::from_utf8(sent.authorization.clone()).unwrap().replace(&vectors()[0].ak, "AAA");
    let taken = Sent { authorization: text.clone().into(), ..sent.clone() };
    assert_eq!(ask(&keys, &taken), Err(AuthError::Unauthenticated));
    let unknown = Sent { authorization: text.replace("AAA", "AAB").into(), ..sent };
    assert_eq!(ask(&keys, &unknown), Err(AuthError::Unauthenticated));
}

#[test]
fn the_authenticator_takes_one_credential() {
    let mut config = crate::config::Config::default_local().unwrap();
    config.auth.access_keys = vec![key()];
    let clock = Clock::manual_at(then());
    let sent = Sent::of(&vectors()[0]);
    let authorization = String::from_utf8(sent.authorization.clone()).unwrap();
    let check = |more: &[(&'static str, &str)], expected: bool| {
        let all = crate::auth::Authenticator::new(&config, &clock, None).unwrap();
        let (method, mut headers) = sent.parts().unwrap();
        for (name, value) in more {
            headers.append(*name, value.parse().unwrap());
        }
        let head = Head { method: &method, path: &sent.path, query: &sent.query, headers: &headers };
        let found = all.authenticate(&head).ok();
        assert_eq!(matches!(found, Some(Ok(Identified::Signed(_)))), expected, "{found:?}");
    };
    check(&[("authorization", &authorization)], true);
    check(&[("authorization", &authorization), ("authorization", &authorization)], false);
    check(&[("authorization", &authorization), ("x-auth-token", "x")], false);
    check(&[], false);
}

#[test]
fn debug_shows_no_secret() {
    let keys = keys_at(AccessKey { security_token: Some("session".into()), ..key() }, then());
    assert_eq!(format!("{keys:?}"), "AccessKeys(1)");
    let shown = format!("{:?}", key());
    assert!(!shown.contains(&vectors()[0].sk), "{shown}");
}

proptest! {
    /// The canonical form does not depend on how a path and a query were written.
    #[test]
    fn spelling_does_not_matter(segment in "[a-zA-Z0-9 ~+&=é]{1,12}", key in "[a-z]{1,4}", value in "[ -~]{0,8}") {
        let every = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let tidy = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
            .to_string();
        let headers = HeaderMap::new();
        let of = |path: String, query: String| {
            let head = Head { method: &Method::GET, path: &path, query: &query, headers: &headers };
            Canonical::of(&head, &[]).unwrap().with_body("")
        };
        let plain = of(format!("/v1/{}", tidy(&segment)), format!("{key}={}", tidy(&value)));
        let full = of(format!("/v1/{}/", every(&segment)), format!("&{}={}", every(&key), every(&value)));
        prop_assert_eq!(plain, full);
    }

    #[test]
    fn no_request_panics(path in "/[ -~]{0,20}", query in "[ -~]{0,20}", authorization in "[ -~]{0,80}") {
        let vector = &vectors()[0];
        let sent = Sent { path, query, authorization: authorization.into(), ..Sent::of(vector) };
        prop_assert!(ask_fresh(&sent).is_err());
    }
}
