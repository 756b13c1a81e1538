//! AES-128-CBC and HMAC-SHA256 with RustCrypto's crates, where the processor lacks the instructions that
//! `x86_64` is made of.

use aes::Aes128;
use base64_simd::{AsOut, URL_SAFE};
use cbc::cipher::inout::InOutBuf;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, InnerIvInit, KeyInit};
use zeroize::Zeroize;

use super::mac::Mac;
use super::{BLOCK, TAG};

/// What an entry is encrypted and signed with: AES's key, which is expanded for each entry since its schedule takes
/// ten times the room, and HMAC's two states. Wiped when dropped.
pub(super) struct Keys {
    encryption: [u8; BLOCK],
    mac: Mac,
}

impl Keys {
    pub(super) fn new(encryption: &[u8; BLOCK], mac: Mac) -> Self {
        Self {
            encryption: *encryption,
            mac,
        }
    }

    /// Makes the token that fills `buffer`, out of the message that begins at `start` and ends with it: a header of
    /// `HEADER` bytes, of which the last 16 are the initialisation vector, the plaintext padded to whole blocks, and room
    /// for the tag.
    pub(super) fn seal<const HEADER: usize>(&self, buffer: &mut [u8], start: usize) {
        let end = buffer.len() - TAG;
        let (signed, tag) = buffer[start..].split_at_mut(end - start);
        let (header, body) = signed.split_at_mut(HEADER);
        let aes = Aes128::new(&self.encryption.into());
        cbc::Encryptor::inner_iv_init(&aes, header[HEADER - BLOCK..].into())
            .encrypt_blocks_inout_mut(InOutBuf::from(body).into_chunks().0);
        tag.copy_from_slice(&self.mac.tag(signed));
        // A group's place is never behind its bytes, since the characters of all of them fill the buffer.
        let mut group = [0; 48];
        for (bytes, characters) in (start..buffer.len()).step_by(48).zip((0..).step_by(64)) {
            let length = group.len().min(buffer.len() - bytes);
            group[..length].copy_from_slice(&buffer[bytes..bytes + length]);
            let _ = URL_SAFE.encode(&group[..length], buffer[characters..].as_out());
        }
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
        let aes = Aes128::new(&self.encryption.into());
        cbc::Decryptor::inner_iv_init(&aes, iv.into())
            .decrypt_blocks_inout_mut(InOutBuf::from(blocks.as_flattened_mut()).into_chunks().0);
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.encryption.zeroize();
    }
}
