//! A key's bytes -> encrypt, decrypt; the only file that knows Fernet.
//!
//! The format is the Fernet specification's (<https://github.com/fernet/spec/blob/master/Spec.md>):
//! `base64url(0x80 ‖ time ‖ iv ‖ AES-128-CBC(plaintext, PKCS #7) ‖ HMAC-SHA256)`. The `fernet` crate
//! expands the key for every call; here the key schedule and the HMAC state are computed once per key,
//! and the crate is the reference that the tests compare with. Stored entries have no maximum age, so
//! the time in a token is never compared with a clock: a node whose clock lags reads them too.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aes::Aes128;
use base64_simd::{AsOut, URL_SAFE, URL_SAFE_NO_PAD};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::inout::InOutBuf;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, InnerIvInit, KeyInit};
use zeroize::Zeroize;

use crate::error::Error;
use crate::ffi::system;
use crate::mac::{self, Mac};
use crate::secret::{SecretBytes, SecretString};

const VERSION: u8 = 0x80;
const TIME: std::ops::Range<usize> = 1..9;
const IV: std::ops::Range<usize> = 9..25;
const HEADER: usize = 25;
const BLOCK: usize = 16;
const TAG: usize = mac::TAG;

/// Base64 characters of a key object, padding included.
const KEY_LENGTH: usize = 44;

/// An initialisation vector: 16 unpredictable bytes, never used twice.
pub type Iv = [u8; BLOCK];

/// Not a token, or not under this key. Which of the two is not told: an oracle would be.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUnderThisKey;

/// One Fernet key, ready to use: AES key schedule and keyed HMAC state. About 800 bytes.
pub struct Cipher {
    aes: Aes128,
    mac: Mac,
}

impl Cipher {
    /// Reads a key object: 44 base64url characters, of which a trailing newline is tolerated.
    /// `None` if it is anything else.
    pub fn from_object(object: &[u8]) -> Option<Self> {
        let encoded = object.strip_suffix(b"\n").unwrap_or(object);
        let encoded = encoded.strip_suffix(b"\r").unwrap_or(encoded);
        if encoded.len() != KEY_LENGTH {
            return None;
        }
        // One byte more than a key has: room for what 44 characters without padding would decode to.
        let mut key = [0; 33];
        let cipher = match URL_SAFE.decode(encoded, key.as_mut_slice().as_out()) {
            Ok(key) if key.len() == 32 => Self::new(&key[..16], &key[16..]),
            _ => None,
        };
        key.zeroize();
        cipher
    }

    fn new(signing: &[u8], encryption: &[u8]) -> Option<Self> {
        Some(Self {
            aes: Aes128::new_from_slice(encryption).ok()?,
            mac: Mac::new(signing)?,
        })
    }

    /// The token of `plaintext` with `time` in unix seconds and an `iv` that is used only here.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn encrypt(&self, plaintext: &[u8], time: u64, iv: &Iv) -> Result<SecretBytes, Error> {
        let padded = (plaintext.len() / BLOCK + 1) * BLOCK;
        let signed = HEADER + padded;
        let mut message = Vec::new();
        message.try_reserve_exact(signed + TAG)?;
        message.push(VERSION);
        message.extend_from_slice(&time.to_be_bytes());
        message.extend_from_slice(iv);
        message.resize(signed, 0);
        // Encrypting and hashing are chains of instructions that each wait for the one before. Block by
        // block, the processor works on both chains at once: the hash of one block does not wait for the
        // encryption of the next.
        let mut cbc = cbc::Encryptor::inner_iv_init(&self.aes, iv.into());
        let mut mac = self.mac.running();
        let (blocks, rest) = plaintext.as_chunks::<{ mac::BLOCK }>();
        let mut done = 0;
        for block in blocks {
            let place = &mut message[HEADER + done..][..mac::BLOCK];
            let both = InOutBuf::new(block, place).map_err(|_| Error::Panicked)?;
            cbc.encrypt_blocks_inout_mut(both.into_chunks().0);
            if let Some(ready) = message[done..].first_chunk() {
                mac.block(ready);
            }
            done += mac::BLOCK;
        }
        cbc.encrypt_padded_b2b_mut::<Pkcs7>(rest, &mut message[HEADER + done..])
            .map_err(|_| Error::Panicked)?;
        let tag = mac.tag(&message[done..]);
        message.extend_from_slice(&tag);
        let length = URL_SAFE.encoded_length(message.len());
        let (token, ()) = SecretBytes::filled(length, |token| {
            URL_SAFE.encode_append(&message, token);
        })?;
        Ok(token)
    }

    /// The plaintext of `token`, decoded and decrypted in place in one allocation.
    ///
    /// The tag is compared in constant time, before anything is decrypted.
    ///
    /// # Errors
    /// [`NotUnderThisKey`] within the result; [`Error::OutOfMemory`] around it.
    pub fn decrypt(&self, token: &[u8]) -> Result<Result<SecretBytes, NotUnderThisKey>, Error> {
        let Some(mut message) = decode(token)? else {
            return Ok(Err(NotUnderThisKey));
        };
        let signed = message.len() - TAG;
        let (content, tag) = message.split_at(signed);
        if !self.mac.running().verifies(content, tag) {
            return Ok(Err(NotUnderThisKey));
        }
        let (header, body) = message.split_at_mut(HEADER);
        let iv: &Iv = match header[IV].try_into() {
            Ok(iv) => iv,
            Err(_) => return Ok(Err(NotUnderThisKey)),
        };
        let plaintext = cbc::Decryptor::inner_iv_init(&self.aes, iv.into())
            .decrypt_padded_mut::<Pkcs7>(&mut body[..signed - HEADER])
            .map(<[u8]>::len);
        Ok(match plaintext {
            Ok(length) => {
                message.narrow(HEADER..HEADER + length);
                Ok(message)
            }
            Err(_) => Err(NotUnderThisKey),
        })
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

/// A token's bytes, if it has the form of one: strict base64url with padding, the version byte, whole
/// blocks.
fn decode(token: &[u8]) -> Result<Option<SecretBytes>, Error> {
    let Ok(length) = URL_SAFE.decoded_length(token) else {
        return Ok(None);
    };
    if length < HEADER + BLOCK + TAG || !(length - HEADER - TAG).is_multiple_of(BLOCK) {
        return Ok(None);
    }
    let (message, decoded) = SecretBytes::filled(length, |message| {
        URL_SAFE.decode_append(token, message).is_ok()
    })?;
    let is_whole = decoded && message.len() == length && message[0] == VERSION;
    Ok(is_whole.then_some(message))
}

/// The time in a token, in unix seconds. Not authenticated: anyone can write any time there.
///
/// # Errors
/// [`Error::OutOfMemory`]; `None` if it has not the form of a token.
pub fn token_time(token: &[u8]) -> Result<Option<u64>, Error> {
    Ok(decode(token)?.and_then(|message| Some(u64::from_be_bytes(message[TIME].try_into().ok()?))))
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
        code: crate::ffi::code::IOERR,
        message: format!("the system gives no random numbers: {error}"),
    }
}

/// This machine's time in unix seconds, as tokens hold it.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Initialisation vectors, drawn from the operating system in blocks, since one system call a vector
/// costs more than encrypting a short entry. A forked child starts with a block of its own.
pub struct Ivs {
    block: [u8; Self::DRAWN * BLOCK],
    used: usize,
    generation: u64,
}

impl Ivs {
    const DRAWN: usize = 64;

    /// An empty block: the first vector draws.
    pub fn new() -> Self {
        Self {
            block: [0; Self::DRAWN * BLOCK],
            used: Self::DRAWN,
            generation: 0,
        }
    }

    /// A vector that no one else gets.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn draw(&mut self) -> Result<Iv, Error> {
        let generation = system::generation();
        if self.used == Self::DRAWN || self.generation != generation {
            getrandom::fill(&mut self.block).map_err(no_random_numbers)?;
            (self.used, self.generation) = (0, generation);
        }
        let start = self.used * BLOCK;
        self.used += 1;
        let mut iv = Iv::default();
        iv.copy_from_slice(&self.block[start..start + BLOCK]);
        Ok(iv)
    }
}

impl Default for Ivs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the Fernet specification's examples.
    const SPEC_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const SPEC_TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    const SPEC_TIME: u64 = 499_162_800;

    fn spec_iv() -> Iv {
        std::array::from_fn(|i| i as u8)
    }

    fn cipher(key: &str) -> Cipher {
        Cipher::from_object(key.as_bytes()).unwrap()
    }

    fn decrypted(cipher: &Cipher, token: &str) -> Option<Vec<u8>> {
        cipher
            .decrypt(token.as_bytes())
            .unwrap()
            .ok()
            .map(|p| p.to_vec())
    }

    #[test]
    fn the_specification_s_example_is_made_byte_for_byte() {
        let token = cipher(SPEC_KEY)
            .encrypt(b"hello", SPEC_TIME, &spec_iv())
            .unwrap();
        assert_eq!(std::str::from_utf8(&token).unwrap(), SPEC_TOKEN);
        assert_eq!(decrypted(&cipher(SPEC_KEY), SPEC_TOKEN).unwrap(), b"hello");
        assert_eq!(token_time(SPEC_TOKEN.as_bytes()).unwrap(), Some(SPEC_TIME));
    }

    #[test]
    fn each_reads_what_the_fernet_crate_and_we_write_at_every_length() {
        let key = fernet::Fernet::generate_key();
        let (ours, theirs) = (cipher(&key), fernet::Fernet::new(&key).unwrap());
        let mut ivs = Ivs::new();
        for length in 0..=300 {
            let plaintext: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            let token = ours
                .encrypt(&plaintext, now(), &ivs.draw().unwrap())
                .unwrap();
            let token = std::str::from_utf8(&token).unwrap();
            assert_eq!(theirs.decrypt(token).unwrap(), plaintext, "length {length}");
            assert_eq!(
                decrypted(&ours, &theirs.encrypt(&plaintext)).unwrap(),
                plaintext
            );
        }
    }

    #[test]
    fn a_token_of_any_time_is_read() {
        let cipher = cipher(SPEC_KEY);
        for time in [0, now() + 300, u64::MAX] {
            let token = cipher.encrypt(b"x", time, &spec_iv()).unwrap();
            assert_eq!(&cipher.decrypt(&token).unwrap().unwrap()[..], b"x");
        }
    }

    #[test]
    fn every_changed_character_is_refused() {
        let cipher = cipher(SPEC_KEY);
        for position in 0..SPEC_TOKEN.len() {
            for other in [b'A', b'B', b'-', b'=', b' ', b'\n', b'+', 0] {
                let mut token = SPEC_TOKEN.as_bytes().to_vec();
                if token[position] == other {
                    continue;
                }
                token[position] = other;
                assert!(
                    cipher.decrypt(&token).unwrap().is_err(),
                    "{position} {other}"
                );
            }
        }
    }

    #[test]
    fn base64_that_is_not_canonical_is_refused() {
        let cipher = cipher(SPEC_KEY);
        for bad in [
            SPEC_TOKEN.trim_end_matches('=').to_owned(),
            SPEC_TOKEN.replacen("DA==", "DB==", 1),
            SPEC_TOKEN.replacen("DA==", "DA=", 1),
            format!("{SPEC_TOKEN}\n"),
            format!(" {SPEC_TOKEN}"),
            format!("{SPEC_TOKEN}="),
            format!("{}\n{}", &SPEC_TOKEN[..40], &SPEC_TOKEN[40..]),
            SPEC_TOKEN.replace('_', "/"),
            String::new(),
            "gAAAAA==".to_owned(),
        ] {
            assert_eq!(decrypted(&cipher, &bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_token_cut_at_any_length_is_refused() {
        let cipher = cipher(SPEC_KEY);
        for length in 0..SPEC_TOKEN.len() {
            assert_eq!(decrypted(&cipher, &SPEC_TOKEN[..length]), None);
        }
    }

    #[test]
    fn another_key_is_refused() {
        let other = cipher(&fernet::Fernet::generate_key());
        assert_eq!(decrypted(&other, SPEC_TOKEN), None);
    }

    #[test]
    fn a_key_object_is_44_characters_with_at_most_a_newline() {
        for good in [
            SPEC_KEY.to_owned(),
            format!("{SPEC_KEY}\n"),
            format!("{SPEC_KEY}\r\n"),
        ] {
            assert!(Cipher::from_object(good.as_bytes()).is_some(), "{good:?}");
        }
        for bad in [
            String::new(),
            SPEC_KEY[..43].to_owned(),
            format!("{}A", &SPEC_KEY[..43]),
            format!("{SPEC_KEY}\n\n"),
            format!(" {SPEC_KEY}"),
            SPEC_KEY.replace('_', "/"),
            SPEC_KEY.replace("e4=", "e5="),
        ] {
            assert!(Cipher::from_object(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn vectors_do_not_repeat() {
        let mut ivs = Ivs::new();
        let drawn: std::collections::HashSet<Iv> = (0..1000).map(|_| ivs.draw().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{:?}", cipher(SPEC_KEY)), "Cipher");
    }
}
