//! `Authorization: SDK-HMAC-SHA256 Access=<AK>, SignedHeaders=a;b;c, Signature=<64 hex>`.

use crate::auth::AuthError;

use super::ALGORITHM;

/// Other algorithms of the same kind, to be named in the refusal; the longest of those that begin alike first.
const OTHERS: [&str; 6] = [
    "SDK-HMAC-SM3",
    "SDK-ECDSA-P256-SHA256",
    "SDK-SM2-SM3",
    "V11-HMAC-SHA256",
    "V11-HMAC-SM3",
    "AWS4-HMAC-SHA256",
];

/// More headers than any client signs; the SDKs sign five.
const MOST_HEADERS: usize = 64;

/// What the header says, of the one algorithm there is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    pub(super) access_key: &'a str,
    /// Lower case, sorted, each once.
    pub(super) signed_headers: Vec<&'a str>,
    pub(super) signature: [u8; 32],
}

/// Reads the header's value. Another scheme is no credential; another algorithm is told.
pub(super) fn parse(value: &[u8]) -> Result<Authorization<'_>, AuthError> {
    const FORM: AuthError =
        AuthError::SignatureForm("Authorization must have Access, SignedHeaders and Signature");
    let text = std::str::from_utf8(value).map_err(|_| AuthError::Unauthenticated)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme != ALGORITHM {
        let other = OTHERS.into_iter().find(|name| *name == scheme);
        return Err(other.map_or(AuthError::Unauthenticated, AuthError::Algorithm));
    }
    let mut fields = rest.split(',').map(|field| field.trim().split_once('='));
    let mut field = |name| match fields.next() {
        Some(Some((key, value))) if key == name && !value.is_empty() => Ok(value),
        _ => Err(FORM),
    };
    let access_key = field("Access")?;
    let signed_headers = signed_headers(field("SignedHeaders")?)?;
    let signature = signature(field("Signature")?)?;
    if fields.next().is_some() {
        return Err(FORM);
    }
    Ok(Authorization { access_key, signed_headers, signature })
}

/// Signers sort the names and write them in lower case; any other list has a second reading.
fn signed_headers(list: &str) -> Result<Vec<&str>, AuthError> {
    let names: Vec<&str> = list.split(';').collect();
    let name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    };
    if names.len() > MOST_HEADERS || !names.iter().all(name) || !names.is_sorted_by(|a, b| a < b) {
        return Err(AuthError::SignatureForm("SignedHeaders must be sorted lower-case names, each once"));
    }
    Ok(names)
}

/// 64 hexadecimal digits, lower case: one text for one signature.
fn signature(text: &str) -> Result<[u8; 32], AuthError> {
    const FORM: AuthError = AuthError::SignatureForm("Signature must be 64 lower-case hexadecimal digits");
    let digit = |b: u8| match b {
        b'0'..=b'9' => Ok(b - b'0'),
        b'a'..=b'f' => Ok(b - b'a' + 10),
        _ => Err(FORM),
    };
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(FORM);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNATURE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn what_the_sdks_send() {
        let value =
            format!("SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature={SIGNATURE}");
        let parsed = parse(value.as_bytes()).unwrap();
        assert_eq!((parsed.access_key, parsed.signed_headers), ("AK", vec!["host", "x-sdk-date"]));
        assert_eq!(parsed.signature[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(parsed.signature[28..], [0xcc, 0xdd, 0xee, 0xff]);
    }

    #[test]
    fn other_algorithms_are_named() {
        for name in OTHERS {
            let value = format!("{name} Access=AK, SignedHeaders=host;x-sdk-date, Signature={SIGNATURE}");
            assert_eq!(parse(value.as_bytes()), Err(AuthError::Algorithm(name)));
        }
        for other in ["Basic dTpw", "Bearer x", "", "SDK-HMAC-SHA512 Access=AK", "sdk-hmac-sha256 Access=AK"]
        {
            assert_eq!(parse(other.as_bytes()), Err(AuthError::Unauthenticated), "{other}");
        }
    }

    #[test]
    fn anything_with_a_second_reading_is_refused() {
        let good = format!("Access=AK, SignedHeaders=host;x-sdk-date, Signature={SIGNATURE}");
        for (from, to) in [
            ("Access=AK", "Access="),
            ("Access=AK", "access=AK"),
            ("Access=AK, ", ""),
            ("host;x-sdk-date", "x-sdk-date;host"),
            ("host;x-sdk-date", "host;host;x-sdk-date"),
            ("host;x-sdk-date", "Host;x-sdk-date"),
            ("host;x-sdk-date", "host;;x-sdk-date"),
            ("host;x-sdk-date", "host;x-sdk-date;"),
            ("00112233", "0011223"),
            ("aabb", "AABB"),
            ("00112233", "0x112233"),
            ("eeff\"", "eeff, Access=BK"),
            ("Signature=", "Signature=a"),
        ] {
            let value = format!("SDK-HMAC-SHA256 {good}\"").replacen(from, to, 1).replace('"', "");
            assert!(matches!(parse(value.as_bytes()), Err(AuthError::SignatureForm(_))), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&value);
        }

        #[test]
        fn nothing_near_the_form_panics(rest in "[ -~]{0,40}", name in "(Access|SignedHeaders|Signature)=") {
            let _ = parse(format!("SDK-HMAC-SHA256 {name}{rest}").as_bytes());
            let _ = parse(format!("SDK-HMAC-SHA256 Access=A, SignedHeaders={rest}, {name}").as_bytes());
        }
    }
}
