//! A look at bytes of which more may come: who needs more says so, and looks again from the start.

use super::screen::ScreenError;

/// Why a message could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its rest has not come.
    More,
    /// It can never be.
    Bad(ScreenError),
}

impl From<ScreenError> for Stop {
    fn from(error: ScreenError) -> Self {
        Self::Bad(error)
    }
}

/// What is not yet taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Stop::More)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Stop::More)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Stop> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A length that stands before what it counts, which is not waited for beyond `most`.
    pub(super) fn length(&mut self, what: &'static str, most: usize) -> Result<usize, Stop> {
        let announced = self.u32()?;
        match usize::try_from(announced) {
            Ok(len) if len <= most => Ok(len),
            _ => Err(Stop::Bad(ScreenError::TooLong(what))),
        }
    }
}
