//! A live session as any process of the fleet can tell of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::tokens::{Grant, TokenKey};

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id. Not a capability.
    pub id: Uuid,
    /// What it was opened with.
    pub grant: Arc<Grant>,
    /// The hash of its token.
    pub key: TokenKey,
    /// The viewer's address.
    pub source: IpAddr,
    /// When it took its seat, whole seconds when another process says so.
    pub since: SystemTime,
    /// Whether it is a further channel of a SPICE viewer, who is counted with the main one.
    pub further: bool,
    /// When it entered, by the store's clock; none yet: [`u64::MAX`].
    pub entered: u64,
    /// Its proxy's name.
    pub proxy: String,
    /// What it has moved.
    pub moved: Moved,
}

/// Bytes of payload, and bytes a second when they were last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From the target.
    pub to_viewer: u64,
    /// From the viewer.
    pub to_target: u64,
    /// From the target, a second.
    pub viewer_rate: u64,
    /// From the viewer, a second.
    pub target_rate: u64,
}

/// What the store keeps of a session.
#[derive(Serialize, Deserialize)]
struct Record {
    id: Uuid,
    grant: Arc<Grant>,
    #[serde(with = "hex")]
    key: TokenKey,
    source: IpAddr,
    /// Seconds since 1970.
    since: u64,
    #[serde(default)]
    further: bool,
    proxy: String,
}

impl Listed {
    /// What others read of it, with its proxy's name.
    pub(super) fn record(&self, proxy: &str) -> String {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let record = Record {
            id: self.id,
            grant: Arc::clone(&self.grant),
            key: self.key,
            source: self.source,
            since,
            further: self.further,
            proxy: proxy.to_owned(),
        };
        // Strings and numbers: nothing that could fail.
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// Reads what another process wrote; `None`: it is of another version.
    pub(super) fn read(record: &str, moved: Option<&str>) -> Option<Self> {
        let Record { id, grant, key, source, since, further, proxy } = serde_json::from_str(record).ok()?;
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
        let moved = moved.and_then(Moved::read).unwrap_or_default();
        Some(Self { id, grant, key, source, since, further, entered: u64::MAX, proxy, moved })
    }
}

impl Moved {
    /// Four numbers.
    pub(super) fn write(self) -> String {
        format!("{} {} {} {}", self.to_viewer, self.to_target, self.viewer_rate, self.target_rate)
    }

    fn read(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [to_viewer, to_target, viewer_rate, target_rate] = numbers[..] else { return None };
        Some(Self { to_viewer, to_target, viewer_rate, target_rate })
    }
}

/// A token's hash in hexadecimal.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::json;
    use crate::tokens::TokenKey;

    pub(in super::super) fn serialize<S: Serializer>(key: &TokenKey, to: S) -> Result<S::Ok, S::Error> {
        let digits = key.as_bytes().iter().flat_map(|byte| json::hex(*byte));
        to.serialize_str(&digits.map(char::from).collect::<String>())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TokenKey, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || de::Error::custom("expected 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(TokenKey::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use crate::tokens::contract;

    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let session = Listed {
            id: Uuid::new_v4(),
            grant: Arc::new(contract::grant()),
            key: contract::key(),
            source: "2001:db8::1".parse().unwrap(),
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            further: true,
            entered: u64::MAX,
            proxy: "here".to_owned(),
            moved: Moved { to_viewer: 1, to_target: u64::MAX, viewer_rate: 3, target_rate: 0 },
        };
        let read = Listed::read(&session.record("here"), Some(&session.moved.write()));
        assert_eq!(read, Some(session.clone()));
        let still = Listed::read(&session.record("here"), None).unwrap();
        assert_eq!(still.moved, Moved::default());
        let short = session.record("here").replace("\"key\":\"", "\"key\":\"0");
        assert_eq!(Listed::read(&short, None), None);
        assert_eq!(Moved::read("1 2 3"), None);
    }
}
