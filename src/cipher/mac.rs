//! HMAC-SHA256 (RFC 2104) with what depends on the key alone computed once: the two states of SHA-256
//! that its padded key leads to.

use sha2::block_api::compress256;
use zeroize::Zeroize;

use super::TAG;

/// Bytes that SHA-256 takes at a time.
pub(super) const BLOCK: usize = 64;

/// The state that SHA-256 starts from (FIPS 180-4, 5.3.3).
#[rustfmt::skip]
const START: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// A key for tags, wiped when dropped.
pub(super) struct Mac {
    pub(super) inner: [u32; 8],
    pub(super) outer: [u32; 8],
}

impl Mac {
    /// `None` for a key of more than a block, which HMAC would hash first.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let mut padded = [0; BLOCK];
        padded.get_mut(..key.len())?.copy_from_slice(key);
        let mac = Self::padded(&padded);
        padded.zeroize();
        Some(mac)
    }

    /// For a key with as many zeros behind it as make it a block.
    pub(super) fn padded(key: &[u8; BLOCK]) -> Self {
        let state = |pad: u8| {
            let mut block = key.map(|byte| byte ^ pad);
            let mut state = START;
            compress(&mut state, &block);
            block.zeroize();
            state
        };
        Self {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// The tag of `message`.
    pub(super) fn tag(&self, message: &[u8]) -> [u8; TAG] {
        let digest = finish(self.inner, message);
        finish(self.outer, &digest)
    }
}

impl Drop for Mac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// SHA-256 of a padded key, which led to `state`, and `message`.
fn finish(mut state: [u32; 8], message: &[u8]) -> [u8; TAG] {
    /// Where in a last block the whole length stands, in bits.
    const LENGTH: usize = BLOCK - size_of::<u64>();
    let (blocks, rest) = message.as_chunks();
    for block in blocks {
        compress(&mut state, block);
    }
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    if rest.len() >= LENGTH {
        compress(&mut state, &last);
        last = [0; BLOCK];
    }
    let bits = 8 * (BLOCK + message.len()) as u64;
    last[LENGTH..].copy_from_slice(&bits.to_be_bytes());
    compress(&mut state, &last);

    let mut digest = [0; TAG];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    compress256(state, std::slice::from_ref(block));
}
