//! Microversions (nova API guide, "Microversions"): which version of the API a request speaks.

use hyper::header::HeaderName;
use hyper::{HeaderMap, StatusCode};

use super::super::answer::set;
use super::fault::Fault;

/// The header of all OpenStack services: `compute 2.N`, among others' perhaps.
static HEADER: HeaderName = HeaderName::from_static("openstack-api-version");

/// Nova's older header: `2.N`.
static LEGACY_HEADER: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

/// The N of `2.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Microversion(pub(super) u32);

impl Microversion {
    /// 2.1, what a request without a header speaks.
    pub(super) const MIN: Self = Self(1);
    /// 2.104, nova 34.0.0's newest.
    pub(super) const MAX: Self = Self(104);

    /// What the headers ask for. The common header wins over nova's own; of several values the last counts.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        if let Some(version) = usual(headers) {
            return Ok(version);
        }
        match common(headers).or_else(|| last(headers, &LEGACY_HEADER)) {
            None => Ok(Self::MIN),
            Some("latest") => Ok(Self::MAX),
            Some(text) => Self::parse(text),
        }
    }

    /// Tells the client which version it was answered in, under both names.
    pub(super) fn set(self, headers: &mut HeaderMap) {
        set(headers, HEADER.clone(), &format!("compute {self}"));
        set(headers, LEGACY_HEADER.clone(), &self.to_string());
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let Some((major, minor)) = text.split_once('.').filter(|(a, b)| is_major(a) && is_minor(b)) else {
            let message = format!(
                "API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
            );
            return Err(Fault::bad_request("microversion", message));
        };
        let version =
            minor.parse().ok().map(Self).filter(|version| (Self::MIN..=Self::MAX).contains(version));
        version.filter(|_| major == "2").ok_or_else(|| {
            let (min, max) = (Self::MIN, Self::MAX);
            let message =
                format!("Version {text} is not supported by the API. Minimum is {min} and maximum is {max}.");
            Fault::new(StatusCode::NOT_ACCEPTABLE, "microversion", message)
        })
    }
}

impl std::fmt::Display for Microversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_major(text: &str) -> bool {
    digits(text) && !text.starts_with('0')
}

fn is_minor(text: &str) -> bool {
    digits(text) && (text == "0" || !text.starts_with('0'))
}

/// The values of a header, last first; lists are split.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(name).into_iter().rev().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.rsplit(',')).map(str::trim)
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    values(headers, name).next()
}

/// What one header of the usual form asks for, `compute 2.N` alone; `None`: look closer.
fn usual(headers: &HeaderMap) -> Option<Microversion> {
    let mut sent = headers.get_all(&HEADER).iter();
    let minor = sent.next()?.as_bytes().strip_prefix(b"compute 2.")?;
    let number = match *minor {
        [b @ b'1'..=b'9'] => u32::from(b - b'0'),
        [a @ b'1'..=b'9', b @ b'0'..=b'9'] => u32::from(a - b'0') * 10 + u32::from(b - b'0'),
        _ => return None,
    };
    sent.next().is_none().then_some(Microversion(number))
}

fn common(headers: &HeaderMap) -> Option<&str> {
    let mut pairs = values(headers, &HEADER).filter_map(|value| value.split_once(char::is_whitespace));
    pairs.find(|(service, _)| service.eq_ignore_ascii_case("compute")).map(|(_, version)| version.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "openstack-api-version";
    const LEGACY_HEADER: &str = "x-openstack-nova-api-version";

    fn of(pairs: &[(&'static str, &str)]) -> Result<u32, (u16, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let version = Microversion::of(&headers);
        version.map(|version| version.0).map_err(|fault| (fault.status.as_u16(), fault.message.into_owned()))
    }

    #[test]
    fn headers_that_are_good() {
        let check =
            |pairs: &[(&'static str, &str)], minor: u32| assert_eq!(of(pairs), Ok(minor), "{pairs:?}");
        check(&[], 1);
        check(&[(HEADER, "compute 2.6")], 6);
        check(&[(HEADER, "Compute  2.6 ")], 6);
        check(&[(HEADER, "compute latest")], 104);
        check(&[(LEGACY_HEADER, "latest")], 104);
        check(&[(LEGACY_HEADER, "2.1")], 1);
        check(&[(LEGACY_HEADER, "2.104")], 104);
        check(&[(LEGACY_HEADER, "2.5, 2.7")], 7);
        check(&[(LEGACY_HEADER, "2.5"), (HEADER, "compute 2.96")], 96);
        check(&[(LEGACY_HEADER, "nonsense"), (HEADER, "compute 2.96")], 96);
        check(&[(LEGACY_HEADER, "2.5"), (HEADER, "identity 3.1")], 5);
        check(&[(HEADER, "identity 3.1, compute 2.9, placement 1.2")], 9);
        check(&[(HEADER, "compute 2.9, compute 2.8")], 8);
        check(&[(HEADER, "compute 2.9"), (HEADER, "compute 2.8")], 8);
        check(&[(HEADER, "2.9")], 1);
    }

    #[test]
    fn the_usual_form_means_what_any_form_does() {
        for minor in 0..=120 {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, format!("compute 2.{minor}").parse().unwrap());
            let slow = common(&headers).map(Microversion::parse).unwrap().ok();
            assert!(usual(&headers).is_none_or(|quick| Some(quick) == slow), "{minor}");
            assert_eq!(usual(&headers).is_some(), (1..=99).contains(&minor), "{minor}");
            headers.append(HEADER, "compute 2.7".parse().unwrap());
            assert_eq!(usual(&headers), None);
        }
    }

    #[test]
    fn headers_that_are_not() {
        let check = |value: &str, status: u16, message: &str| {
            let expected = Err((status, message.replace("{}", value)));
            assert_eq!(of(&[(LEGACY_HEADER, value)]), expected);
            assert_eq!(of(&[(HEADER, &format!("compute {value}"))]), expected);
        };
        let range = "Version {} is not supported by the API. Minimum is 2.1 and maximum is 2.104.";
        for value in ["2.0", "2.105", "1.1", "3.0", "3.6", "2.99999999999999999999"] {
            check(value, 406, range);
        }
        let form = "API Version String {} is of invalid format. Must be of format MajorNum.MinorNum.";
        for value in
            ["2", "2.", ".6", "2.06", "02.6", "2.6.1", "v2.6", "2.x", "Latest", "-2.6", "2.+6", "2 .6"]
        {
            check(value, 400, form);
        }
    }
}
