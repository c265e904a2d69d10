//! Bytes of the operating system's generator, asked for a few tokens ahead.
//!
//! A system call costs more than all else that a token takes. What is fetched ahead is this thread's alone, and is
//! overwritten when it is given out.

use std::cell::RefCell;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::TokenError;

/// Bytes fetched at once: 32 tokens of the usual form. Few enough that what a snapshot of the machine's memory could
/// give away, or make two copies of the machine share, is small; more would save nothing that counts.
const AHEAD: usize = 512;

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::empty());
}

struct Pool {
    bytes: Zeroizing<[u8; AHEAD]>,
    /// So many have been given out, and are zero.
    used: usize,
}

/// `N` random bytes, at most [`AHEAD`].
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, TokenError> {
    const { assert!(N <= AHEAD) };
    POOL.with_borrow_mut(|pool| pool.take())
}

impl Pool {
    fn empty() -> Self {
        Self { bytes: Zeroizing::new([0; AHEAD]), used: AHEAD }
    }

    fn take<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, TokenError> {
        if AHEAD - self.used < N {
            // Should it fail halfway, nothing of it is used.
            self.used = AHEAD;
            SysRng.try_fill_bytes(&mut self.bytes[..]).map_err(|_| TokenError::Generator)?;
            self.used = 0;
        }
        let source = &mut self.bytes[self.used..self.used + N];
        let mut taken = Zeroizing::new([0; N]);
        taken.copy_from_slice(source);
        // The pool lives on and is read again, so the compiler cannot leave this out; byte by byte, as for memory that
        // is about to go, it would take longer than a token's hash.
        source.fill(0);
        self.used += N;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_given_out_twice_and_nothing_given_out_is_kept() {
        let mut pool = Pool::empty();
        let mut seen = HashSet::new();
        for round in 0..500 {
            let bytes: Vec<u8> = match round % 3 {
                0 => pool.take::<32>().unwrap().to_vec(),
                1 => pool.take::<16>().unwrap().to_vec(),
                _ => pool.take::<48>().unwrap().to_vec(),
            };
            assert!(pool.bytes[..pool.used].iter().all(|byte| *byte == 0));
            assert!(seen.insert(bytes[..16].to_vec()), "round {round}");
        }
    }

    #[test]
    fn threads_share_nothing() {
        let here = random::<16>().unwrap();
        let there = std::thread::spawn(|| random::<16>().unwrap()).join().unwrap();
        assert_ne!(*here, *there);
    }
}
