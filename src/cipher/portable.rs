//! AES-128-CBC and HMAC-SHA256 with RustCrypto's crates, where `x86_64` does not serve. They look for themselves whether
//! the processor has instructions: those of ARM64 for both, those of x86-64 that it may have without the others.

use aes::{Aes128Dec, Aes128Enc};
use base64_simd::{AsOut, URL_SAFE};
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};

use super::mac::Mac;
use super::{BLOCK, TAG};

/// What an entry is encrypted and signed with: AES's schedule for encryption, and HMAC's two states. Each wipes itself
/// when dropped.
pub(super) struct Keys {
    aes: Aes128Enc,
    mac: Mac,
}

impl Keys {
    pub(super) fn new(encryption: &[u8; BLOCK], mac: Mac) -> Self {
        Self {
            aes: Aes128Enc::new(encryption.into()),
            mac,
        }
    }

    /// Makes the token that fills `buffer`, out of the message that begins at `start` and ends with it: a header of
    /// `HEADER` bytes, of which the last 16 are the initialisation vector, the plaintext padded to whole blocks, and room
    /// for the tag.
    pub(super) fn seal<const HEADER: usize>(&self, buffer: &mut [u8], start: usize) {
        self.encrypt_and_sign::<HEADER>(&mut buffer[start..]);
        // A group's place is never behind its bytes, since the characters of all of them fill the buffer.
        let mut group = [0; 48];
        for (bytes, characters) in (start..buffer.len()).step_by(48).zip((0..).step_by(64)) {
            let length = group.len().min(buffer.len() - bytes);
            group[..length].copy_from_slice(&buffer[bytes..bytes + length]);
            let _ = URL_SAFE.encode(&group[..length], buffer[characters..].as_out());
        }
    }

    /// After this the whole message is public.
    pub(super) fn encrypt_and_sign<const HEADER: usize>(&self, message: &mut [u8]) {
        let (signed, tag) = message.split_at_mut(message.len() - TAG);
        let (header, body) = signed.split_at_mut(HEADER);
        if let Some(iv) = header.last_chunk::<BLOCK>() {
            cbc::Encryptor::inner_iv_init(&self.aes, iv.into())
                .encrypt_blocks(Array::slice_as_chunks_mut(body).0);
        }
        tag.copy_from_slice(&self.mac.tag(signed));
    }

    /// Decodes `token` into `message`, which is as long as that makes it. Gives the tag that it should end with, or `None`
    /// where the token is not base64.
    pub(super) fn decode(&self, token: &[u8], message: &mut [u8]) -> Option<[u8; TAG]> {
        URL_SAFE.decode(token, message.as_out()).ok()?;
        let (signed, _) = message.split_last_chunk::<TAG>()?;
        Some(self.mac.tag(signed))
    }

    /// Decrypts `blocks` in place, the first one chained to `iv`.
    pub(super) fn decrypt(&self, iv: &[u8; BLOCK], blocks: &mut [[u8; BLOCK]]) {
        // The schedule for decryption comes of the other by one step for each of its keys, which can be taken all at once;
        // to keep it too would double a key's room.
        cbc::Decryptor::inner_iv_init(Aes128Dec::from(&self.aes), iv.into())
            .decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }
}
