//! Requests signed as Huawei's SDKs sign them: SDK-HMAC-SHA256.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Whose signature.
pub(crate) struct Signer<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret_key: &'a str,
    /// `X-Sdk-Date`.
    pub(crate) date: &'a str,
}

impl Signer<'_> {
    /// The header `Authorization` of a request: its method, its path without a query, all headers that are signed,
    /// their names, its body.
    pub(crate) fn sign(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        signed: &str,
        body: &str,
    ) -> String {
        let canonical: String = signed
            .split(';')
            .map(|name| {
                let (_, value) = headers.iter().find(|(known, _)| *known == name).expect("a signed header");
                format!("{name}:{value}\n")
            })
            .collect();
        let request = format!("{method}\n{path}/\n\n{canonical}\n{signed}\n{}", digest(body));
        let to_sign = format!("SDK-HMAC-SHA256\n{}\n{}", self.date, digest(&request));
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret_key.as_bytes()).expect("a key of any length");
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let access_key = self.access_key;
        format!(
            "Authorization: SDK-HMAC-SHA256 Access={access_key}, SignedHeaders={signed}, \
             Signature={signature}\r\n"
        )
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
