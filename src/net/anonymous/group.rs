//! The server's Diffie-Hellman group, what of it is accepted, and the arithmetic.

use std::fmt;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use zeroize::{Zeroize, Zeroizing};

use super::error::Error;

/// Bits of the shortest prime: what GnuTLS, and so QEMU and Xvnc, have at least. A listener with the means of a
/// state breaks 1024 bits once for all servers that share them, as servers do (RFC 7919 section 1, Logjam).
pub const MIN_PRIME: usize = 2048;

/// Bits of the longest prime, ffdhe8192's; a longer one costs us more time than it costs a listener.
pub const MAX_PRIME: usize = 8192;

/// Bytes of our exponent. RFC 7919 section 5.2 asks for 400 bits with its longest group; the rest is for groups
/// whose order has small factors, each of which tells a listener some of it.
pub const EXPONENT: usize = 64;

/// Bytes of the server's values at most; leading zeros do not count.
pub(super) const MAX_VALUE: usize = MAX_PRIME / 8;

/// ServerDHParams (RFC 5246 section 7.4.3), checked.
#[derive(Clone)]
pub(super) struct Group {
    prime: Odd<BoxedUint>,
    bits: u32,
    generator: BoxedUint,
    public: BoxedUint,
}

impl Group {
    /// Whether the prime is one is not looked at: a server with another gives away what it itself sends.
    ///
    /// # Errors
    /// If the prime is too short or too long, or a value can be used to learn the secret.
    pub(super) fn new(prime: &[u8], generator: &[u8], public: &[u8]) -> Result<Self, Error> {
        let prime = trimmed(prime);
        let leading = prime.first().map_or(0, |byte| byte.leading_zeros());
        let length = (prime.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0));
        if !(MIN_PRIME..=MAX_PRIME).contains(&length) {
            return Err(Error::PrimeLength(length));
        }
        let bits = u32::try_from(prime.len() * 8).map_err(|_| Error::Internal)?;
        let number = |bytes: &[u8], wrong| {
            BoxedUint::from_be_slice(trimmed(bytes), bits).map_err(|_| Error::Parameter(wrong))
        };
        let prime = BoxedUint::from_be_slice(prime, bits).map_err(|_| Error::Internal)?;
        let prime = Option::from(Odd::new(prime)).ok_or(Error::Parameter("prime is even"))?;
        let group = Self {
            generator: number(generator, OUT_OF_RANGE.0)?,
            public: number(public, OUT_OF_RANGE.1)?,
            prime,
            bits,
        };
        group.check(&group.generator, OUT_OF_RANGE.0)?;
        group.check(&group.public, OUT_OF_RANGE.1)?;
        Ok(group)
    }

    /// 1 and p-1, or what is them modulo p, make a secret that everybody knows. All of it is public.
    fn check(&self, value: &BoxedUint, wrong: &'static str) -> Result<(), Error> {
        let one = BoxedUint::one_with_precision(value.bits_precision());
        let last = self.prime.as_ref().wrapping_sub(&one);
        match value.cmp_vartime(&one).is_gt() && value.cmp_vartime(&last).is_lt() {
            true => Ok(()),
            false => Err(Error::Parameter(wrong)),
        }
    }

    /// Bytes of the prime.
    fn len(&self) -> usize {
        usize::try_from(self.bits / 8).unwrap_or(0)
    }
}

const OUT_OF_RANGE: (&str, &str) =
    ("generator is not between 1 and p-1", "public value is not between 1 and p-1");

fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}

/// Two powers to be computed: milliseconds with 2048 bits, tenths of a second with 8192. It is the caller's to do
/// where nobody else waits for it.
pub struct Agreement {
    pub(super) group: Group,
    pub(super) exponent: Zeroizing<[u8; EXPONENT]>,
}

/// What came of an [`Agreement`].
pub struct Agreed {
    /// Our public value, as long as the prime.
    pub(super) public: Vec<u8>,
    /// The shared secret without its leading zeros (RFC 5246 section 8.1.2). Their number shows in the time that
    /// follows, which tells something of a secret to who can ask again with the same exponent: nobody can.
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl Agreement {
    /// Computes both. The time it takes depends on the prime's length, and on the zeros in front of the secret.
    ///
    /// # Errors
    /// If the secret is one that everybody knows: the prime is none.
    pub fn compute(self) -> Result<Agreed, Error> {
        let Group { prime, bits, generator, public } = &self.group;
        let exponent_bits = u32::try_from(EXPONENT * 8).map_err(|_| Error::Internal)?;
        let exponent = BoxedUint::from_be_slice(&self.exponent[..], exponent_bits);
        let exponent = Zeroizing::new(exponent.map_err(|_| Error::Internal)?);
        let params = BoxedMontyParams::new(prime.clone());
        let power = |base: &BoxedUint| {
            let power = BoxedMontyForm::new(base.clone(), &params).pow_bounded_exp(&exponent, exponent_bits);
            power.retrieve()
        };
        let ours = power(generator);
        let mut shared = power(public);
        let mut bytes = Zeroizing::new(shared.to_be_bytes().into_vec());
        shared.zeroize();
        // The library's numbers are whole words.
        let excess = bytes.len().saturating_sub(self.group.len());
        bytes.drain(..excess);
        let secret = Zeroizing::new(trimmed(&bytes).to_vec());
        debug_assert_eq!(bytes.len() * 8, usize::try_from(*bits).unwrap_or(0));
        if secret.is_empty() || secret[..] == [1] {
            return Err(Error::Parameter("values make no secret"));
        }
        let ours = ours.to_be_bytes();
        let public = ours[ours.len().saturating_sub(self.group.len())..].to_vec();
        Ok(Agreed { public, secret })
    }
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreement").field("bits", &self.group.bits).finish_non_exhaustive()
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agreed(..)")
    }
}
