//! A token made and read by the instructions that x86-64 processors have for AES, SHA-256 and vectors.
//!
//! Encryption in CBC and SHA-256 are chains of instructions, each of which waits for the one before, and leave most of
//! the processor idle. So the steps of a token are woven into each other: while one part of the message is encrypted, the
//! part before it is hashed, and the one before that becomes characters. What is decoded from a token is hashed in the
//! same way; nothing is decrypted before the tag has been compared. No branch and no address depends on a secret.
#![allow(unsafe_code)] // instructions that not every processor has, and unaligned loads

mod aes;
mod base64;
mod sha256;

use std::arch::x86_64::*;

use base64_simd::{AsOut, URL_SAFE};

use self::aes::Schedule;
use self::sha256::{State, Words};

/// What a token is encrypted and signed with: AES's round keys, and the two states of SHA-256 that HMAC's padded key
/// leads to. 240 bytes, wiped when dropped. There is one only where the processor has the instructions.
pub(crate) struct Keys {
    aes: Schedule,
    inner: State,
    outer: State,
}

/// Whether the processor has all of the instructions.
pub(crate) fn is_there() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("avx")
}

impl Keys {
    /// `None` on a processor that lacks an instruction.
    pub(crate) fn new(encryption: &[u8; 16], inner: &[u32; 8], outer: &[u32; 8]) -> Option<Self> {
        // SAFETY: the processor has the instructions.
        is_there().then(|| unsafe {
            Self {
                aes: Schedule::new(encryption),
                inner: State::new(inner),
                outer: State::new(outer),
            }
        })
    }

    /// Makes the token that fills `buffer`, out of the message that begins at `start` and ends with it: a header of
    /// `HEADER` bytes, of which the last 16 are the initialisation vector, the plaintext padded to whole blocks, and room
    /// for the tag.
    pub(crate) fn seal<const HEADER: usize>(&self, buffer: &mut [u8], start: usize) {
        // SAFETY: there are keys, so the processor has the instructions.
        unsafe { seal::<HEADER>(self, buffer, start) }
    }

    /// Decodes `token` into `message`, which is as long as that makes it. Gives the tag that it should end with, or `None`
    /// where the token is not base64.
    pub(crate) fn decode(&self, token: &[u8], message: &mut [u8]) -> Option<[u8; 32]> {
        // SAFETY: as above.
        unsafe { decode(self, token, message) }
    }

    /// Decrypts `blocks` in place, the first one chained to `iv`.
    pub(crate) fn decrypt(&self, iv: &[u8; aes::BLOCK], blocks: &mut [[u8; aes::BLOCK]]) {
        // SAFETY: as above.
        unsafe { self.aes.decrypt(iv, blocks) }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.aes.wipe();
        self.inner.wipe();
        self.outer.wipe();
    }
}

const TAG: usize = 32;

#[target_feature(enable = "aes,sha,avx")]
fn seal<const HEADER: usize>(keys: &Keys, buffer: &mut [u8], start: usize) {
    let end = buffer.len() - TAG;
    let mut chain = load(buffer, start + HEADER - aes::BLOCK);
    let mut state = keys.inner;
    let (mut sealed, mut hashed, mut encoded) = (start + HEADER, start, 0);
    while end - hashed >= sha256::BLOCK {
        // Only at the start: from then on encryption is ahead.
        while sealed < hashed + sha256::BLOCK {
            encrypt(keys, buffer, &mut sealed, end, &mut chain);
        }
        let (before, mut words) = (state, Words::of(buffer, hashed));
        state.quarter::<0>(&mut words);
        encrypt(keys, buffer, &mut sealed, end, &mut chain);
        state.quarter::<1>(&mut words);
        encrypt(keys, buffer, &mut sealed, end, &mut chain);
        state.quarter::<2>(&mut words);
        encrypt(keys, buffer, &mut sealed, end, &mut chain);
        state.quarter::<3>(&mut words);
        encrypt(keys, buffer, &mut sealed, end, &mut chain);
        state.add(before);
        hashed += sha256::BLOCK;
        encode(buffer, start, &mut encoded, hashed);
    }
    while sealed < end {
        encrypt(keys, buffer, &mut sealed, end, &mut chain);
    }
    let tag = state.tag(&buffer[hashed..end], end - start, keys.outer);
    buffer[end..].copy_from_slice(&tag);
    encode(buffer, start, &mut encoded, buffer.len() - size_of::<u32>());
    let mut rest = [0; base64::CHARACTERS];
    let bytes = &buffer[start + encoded * base64::BYTES..];
    let rest = &mut rest[..bytes.len()];
    rest.copy_from_slice(bytes);
    let _ = URL_SAFE.encode(rest, buffer[encoded * base64::CHARACTERS..].as_out());
}

/// Encrypts the next block, if there is one before `end`.
#[inline]
#[target_feature(enable = "aes,avx")]
fn encrypt(keys: &Keys, buffer: &mut [u8], next: &mut usize, end: usize, chain: &mut __m128i) {
    if *next < end {
        *chain = keys.aes.encrypt(load(buffer, *next), *chain);
        store(buffer, *next, *chain);
        *next += aes::BLOCK;
    }
}

/// Writes the characters of the bytes from `start` to `end` to the front of the buffer, as far as they make whole groups.
/// A group's place is never behind its bytes, since the characters of all of them fill the buffer.
#[inline]
#[target_feature(enable = "avx")]
fn encode(buffer: &mut [u8], start: usize, encoded: &mut usize, end: usize) {
    while start + (*encoded + 1) * base64::BYTES <= end {
        let bytes = load(buffer, start + *encoded * base64::BYTES);
        store(buffer, *encoded * base64::CHARACTERS, base64::encode(bytes));
        *encoded += 1;
    }
}

#[target_feature(enable = "aes,sha,avx")]
fn decode(keys: &Keys, token: &[u8], message: &mut [u8]) -> Option<[u8; TAG]> {
    let signed = message.len().checked_sub(TAG)?;
    // Each leaves room for the four bytes more that it writes.
    let groups = (message.len() - size_of::<u32>()) / base64::BYTES;
    let mut state = keys.inner;
    let mut wrong = _mm_setzero_si128();
    let (mut decoded, mut hashed) = (0, 0);
    loop {
        // A block ahead of what is hashed.
        let ahead = hashed + 2 * sha256::BLOCK;
        while decoded < groups && decoded * base64::BYTES < ahead {
            let characters = load(token, decoded * base64::CHARACTERS);
            let bytes = base64::decode(characters, &mut wrong);
            store(message, decoded * base64::BYTES, bytes);
            decoded += 1;
        }
        if signed - hashed < sha256::BLOCK {
            break;
        }
        state.compress(Words::of(message, hashed));
        hashed += sha256::BLOCK;
    }
    let (rest, place) = (
        &token[decoded * base64::CHARACTERS..],
        &mut message[decoded * base64::BYTES..],
    );
    let length = place.len();
    let is_whole = URL_SAFE.decode(rest, place.as_out()).ok()?.len() == length;
    let is_base64 = is_whole && _mm_testz_si128(wrong, wrong) == 1;
    is_base64.then(|| state.tag(&message[hashed..signed], signed, keys.outer))
}

/// The 16 bytes from `at` on.
#[inline]
fn load(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 16];
    // SAFETY: SSE2, which every x86-64 processor has; the 16 bytes are there, and may lie anywhere.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Writes the 16 bytes from `at` on.
#[inline]
fn store(bytes: &mut [u8], at: usize, value: __m128i) {
    let bytes = &mut bytes[at..at + 16];
    // SAFETY: as above.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}
