//! A user's key and the subkeys that it gives: one for each context, by HKDF-SHA256 (RFC 5869).

use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroize;

use super::mac::{self, Mac};
use super::{Cipher, TAG};

/// Bytes of a key.
const KEY: usize = 32;

/// What stands before a context, so that no subkey of ours is one of somebody else's.
const LABEL: &[u8] = b"journal_crypt context 1\0";

/// What a token is bound to, such as the row and the column that hold it: 1 to 1,024 bytes.
#[derive(Clone, Copy)]
pub struct Context<'a>(&'a [u8]);

impl<'a> Context<'a> {
    /// The longest context, in bytes.
    pub const LONGEST: usize = 1024;

    /// `None` for no bytes at all, and for too many.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (1..=Self::LONGEST)
            .contains(&bytes.len())
            .then_some(Self(bytes))
    }
}

/// A user's key, ready to use: itself, and what its subkeys are derived from. Wiped when dropped.
pub struct MasterKey {
    /// The key itself, as a Fernet key.
    pub cipher: Cipher,
    /// HMAC under what HKDF extracts from the key.
    subkeys: Mac,
}

impl MasterKey {
    /// Reads a key object: 44 base64url characters, of which a trailing newline is tolerated.
    /// `None` if it is anything else.
    pub fn from_object(object: &[u8]) -> Option<Self> {
        let encoded = object.strip_suffix(b"\n").unwrap_or(object);
        let encoded = encoded.strip_suffix(b"\r").unwrap_or(encoded);
        let encoded = encoded.strip_suffix(b"=")?;
        let mut key = [0; KEY];
        let made = match Base64UrlUnpadded::decode(encoded, &mut key) {
            Ok(decoded) if decoded.len() == KEY => Some(Self::of(&key)),
            _ => None,
        };
        key.zeroize();
        made
    }

    fn of(key: &[u8; KEY]) -> Self {
        // HKDF-Extract; no salt is as many zeros as a digest has bytes, and HMAC's padding is zeros too.
        let mut extracted = [0; mac::BLOCK];
        let (extract, _) = extracted.split_at_mut(TAG);
        extract.copy_from_slice(&Mac::padded(&[0; mac::BLOCK]).tag(key));
        let subkeys = Mac::padded(&extracted);
        extracted.zeroize();
        Self {
            cipher: Cipher::of(key),
            subkeys,
        }
    }

    /// The subkey for `context`, as a Fernet key.
    pub fn bound(&self, context: Context<'_>) -> Cipher {
        let mut info = [0; LABEL.len() + Context::LONGEST + 1];
        let length = LABEL.len() + context.0.len();
        info[..LABEL.len()].copy_from_slice(LABEL);
        info[LABEL.len()..length].copy_from_slice(context.0);
        let mut key = expand(&self.subkeys, &mut info[..=length]);
        let cipher = Cipher::of(&key);
        key.zeroize();
        cipher
    }
}

/// The first 32 bytes of HKDF-Expand. `info` has a byte more at its end, for the number of this block.
pub(super) fn expand(extracted: &Mac, info: &mut [u8]) -> [u8; KEY] {
    if let Some(number) = info.last_mut() {
        *number = 1;
    }
    extracted.tag(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::{Iv, new_key_object};

    #[test]
    fn a_token_under_a_subkey_is_read_under_the_same_context_of_the_same_key_alone() {
        let [key, other] =
            [(); 2].map(|()| MasterKey::from_object(new_key_object().expose().as_bytes()).unwrap());
        let context = |bytes| Context::new(bytes).unwrap();
        let bound = key.bound(context(b"a.b:1"));
        let token = bound.encrypt(b"hello", 0, &Iv::default()).unwrap();
        let reads = |cipher: &Cipher, token: &[u8]| cipher.decrypt(token).unwrap().is_ok();
        assert!(reads(&bound, &token));
        assert!(!reads(&key.cipher, &token));
        assert!(!reads(&other.bound(context(b"a.b:1")), &token));
        for else_ in [&b"a.b:2"[..], b"a.b:1\0", b"a.b:", b"\x01"] {
            assert!(!reads(&key.bound(context(else_)), &token), "{else_:?}");
        }
        let unbound = key.cipher.encrypt(b"hello", 0, &Iv::default()).unwrap();
        assert!(!reads(&bound, &unbound));
    }

    #[test]
    fn a_context_is_of_1_to_1024_bytes_and_all_of_them_count() {
        assert!(Context::new(b"").is_none());
        assert!(Context::new(&[0; 1025]).is_none());
        let key = MasterKey::from_object(new_key_object().expose().as_bytes()).unwrap();
        let token = |bytes: &[u8]| {
            let cipher = key.bound(Context::new(bytes).unwrap());
            cipher.encrypt(b"x", 0, &Iv::default()).unwrap().to_vec()
        };
        let mut tokens: Vec<_> = (1..=1024).map(|length| token(&vec![0; length])).collect();
        tokens.push(token(&[&[0; 1023][..], b"\x01"].concat()));
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 1025);
    }
}
