//! AES-128 (FIPS 197): the key's schedule, and CBC (NIST SP 800-38A).

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::{load, store};

/// Bytes that AES takes at a time.
pub(super) const BLOCK: usize = 16;

/// The round keys.
pub(super) struct Schedule([__m128i; 11]);

impl Schedule {
    #[target_feature(enable = "aes,avx")]
    pub(super) fn new(key: &[u8; 16]) -> Self {
        #[inline]
        #[target_feature(enable = "aes,avx")]
        fn next<const CONSTANT: i32>(key: __m128i) -> __m128i {
            let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<CONSTANT>(key));
            let mut sums = key;
            for _ in 0..3 {
                sums = _mm_xor_si128(key, _mm_slli_si128::<4>(sums));
            }
            _mm_xor_si128(sums, word)
        }
        let mut rounds = [load(key, 0); 11];
        rounds[1] = next::<0x01>(rounds[0]);
        rounds[2] = next::<0x02>(rounds[1]);
        rounds[3] = next::<0x04>(rounds[2]);
        rounds[4] = next::<0x08>(rounds[3]);
        rounds[5] = next::<0x10>(rounds[4]);
        rounds[6] = next::<0x20>(rounds[5]);
        rounds[7] = next::<0x40>(rounds[6]);
        rounds[8] = next::<0x80>(rounds[7]);
        rounds[9] = next::<0x1b>(rounds[8]);
        rounds[10] = next::<0x36>(rounds[9]);
        Self(rounds)
    }

    /// Encrypts `block`, chained to the one before it.
    #[inline]
    #[target_feature(enable = "aes,avx")]
    pub(super) fn encrypt(&self, block: __m128i, chain: __m128i) -> __m128i {
        let Self(rounds) = self;
        let mut state = _mm_xor_si128(_mm_xor_si128(block, rounds[0]), chain);
        for key in &rounds[1..10] {
            state = _mm_aesenc_si128(state, *key);
        }
        _mm_aesenclast_si128(state, rounds[10])
    }

    /// Decrypts `blocks` in place, the first one chained to `iv`.
    #[target_feature(enable = "aes,avx")]
    pub(super) fn decrypt(&self, iv: &[u8; BLOCK], blocks: &mut [[u8; BLOCK]]) {
        let Self(mut rounds) = *self;
        for key in &mut rounds[1..10] {
            *key = _mm_aesimc_si128(*key);
        }
        let mut chain = load(iv, 0);
        for block in blocks {
            let sealed = load(block, 0);
            let mut state = _mm_xor_si128(sealed, rounds[10]);
            for key in rounds[1..10].iter().rev() {
                state = _mm_aesdec_si128(state, *key);
            }
            let opened = _mm_aesdeclast_si128(state, rounds[0]);
            store(block, 0, _mm_xor_si128(opened, chain));
            chain = sealed;
        }
    }

    pub(super) fn wipe(&mut self) {
        self.0.zeroize();
    }
}
