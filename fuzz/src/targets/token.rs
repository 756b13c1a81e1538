//! The token parser against the `fernet` crate: what we read it reads, and the same; what it reads and we do not is
//! base64 that is not canonical. A part of the inputs is signed, so that the fuzzer gets past the tag.

use base64_simd::URL_SAFE;
use hmac::{Hmac, KeyInit, Mac};
use journal_crypt::cipher::{Cipher, Context, Iv, MasterKey, token_time};
use sha2::Sha256;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

pub(super) fn run(data: &[u8]) {
    let key = MasterKey::from_object(KEY.as_bytes()).unwrap();
    let ours = &key.cipher;
    let theirs = fernet::Fernet::new(KEY).unwrap();
    let _ = MasterKey::from_object(data);
    compare(ours, &theirs, data);
    compare(ours, &theirs, signed(data).as_bytes());
    bind(&key, data);
    if let Some((how, rest)) = data.split_first() {
        // A token of our own, with some characters changed.
        let mut iv = Iv::default();
        let taken = rest.len().min(iv.len());
        iv[..taken].copy_from_slice(&rest[..taken]);
        let time = u64::from(*how) << 56 | u64::from(*how);
        let token = ours.encrypt(rest, time, &iv).unwrap();
        assert_eq!(token_time(&token).unwrap(), Some(time));
        let read = ours.decrypt(&token).unwrap().unwrap();
        assert_eq!(&read[..], rest);
        compare(ours, &theirs, &token);
        let mut changed = token.to_vec();
        for pair in rest.chunks_exact(2).take(usize::from(how % 4)) {
            let position = usize::from(pair[0]) % changed.len();
            changed[position] = pair[1];
        }
        changed.truncate(changed.len() - usize::from(how >> 6) * usize::from(how & 1));
        if changed != token[..] {
            assert!(
                ours.decrypt(&changed).unwrap().is_err(),
                "a changed token was read"
            );
        }
        compare(ours, &theirs, &changed);
        // A character more, anywhere.
        for more in [*how, b'\n', b' ', b'=', b'A', 0] {
            for position in [0, usize::from(*how) % token.len(), token.len()] {
                let mut longer = token.to_vec();
                longer.insert(position, more);
                assert!(
                    ours.decrypt(&longer).unwrap().is_err(),
                    "a longer token was read"
                );
            }
        }
    }
}

/// What is under a context is under HKDF's key for it, and under no other context.
fn bind(key: &MasterKey, data: &[u8]) {
    let Some(context) = Context::new(data) else {
        assert!(data.is_empty() || data.len() > Context::LONGEST);
        return;
    };
    let bytes = |key: &[u8], message: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes()
    };
    let extracted = bytes(&[0; 32], &URL_SAFE.decode_to_vec(KEY).unwrap());
    let info = [b"journal_crypt context 1\0", data, b"\x01"].concat();
    let subkey = URL_SAFE.encode_to_string(bytes(&extracted, &info));
    let bound = key.bound(context);
    let token = bound.encrypt(data, 0, &Iv::default()).unwrap();
    compare(&bound, &fernet::Fernet::new(&subkey).unwrap(), &token);
    assert_eq!(&bound.decrypt(&token).unwrap().unwrap()[..], data);
    assert!(key.cipher.decrypt(&token).unwrap().is_err());
    let mut other = data.to_vec();
    other[data.len() / 2] ^= 1;
    let other = key.bound(Context::new(&other).unwrap());
    assert!(other.decrypt(&token).unwrap().is_err());
}

/// The token of `content`, whatever that is, with a right tag.
fn signed(content: &[u8]) -> String {
    let key = URL_SAFE.decode_to_vec(KEY).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..16]).unwrap();
    mac.update(content);
    URL_SAFE.encode_to_string([content, &mac.finalize().into_bytes()].concat())
}

fn compare(ours: &Cipher, theirs: &fernet::Fernet, token: &[u8]) {
    let read = ours.decrypt(token).unwrap().ok();
    let reference = std::str::from_utf8(token)
        .ok()
        .and_then(|token| theirs.decrypt_at_time(token, None, u64::MAX - 60).ok());
    match (read, reference) {
        (Some(read), reference) => assert_eq!(Some(&read[..]), reference.as_deref()),
        (None, None) => {}
        (None, Some(_)) => {
            let canonical = URL_SAFE
                .decode_to_vec(token)
                .is_ok_and(|bytes| URL_SAFE.encode_to_string(bytes).as_bytes() == token);
            assert!(
                !canonical,
                "a canonical token that the reference reads was refused"
            );
        }
    }
}
