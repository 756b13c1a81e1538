//! Published vectors for AES-128-CBC and HMAC-SHA256, through both paths, and for HKDF-SHA256. Each file of `vectors/` names its source.

use sha2::{Digest, Sha256};

use super::tests::paths;
use super::*;

/// The words of each line that is no comment; `-` stands for no bytes.
fn cases<const WORDS: usize>(file: &'static str) -> Vec<[&'static str; WORDS]> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let words = |line: &'static str| line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    lines.map(words).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    match hex {
        "-" => Vec::new(),
        hex => (0..hex.len()).step_by(2).map(byte).collect(),
    }
}

fn block(hex: &str) -> [u8; BLOCK] {
    bytes(hex).try_into().unwrap()
}

/// What `cipher` encrypts `blocks` to: a message with nothing before the vector.
fn encrypted(cipher: &Cipher, iv: &Iv, blocks: &[u8]) -> Vec<u8> {
    let length = BLOCK + blocks.len() + TAG;
    let mut buffer = vec![0; URL_SAFE.encoded_length(length)];
    let start = buffer.len() - length;
    buffer[start..][..BLOCK].copy_from_slice(iv);
    buffer[start + BLOCK..][..blocks.len()].copy_from_slice(blocks);
    with!(&cipher.0, seal::<BLOCK>(&mut buffer, start));
    URL_SAFE.decode_to_vec(&buffer).unwrap()[BLOCK..length - TAG].to_vec()
}

/// The tag that `cipher` expects behind `message`.
fn tag(cipher: &Cipher, message: &[u8]) -> [u8; TAG] {
    let mut message = [message, &[0; TAG]].concat();
    let token = URL_SAFE.encode_to_string(&message);
    with!(&cipher.0, decode(token.as_bytes(), &mut message)).unwrap()
}

#[test]
fn blocks_are_encrypted_and_decrypted_as_nist_has_them() {
    let cases = cases(include_str!("vectors/aes_128_cbc.txt"));
    assert_eq!(cases.len(), 304);
    for [key, iv, plaintext, ciphertext] in cases {
        let (iv, plaintext, ciphertext) = (block(iv), bytes(plaintext), bytes(ciphertext));
        for cipher in paths(&block(key), &[0; 16]) {
            assert_eq!(encrypted(&cipher, &iv, &plaintext), ciphertext, "{key}");
            let mut opened = ciphertext.clone();
            with!(&cipher.0, decrypt(&iv, opened.as_chunks_mut().0));
            assert_eq!(opened, plaintext, "{key}");
        }
    }
}

#[test]
fn a_signed_token_is_read_where_its_padding_is_right_and_nowhere_else() {
    let cases = cases(include_str!("vectors/aes_128_cbc_padded.txt"));
    assert_eq!(cases.len(), 72);
    for [verdict, key, iv, plaintext, ciphertext] in cases {
        let signed = [&[VERSION], &[0; 8][..], &bytes(iv), &bytes(ciphertext)].concat();
        for cipher in paths(&block(key), &[7; 16]) {
            let token = URL_SAFE.encode_to_string([&signed[..], &tag(&cipher, &signed)].concat());
            let read = cipher.decrypt(token.as_bytes()).unwrap().ok();
            let expected = (verdict == "valid").then(|| bytes(plaintext));
            assert_eq!(read.map(|read| read.to_vec()), expected, "{token}");
            if let Some(plaintext) = expected {
                let made = cipher.encrypt(&plaintext, 0, &block(iv)).unwrap();
                assert_eq!(made[..], *token.as_bytes());
            }
        }
    }
}

#[test]
fn tags_are_those_of_wycheproof() {
    let cases = cases(include_str!("vectors/hmac_sha256.txt"));
    assert_eq!(cases.len(), 30);
    for [key, message, expected] in cases {
        for cipher in paths(&[0; 16], &bytes(key)) {
            assert_eq!(tag(&cipher, &bytes(message))[..], bytes(expected), "{key}");
        }
    }
}

#[test]
fn keys_are_extracted_and_expanded_as_rfc_5869_has_them() {
    let cases = cases(include_str!("vectors/hkdf_sha256.txt"));
    assert_eq!(cases.len(), 3);
    for [input, salt, info, extracted, expanded] in cases {
        let salt = match bytes(salt) {
            // As HMAC does with a key of more than a block.
            long if long.len() > mac::BLOCK => Sha256::digest(long).to_vec(),
            salt => salt,
        };
        let extract = Mac::new(&salt).unwrap().tag(&bytes(input));
        assert_eq!(extract.to_vec(), bytes(extracted));
        let mut info = [bytes(info), vec![0]].concat();
        let expand = subkey::expand(&Mac::new(&extract).unwrap(), &mut info);
        assert_eq!(expand.to_vec(), bytes(expanded));
    }
}
