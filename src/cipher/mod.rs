//! A key's bytes -> encrypt, decrypt; the only file that knows Fernet.
//!
//! The format is the Fernet specification's (<https://github.com/fernet/spec/blob/master/Spec.md>):
//! `base64url(0x80 ‖ time ‖ iv ‖ AES-128-CBC(plaintext, PKCS #7) ‖ HMAC-SHA256)`. The `fernet` crate
//! expands the key for every call; here that is done once per key, and the crate is the reference that the
//! tests compare with. Stored entries have no maximum age, so the time in a token is never compared with a
//! clock: a node whose clock lags reads them too.

mod mac;
mod path;
mod portable;
mod subkey;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::fmt;
use std::ops::Range;

use base64_simd::{AsOut, URL_SAFE, URL_SAFE_NO_PAD};
use cbc::cipher::block_padding::{Padding, Pkcs7};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use self::mac::Mac;
pub use self::path::{Path, crates_use_instructions};
pub use self::subkey::{Context, MasterKey};
use crate::error::Error;
use crate::secret::{SecretBytes, SecretString};
use crate::system::process;

const VERSION: u8 = 0x80;
const TIME: Range<usize> = 1..9;
const IV: Range<usize> = 9..25;
const HEADER: usize = 25;
const BLOCK: usize = 16;
const TAG: usize = 32;

/// An initialisation vector: 16 unpredictable bytes, never used twice.
pub type Iv = [u8; BLOCK];

/// Not a token, or not under this key. Which of the two is not told: an oracle would be.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUnderThisKey;

/// One Fernet key, ready to use. Wiped when dropped.
pub struct Cipher(Keys);

enum Keys {
    #[cfg(target_arch = "x86_64")]
    Instructions(x86_64::Keys),
    Portable(portable::Keys),
}

/// Calls a method that all keys have.
macro_rules! with {
    ($keys:expr, $method:ident $(::<$constant:ident>)? ($($argument:expr),*)) => {
        match $keys {
            #[cfg(target_arch = "x86_64")]
            Keys::Instructions(keys) => keys.$method$(::<$constant>)?($($argument),*),
            Keys::Portable(keys) => keys.$method$(::<$constant>)?($($argument),*),
        }
    };
}

impl Cipher {
    /// The cipher of a key's 32 bytes: the first half signs, the second encrypts.
    fn of(key: &[u8; 2 * BLOCK]) -> Self {
        let mut signing = [0; mac::BLOCK];
        signing[..BLOCK].copy_from_slice(&key[..BLOCK]);
        let mut encryption = [0; BLOCK];
        encryption.copy_from_slice(&key[BLOCK..]);
        let cipher = Self::new(&encryption, Mac::padded(&signing));
        signing.zeroize();
        encryption.zeroize();
        cipher
    }

    /// By the path that serves this process.
    fn new(encryption: &[u8; 16], mac: Mac) -> Self {
        #[cfg(target_arch = "x86_64")]
        if Path::of_this_process() == Path::Instructions
            && let Some(keys) = x86_64::Keys::new(encryption, &mac.inner, &mac.outer)
        {
            return Self(Keys::Instructions(keys));
        }
        Self(Keys::Portable(portable::Keys::new(encryption, mac)))
    }

    /// The token of `plaintext` with `time` in unix seconds and an `iv` that is used only here.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[inline(always)]
    pub fn encrypt(&self, plaintext: &[u8], time: u64, iv: &Iv) -> Result<SecretBytes, Error> {
        let mut token = SecretBytes::zeroed(token_length(plaintext.len()))?;
        self.seal(plaintext, time, iv, &mut token);
        Ok(token)
    }

    /// Writes the token of `plaintext` into `token`, which is [`token_length`] long.
    fn seal(&self, plaintext: &[u8], time: u64, iv: &Iv, token: &mut [u8]) {
        let start = token.len() - message_length(plaintext.len());
        // The message is written where the token ends, and becomes the token in place.
        let (header, body) = token[start..].split_at_mut(HEADER);
        header[0] = VERSION;
        header[TIME].copy_from_slice(&time.to_be_bytes());
        header[IV].copy_from_slice(iv);
        let padding = BLOCK - plaintext.len() % BLOCK;
        body[..plaintext.len()].copy_from_slice(plaintext);
        body[plaintext.len()..][..padding].fill(padding as u8);
        with!(&self.0, seal::<HEADER>(token, start));
    }

    /// The plaintext of `token`, decoded and decrypted in place in one allocation.
    ///
    /// The tag is compared in constant time, before anything is decrypted.
    ///
    /// # Errors
    /// [`NotUnderThisKey`] within the result; [`Error::OutOfMemory`] around it.
    #[inline(always)]
    pub fn decrypt(&self, token: &[u8]) -> Result<Result<SecretBytes, NotUnderThisKey>, Error> {
        let Some(length) = decoded_length(token) else {
            return Ok(Err(NotUnderThisKey));
        };
        let mut message = SecretBytes::zeroed(length)?;
        Ok(match self.open(token, &mut message) {
            Some(plaintext) => {
                message.narrow(plaintext);
                Ok(message)
            }
            None => Err(NotUnderThisKey),
        })
    }

    /// Decodes `token` into `message` and decrypts it there; where in it the plaintext is then.
    #[inline(always)]
    fn open(&self, token: &[u8], message: &mut [u8]) -> Option<Range<usize>> {
        let expected = with!(&self.0, decode(token, message))?;
        let (signed, tag) = message.split_last_chunk_mut::<TAG>()?;
        // Word by word: a comparison of bytes costs a fourth of hashing a short entry.
        if !bool::from(words(&expected).ct_eq(&words(tag))) || signed[0] != VERSION {
            return None;
        }
        let (header, body) = signed.split_at_mut(HEADER);
        let (blocks, _) = body.as_chunks_mut();
        with!(&self.0, decrypt(header.last_chunk()?, blocks));
        let padding = BLOCK - Pkcs7::raw_unpad(blocks.last()?).ok()?.len();
        Some(HEADER..signed.len() - padding)
    }
}

fn words(tag: &[u8; TAG]) -> [u64; TAG / 8] {
    let (words, _) = tag.as_chunks();
    std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

/// How many bytes the token of a plaintext stands for: header, whole blocks and tag.
const fn message_length(plaintext: usize) -> usize {
    HEADER + plaintext - plaintext % BLOCK + BLOCK + TAG
}

/// How many characters the token of a plaintext has.
const fn token_length(plaintext: usize) -> usize {
    message_length(plaintext).div_ceil(3) * 4
}

/// How many bytes `token` stands for, if that can be a token: they hold header, whole blocks and tag.
fn decoded_length(token: &[u8]) -> Option<usize> {
    let length = URL_SAFE.decoded_length(token).ok()?;
    let blocks = length.checked_sub(HEADER + TAG)?;
    (blocks > 0 && blocks.is_multiple_of(BLOCK)).then_some(length)
}

/// The time in a token, in unix seconds. Not authenticated: anyone can write any time there.
///
/// # Errors
/// [`Error::OutOfMemory`]; `None` if it has not the form of a token.
pub fn token_time(token: &[u8]) -> Result<Option<u64>, Error> {
    let Some(length) = decoded_length(token) else {
        return Ok(None);
    };
    let mut message = SecretBytes::zeroed(length)?;
    let decoded = URL_SAFE.decode(token, message.as_out());
    let is_token = decoded.is_ok_and(|message| message[0] == VERSION);
    let time = is_token.then(|| message[TIME].first_chunk().copied());
    Ok(time.flatten().map(u64::from_be_bytes))
}

/// The content of a new key object: 44 base64url characters of 32 random bytes.
pub fn new_key_object() -> SecretString {
    fernet::Fernet::generate_key().into()
}

/// 22 base64url characters of 16 random bytes: the part of a new uid that nobody else can have chosen.
///
/// # Errors
/// The operating system gives no random numbers.
pub fn random_name() -> Result<String, Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(no_random_numbers)?;
    Ok(URL_SAFE_NO_PAD.encode_to_string(random))
}

fn no_random_numbers(error: getrandom::Error) -> Error {
    Error::Sqlite {
        code: crate::sqlite::code::IOERR,
        message: format!("the system gives no random numbers: {error}"),
    }
}

/// This machine's time in unix seconds, as tokens hold it.
pub fn now() -> u64 {
    process::unix_seconds()
}

/// Initialisation vectors: the output of ChaCha20 under a key of the operating system's, which a connection takes anew
/// after some hundred vectors. A forked child takes its own.
#[derive(Default)]
pub struct Ivs {
    source: Option<ChaCha20Rng>,
    left: u32,
    generation: u64,
}

impl Ivs {
    /// How many are drawn under one key. A machine that was copied while it ran may draw as many twice.
    const DRAWN: u32 = 256;

    /// A vector that no one else gets.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn draw(&mut self) -> Result<Iv, Error> {
        let generation = process::generation();
        let source = match &mut self.source {
            Some(source) if self.left > 0 && self.generation == generation => source,
            source => {
                let mut key = <ChaCha20Rng as SeedableRng>::Seed::default();
                getrandom::fill(&mut key).map_err(no_random_numbers)?;
                (self.left, self.generation) = (Self::DRAWN, generation);
                source.insert(ChaCha20Rng::from_seed(key))
            }
        };
        self.left -= 1;
        let mut iv = Iv::default();
        source.fill_bytes(&mut iv);
        Ok(iv)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
