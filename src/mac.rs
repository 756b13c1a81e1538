//! HMAC-SHA256 (RFC 2104) with what depends on the key alone computed once: the two states of SHA-256
//! that its padded key leads to.

use cbc::cipher::generic_array::GenericArray;
use sha2::compress256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes that SHA-256 takes at a time.
pub(crate) const BLOCK: usize = 64;
/// Bytes of a tag.
pub(crate) const TAG: usize = 32;

/// The state that SHA-256 starts from (FIPS 180-4, 5.3.3).
#[rustfmt::skip]
const START: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// A key for tags, wiped when dropped.
pub(crate) struct Mac {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Mac {
    /// `None` for a key of more than a block, which HMAC would hash first.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let state = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.get_mut(..key.len())?.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = START;
            compress(&mut state, &block);
            block.zeroize();
            Some(state)
        };
        Some(Self {
            inner: state(0x36)?,
            outer: state(0x5c)?,
        })
    }

    /// A tag to be made.
    pub(crate) fn running(&self) -> Running<'_> {
        Running {
            mac: self,
            state: self.inner,
            blocks: 1,
        }
    }
}

impl Drop for Mac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// A tag being made.
pub(crate) struct Running<'a> {
    mac: &'a Mac,
    state: [u32; 8],
    /// So far, with the one that held the key.
    blocks: u64,
}

impl Running<'_> {
    /// Takes in the next block of the message.
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) {
        compress(&mut self.state, block);
        self.blocks += 1;
    }

    /// The tag, after the `rest` of the message.
    pub(crate) fn tag(mut self, rest: &[u8]) -> [u8; TAG] {
        let (blocks, rest) = rest.as_chunks();
        for block in blocks {
            self.block(block);
        }
        let bits = (self.blocks * BLOCK as u64 + rest.len() as u64) * 8;
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 0x80;
        if rest.len() >= LENGTH {
            compress(&mut self.state, &block);
            block = [0; BLOCK];
        }
        block[LENGTH..].copy_from_slice(&bits.to_be_bytes());
        compress(&mut self.state, &block);

        let bits = (BLOCK + TAG) as u64 * 8;
        let mut block = [0; BLOCK];
        block[..TAG].copy_from_slice(&bytes(&self.state));
        block[TAG] = 0x80;
        block[LENGTH..].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.mac.outer;
        compress(&mut state, &block);
        bytes(&state)
    }

    /// Whether `tag` is the one after the `rest` of the message, compared in a time that does not depend
    /// on where they differ.
    pub(crate) fn verifies(self, rest: &[u8], tag: &[u8]) -> bool {
        let Ok(tag) = tag.try_into() else {
            return false;
        };
        // Word by word: a comparison of bytes costs a fourth of hashing a short entry.
        words(&self.tag(rest)).ct_eq(&words(tag)).into()
    }
}

/// Where in a last block the message's length stands, in bits.
const LENGTH: usize = BLOCK - size_of::<u64>();

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

fn bytes(state: &[u32; 8]) -> [u8; TAG] {
    let mut bytes = [0; TAG];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn words(tag: &[u8; TAG]) -> [u64; TAG / 8] {
    let (words, _) = tag.as_chunks();
    std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac as _};
    use sha2::Sha256;

    use super::*;

    #[test]
    fn tags_are_those_of_the_hmac_crate_at_every_length_and_split() {
        let message: Vec<u8> = (0..300).map(|i| (i * 7) as u8).collect();
        for key in [&message[..16], &message[..64]] {
            let ours = Mac::new(key).unwrap();
            let theirs = <Hmac<Sha256> as hmac::Mac>::new_from_slice(key).unwrap();
            for length in 0..message.len() {
                let message = &message[..length];
                let tag: [u8; TAG] = theirs
                    .clone()
                    .chain_update(message)
                    .finalize()
                    .into_bytes()
                    .into();
                let (blocks, _) = message.as_chunks();
                for split in 0..=blocks.len() {
                    let mut running = ours.running();
                    for block in &blocks[..split] {
                        running.block(block);
                    }
                    assert_eq!(
                        running.tag(&message[split * BLOCK..]),
                        tag,
                        "length {length}"
                    );
                }
                assert!(ours.running().verifies(message, &tag));
                assert!(!ours.running().verifies(message, &tag[..31]));
                for bit in [0, 100, 255] {
                    let mut other = tag;
                    other[bit / 8] ^= 1 << (bit % 8);
                    assert!(!ours.running().verifies(message, &other));
                }
            }
        }
        assert!(Mac::new(&message[..65]).is_none());
    }
}
