//! A step with its keys and arguments, before it is decided whether it goes out alone or with others.

use serde::Serialize;
use uuid::Uuid;

use crate::json::hex;
use crate::tokens::{Nonce, TokenKey};

use super::names;
use super::script::Step;

/// One call of a step: words in one piece of memory, keys first.
pub(super) struct Call {
    pub(super) step: Step,
    keys: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Call {
    /// Begins one; its keys are added first.
    pub(super) fn new(step: Step) -> Self {
        // Most fit into this; only one that has a grant grows once.
        Self { step, keys: 0, text: Vec::with_capacity(512), ends: Vec::with_capacity(16) }
    }

    /// Begins one about a token, with the first `keys` of its three keys.
    pub(super) fn token(step: Step, key: &TokenKey, keys: usize) -> Self {
        let hash = names::hash(key);
        let mut call = Self::new(step);
        for kind in &names::OF_A_TOKEN[..keys] {
            call.text.extend_from_slice(kind.as_bytes());
            call.text.extend_from_slice(&hash);
            call.text.push(b'}');
            call.end();
        }
        call.keys = keys;
        call
    }

    /// Adds a key.
    pub(super) fn key(mut self, key: &str) -> Self {
        self.keys += 1;
        self.arg(key)
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, word: &str) -> Self {
        self.text.extend_from_slice(word.as_bytes());
        self.end();
        self
    }

    /// Adds a number.
    pub(super) fn number(self, number: impl itoa::Integer) -> Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    /// Adds an id.
    pub(super) fn uuid(self, id: Uuid) -> Self {
        self.arg(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    /// Adds a hash, in hexadecimal.
    pub(super) fn hash(mut self, hash: &TokenKey) -> Self {
        self.text.extend_from_slice(&names::hash(hash));
        self.end();
        self
    }

    /// Adds a nonce.
    pub(super) fn nonce(mut self, nonce: Nonce) -> Self {
        self.text.extend(nonce.0.to_be_bytes().into_iter().flat_map(hex));
        self.end();
        self
    }

    /// Adds what is JSON.
    ///
    /// # Errors
    /// If it has no such form.
    pub(super) fn json(mut self, value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_writer(&mut self.text, value)?;
        self.end();
        Ok(self)
    }

    fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.words().take(self.keys)
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.words().skip(self.keys)
    }

    /// How many keys, and how many arguments.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.keys, self.ends.len() - self.keys]
    }

    /// How many bytes its keys and arguments are.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(&0).chain(&self.ends);
        begins.zip(&self.ends).map(|(&from, &to)| &self.text[from..to])
    }

    /// If it is a claim: what gives back what it may have won.
    pub(super) fn give_back(&self) -> Option<Self> {
        let Self { keys, text, ends, .. } = self;
        let back = || Self { step: Step::Release, keys: *keys, text: text.clone(), ends: ends.clone() };
        (self.step == Step::Claim).then(back)
    }
}
