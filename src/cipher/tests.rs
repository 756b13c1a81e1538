//! Tests of the cipher, with the Fernet specification's example and the `fernet` crate as references.

use super::*;

/// The key of the Fernet specification's examples.
const SPEC_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const SPEC_TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
const SPEC_TIME: u64 = 499_162_800;

fn spec_iv() -> Iv {
    std::array::from_fn(|i| i as u8)
}

/// The key by the path that serves this process, and by RustCrypto's crates.
fn ciphers(key: &str) -> [Cipher; 2] {
    let bytes = URL_SAFE.decode_to_vec(key).unwrap();
    paths(bytes[16..].first_chunk().unwrap(), &bytes[..16])
}

/// The same for two keys, of which that for tags may be longer than Fernet's.
pub(super) fn paths(encryption: &[u8; 16], signing: &[u8]) -> [Cipher; 2] {
    let mac = || Mac::new(signing).unwrap();
    [
        Cipher::new(encryption, mac()),
        Cipher(Keys::Portable(portable::Keys::new(encryption, mac()))),
    ]
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
    for cipher in ciphers(SPEC_KEY) {
        let token = cipher.encrypt(b"hello", SPEC_TIME, &spec_iv()).unwrap();
        assert_eq!(std::str::from_utf8(&token).unwrap(), SPEC_TOKEN);
        assert_eq!(decrypted(&cipher, SPEC_TOKEN).unwrap(), b"hello");
    }
    assert_eq!(token_time(SPEC_TOKEN.as_bytes()).unwrap(), Some(SPEC_TIME));
}

#[test]
fn each_reads_what_the_fernet_crate_and_we_write_at_every_length() {
    let key = fernet::Fernet::generate_key();
    let theirs = fernet::Fernet::new(&key).unwrap();
    let mut ivs = Ivs::default();
    for ours in ciphers(&key) {
        for length in (0..=600).chain([4_095, 4_096, 4_097, 100_000]) {
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
}

#[test]
fn a_token_of_any_time_is_read() {
    for cipher in ciphers(SPEC_KEY) {
        for time in [0, now() + 300, u64::MAX] {
            let token = cipher.encrypt(b"x", time, &spec_iv()).unwrap();
            assert_eq!(&cipher.decrypt(&token).unwrap().unwrap()[..], b"x");
        }
    }
}

#[test]
fn every_changed_character_is_refused() {
    for cipher in ciphers(SPEC_KEY) {
        for position in 0..SPEC_TOKEN.len() {
            for other in 0..=u8::MAX {
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
}

/// Whatever is decoded has another tag, so that a wrong character is seen only here: another one must not stand for the
/// same bytes.
#[test]
fn only_the_alphabet_s_characters_are_decoded_and_all_to_their_bytes() {
    for cipher in ciphers(SPEC_KEY) {
        let token = cipher.encrypt(&[0x5a; 100], SPEC_TIME, &spec_iv()).unwrap();
        let mut ours = vec![0; decoded_length(&token).unwrap()];
        let mut theirs = ours.clone();
        for position in 0..token.len() {
            for other in 0..=u8::MAX {
                let mut token = token.to_vec();
                token[position] = other;
                if decoded_length(&token) != Some(ours.len()) {
                    continue;
                }
                let is_base64 = URL_SAFE
                    .decode(&token, theirs.as_mut_slice().as_out())
                    .is_ok();
                let tag = with!(&cipher.0, decode(&token, &mut ours));
                assert_eq!(tag.is_some(), is_base64, "{position} {other}");
                assert!(!is_base64 || ours == theirs, "{position} {other}");
            }
        }
    }
}

#[test]
fn a_signed_message_that_is_no_token_is_refused() {
    let key = URL_SAFE.decode_to_vec(SPEC_KEY).unwrap();
    let mac = Mac::new(&key[..16]).unwrap();
    let signed =
        |message: &[u8]| URL_SAFE.encode_to_string([message, &mac.tag(message)[..]].concat());
    let message = URL_SAFE.decode_to_vec(SPEC_TOKEN).unwrap();
    let message = &message[..message.len() - TAG];
    let other = |position: usize, bits: u8| {
        let mut other = message.to_vec();
        other[position] ^= bits;
        signed(&other)
    };
    for cipher in ciphers(SPEC_KEY) {
        assert_eq!(decrypted(&cipher, &signed(message)).unwrap(), b"hello");
        // The version; and the vector's last byte, which changes the padding's.
        for no_token in [
            other(0, 1),
            other(IV.end - 1, 1),
            other(IV.end - 1, 0x0b),
            signed(&message[..HEADER]),
            signed(&message[..HEADER + 15]),
            signed(&[message, b"x"].concat()),
            signed(b""),
        ] {
            assert_eq!(decrypted(&cipher, &no_token), None, "{no_token}");
        }
    }
}

#[test]
fn nothing_is_decrypted_before_the_tag_has_been_compared() {
    let encrypted = URL_SAFE.decode_to_vec(SPEC_TOKEN).unwrap();
    let mut wrong = encrypted.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for cipher in ciphers(SPEC_KEY) {
        let opened = |message: &[u8]| {
            let token = URL_SAFE.encode_to_string(message);
            let mut buffer = vec![0; message.len()];
            let plaintext = cipher.open(token.as_bytes(), &mut buffer);
            (plaintext, buffer)
        };
        let (plaintext, buffer) = opened(&encrypted);
        assert_eq!(&buffer[plaintext.unwrap()], b"hello");
        // Where the plaintext would stand is what came.
        assert_eq!(opened(&wrong), (None, wrong.clone()));
    }
}

#[test]
fn base64_that_is_not_canonical_is_refused() {
    for cipher in ciphers(SPEC_KEY) {
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
}

#[test]
fn a_token_cut_at_any_length_is_refused() {
    for cipher in ciphers(SPEC_KEY) {
        for length in 0..SPEC_TOKEN.len() {
            assert_eq!(decrypted(&cipher, &SPEC_TOKEN[..length]), None);
        }
    }
}

#[test]
fn another_key_is_refused() {
    for other in ciphers(&fernet::Fernet::generate_key()) {
        assert_eq!(decrypted(&other, SPEC_TOKEN), None);
    }
}

#[test]
fn a_key_object_is_44_characters_with_at_most_a_newline() {
    for good in [
        SPEC_KEY.to_owned(),
        format!("{SPEC_KEY}\n"),
        format!("{SPEC_KEY}\r\n"),
    ] {
        assert!(
            MasterKey::from_object(good.as_bytes()).is_some(),
            "{good:?}"
        );
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
        assert!(MasterKey::from_object(bad.as_bytes()).is_none(), "{bad:?}");
    }
}

#[test]
fn vectors_do_not_repeat() {
    let mut ivs = Ivs::default();
    let drawn: std::collections::HashSet<Iv> = (0..10_000).map(|_| ivs.draw().unwrap()).collect();
    assert_eq!(drawn.len(), 10_000);
}

#[test]
fn debug_output_shows_no_key() {
    for cipher in ciphers(SPEC_KEY) {
        assert_eq!(format!("{cipher:?}"), "Cipher");
    }
}

#[test]
fn a_key_takes_five_lines_of_the_processor_s_cache() {
    assert!(size_of::<MasterKey>() <= 5 * 64);
}

#[test]
fn tags_are_those_of_the_hmac_crate_at_every_length() {
    use hmac::{KeyInit, Mac as _};
    let message: Vec<u8> = (0..300).map(|i| (i * 7) as u8).collect();
    for key in [&message[..16], &message[..64]] {
        let ours = Mac::new(key).unwrap();
        let theirs = <hmac::Hmac<sha2::Sha256> as KeyInit>::new_from_slice(key).unwrap();
        for length in 0..message.len() {
            let message = &message[..length];
            let tag = theirs.clone().chain_update(message).finalize().into_bytes();
            assert_eq!(ours.tag(message)[..], tag[..], "length {length}");
        }
    }
    assert!(Mac::new(&message[..65]).is_none());

    let mac = Mac::new(&URL_SAFE.decode_to_vec(SPEC_KEY).unwrap()[..16]).unwrap();
    for cipher in ciphers(SPEC_KEY) {
        for length in TAG..message.len() {
            let token = URL_SAFE.encode_to_string(&message[..length]);
            let mut decoded = vec![0; length];
            let tag = with!(&cipher.0, decode(token.as_bytes(), &mut decoded)).unwrap();
            assert_eq!(decoded, message[..length], "length {length}");
            assert_eq!(tag, mac.tag(&message[..length - TAG]), "length {length}");
        }
    }
}
