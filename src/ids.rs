//! The names all layers share: targets, projects, users, grants, requests, protocols.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written by whoever chose it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A server's id as the cloud knows it (usually a UUID, but opaque to us).
    TargetId
);
name!(
    /// The project (tenant) that owns a server or a caller acts for.
    ProjectId
);
name!(
    /// The user who asked for a console.
    UserId
);

/// Identifies a grant in logs, audit lines and revocations. Not a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantId(pub Uuid);

impl GrantId {
    /// A fresh one.
    pub fn random() -> Self {
        Self(random())
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

/// Which incarnation of a target a grant is for: a digest of what makes it the same machine at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// One request's id, from the API call to the session's end: `req-<uuid>`, as OpenStack clients expect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// A fresh one.
    pub fn random() -> Self {
        Self(random())
    }
}

/// A random UUID (RFC 9562, version 4) that names something and opens nothing: from this thread's generator, which
/// the operating system's has seeded.
fn random() -> Uuid {
    let mut generator = rand::rng();
    let bits = u128::from(generator.next_u64()) << 64 | u128::from(generator.next_u64());
    uuid::Builder::from_random_bytes(bits.to_ne_bytes()).into_uuid()
}

impl RequestId {
    /// What its text begins with.
    pub const PREFIX: &str = "req-";

    /// How long its text is.
    pub const LEN: usize = Self::PREFIX.len() + uuid::fmt::Hyphenated::LENGTH;

    /// Its text, in `buffer`.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::LEN]) -> &'a str {
        let (prefix, rest) = buffer.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX.as_bytes());
        self.0.hyphenated().encode_lower(rest);
        // ASCII, all of it.
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Self::LEN]))
    }
}

/// What runs between viewer and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFB (RFC 6143).
    Vnc,
    /// A character stream.
    Serial,
    /// SPICE, relayed as raw bytes.
    Spice,
    /// VMware's mouse-keyboard-screen, relayed as raw bytes.
    Mks,
}

impl Protocol {
    /// The lower-case name used in configuration, logs and APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Serial => "serial",
            Self::Spice => "spice",
            Self::Mks => "mks",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shown_as_clients_expect_them() {
        let id = Uuid::from_u128(0x47e9be4e_a7b9_471f_92d9_ffc83814e07a);
        assert_eq!(RequestId(id).to_string(), "req-47e9be4e-a7b9-471f-92d9-ffc83814e07a");
        assert_eq!(GrantId(id).to_string(), "47e9be4e-a7b9-471f-92d9-ffc83814e07a");
        assert_eq!((RequestId::random().0.get_version_num(), GrantId::random().0.get_version_num()), (4, 4));
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
