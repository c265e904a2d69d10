//! What holds for the record layer whatever comes in; `cargo test` replays it and `cargo fuzz` can drive it.

use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher::{AeadKey, Iv};

use super::{Alert, Cipher, Fault, Kind, MAX_PLAIN, Received, Records, Rekey, Role, Version};

/// Keys that both ends of a test know: the next one is the last one with each byte moved by one.
#[derive(Clone, Copy, Debug)]
struct Shared(u8);

impl Shared {
    fn secrets(self) -> ConnectionTrafficSecrets {
        let (key, iv) = (AeadKey::from([self.0; 32]), Iv::from([self.0; 12]));
        ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    }

    fn next(&mut self) -> ConnectionTrafficSecrets {
        self.0 = self.0.wrapping_add(1);
        self.secrets()
    }
}

struct Pair {
    tx: Shared,
    rx: Shared,
}

impl Rekey for Pair {
    fn next_tx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        Ok(self.tx.next())
    }

    fn next_rx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        Ok(self.rx.next())
    }
}

/// A connection and the keys of its peer: one that seals for it, one that opens what it sends.
pub(super) struct Bench {
    pub(super) records: Records,
    pub(super) sealer: Cipher,
    #[cfg(test)]
    pub(super) opener: Cipher,
    version: Version,
    sealing: Shared,
    #[cfg(test)]
    opening: Shared,
}

impl Bench {
    pub(super) fn new(version: Version, role: Role) -> Result<Self, Alert> {
        let (ours, theirs) = (Shared(1), Shared(128));
        let cipher = |shared: Shared| Cipher::new(version, 0, &shared.secrets());
        let rekey = Box::new(Pair { tx: ours, rx: theirs });
        Ok(Self {
            records: Records::new(version, role, cipher(ours)?, cipher(theirs)?, rekey),
            sealer: cipher(theirs)?,
            #[cfg(test)]
            opener: cipher(ours)?,
            version,
            sealing: theirs,
            #[cfg(test)]
            opening: ours,
        })
    }

    /// The peer's key changes.
    pub(super) fn turn(&mut self) -> Result<(), Alert> {
        self.sealer = Cipher::new(self.version, 0, &self.sealing.next())?;
        Ok(())
    }

    /// Our key changes; so does the one that opens.
    #[cfg(test)]
    pub(super) fn follow(&mut self) {
        self.opener = Cipher::new(self.version, 0, &self.opening.next()).unwrap();
    }

    /// One record of the peer's, as it is received.
    pub(super) fn say(&mut self, kind: Kind, payload: &[u8], out: &mut [u8]) -> Result<Received, Fault> {
        let mut record = vec![0; payload.len() + self.sealer.overhead()];
        self.sealer.seal(kind, payload, &mut record).map_err(Fault::Ours)?;
        self.records.receive(&record, out)
    }
}

/// The first byte says which end and version; then each step is a record of the peer's, told by a byte for its
/// type and one for its length, or bytes that the peer never sealed. Panics if payload is not what was sealed, in
/// its order; if anything is received after a fault; or if more records in a row carry nothing than are let.
pub fn records(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let version = if first & 1 == 0 { Version::Tls13 } else { Version::Tls12 };
    let role = if first & 2 == 0 { Role::Server } else { Role::Client };
    let Ok(mut bench) = Bench::new(version, role) else { return };
    let mut out = vec![0; MAX_PLAIN + 512];
    let mut quiet = 0;
    while let [kind, length, after @ ..] = rest {
        let payload = &after[..usize::from(*length).min(after.len())];
        rest = &after[payload.len()..];
        let sealed = match kind % 6 {
            0 => Kind::Data,
            1 => Kind::Handshake,
            2 => Kind::Alert,
            3 => Kind::ChangeCipherSpec,
            4 => {
                forged(&mut bench, version, payload, &mut out);
                return;
            }
            _ => {
                if bench.records.send(payload, &mut out).is_err() {
                    assert_eq!(version, Version::Tls12, "only an exhausted key stops sending");
                }
                continue;
            }
        };
        let received = bench.say(sealed, payload, &mut out);
        quiet = if matches!(received, Ok(Received::Data(_))) { 0 } else { quiet + 1 };
        match received {
            Ok(Received::Data(count)) => {
                assert!(sealed == Kind::Data && &out[..count] == payload);
            }
            Ok(Received::Nothing) => {
                assert!(quiet <= 32, "records without payload are let {quiet} times in a row");
                let updated = version == Version::Tls13 && sealed == Kind::Handshake;
                // What a key update ends is told by its last bytes; the peer's key changes with ours.
                if updated && bench.records.rekeyed() && bench.turn().is_err() {
                    return;
                }
            }
            Ok(Received::Close) => {
                assert!(sealed == Kind::Alert && payload.get(1) == Some(&0));
                return;
            }
            Err(_) => return,
        }
    }
}

/// Bytes without the key are never payload.
fn forged(bench: &mut Bench, version: Version, bytes: &[u8], out: &mut [u8]) {
    if let Ok(Some(length)) = super::record_len(bytes, version)
        && let Some(record) = bytes.get(..length)
    {
        assert!(matches!(bench.records.receive(record, out), Err(Fault::Ours(_))));
    }
}
