//! SHA-256 (FIPS 180-4), and the two of them that HMAC (RFC 2104) is.

use std::arch::x86_64::*;
use std::mem::transmute;

use zeroize::Zeroize;

use super::{load, store};

/// Bytes that SHA-256 takes at a time.
pub(super) const BLOCK: usize = 64;

/// A block of the message, as words of SHA-256, four in a register.
pub(super) struct Words([__m128i; 4]);

impl Words {
    /// The block that begins at `at`.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn of(message: &[u8], at: usize) -> Self {
        Self([0, 16, 32, 48].map(|i| _mm_shuffle_epi8(load(message, at + i), BIG_ENDIAN)))
    }
}

/// A state of SHA-256, in the order in which the instructions take its words.
#[derive(Clone, Copy)]
pub(super) struct State {
    abef: __m128i,
    cdgh: __m128i,
}

impl State {
    pub(super) fn new(words: &[u32; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
        // SAFETY: SSE2, which every x86-64 processor has.
        unsafe {
            Self {
                abef: _mm_setr_epi32(f, e, b, a),
                cdgh: _mm_setr_epi32(h, g, d, c),
            }
        }
    }

    /// Takes in a block.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    pub(super) fn compress(&mut self, mut words: Words) {
        let before = *self;
        self.quarter::<0>(&mut words);
        self.quarter::<1>(&mut words);
        self.quarter::<2>(&mut words);
        self.quarter::<3>(&mut words);
        self.add(before);
    }

    /// The 16 rounds of a block's quarter `Q`, which is 0 to 3 in turn. After the last one the state from before the
    /// block is to be added.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    pub(super) fn quarter<const Q: usize>(&mut self, Words(words): &mut Words) {
        for i in 0..4 {
            if Q > 0 {
                let [w, x, y, z] = [0, 1, 2, 3].map(|next| words[(i + next) % 4]);
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w, x), _mm_alignr_epi8::<4>(z, y));
                words[i] = _mm_sha256msg2_epu32(sum, z);
            }
            let two = _mm_add_epi32(words[i], ROUNDS[4 * Q + i]);
            let other_two = _mm_shuffle_epi32::<0x0e>(two);
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, two);
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, other_two);
        }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn add(&mut self, other: Self) {
        self.abef = _mm_add_epi32(self.abef, other.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, other.cdgh);
    }

    /// HMAC's tag of a message of `length` bytes: `self` comes of the padded key and all whole blocks, which leave the
    /// `rest`, and `outer` of the other padded key.
    #[target_feature(enable = "sha,avx")]
    pub(super) fn tag(mut self, rest: &[u8], length: usize, outer: Self) -> [u8; 32] {
        /// Where in the last block the whole length stands, in bits.
        const LENGTH: usize = BLOCK - size_of::<u64>();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        if rest.len() >= LENGTH {
            self.compress(Words::of(&last, 0));
            last = [0; BLOCK];
        }
        let bits = 8 * (BLOCK + length) as u64;
        last[LENGTH..].copy_from_slice(&bits.to_be_bytes());
        self.compress(Words::of(&last, 0));

        let [first, second] = self.in_order();
        let end = _mm_setr_epi32(i32::MIN, 0, 0, 0);
        let length = _mm_setr_epi32(0, 0, 0, 8 * (BLOCK as i32 + 32));
        let mut state = outer;
        state.compress(Words([first, second, end, length]));
        let mut tag = [0; 32];
        for (at, words) in [0, 16].into_iter().zip(state.in_order()) {
            store(&mut tag, at, _mm_shuffle_epi8(words, BIG_ENDIAN));
        }
        tag
    }

    /// Its words from a to d, and from e to h.
    #[inline]
    #[target_feature(enable = "avx")]
    fn in_order(self) -> [__m128i; 2] {
        let feba = _mm_shuffle_epi32::<0x1b>(self.abef);
        let dchg = _mm_shuffle_epi32::<0xb1>(self.cdgh);
        [
            _mm_blend_epi16::<0xf0>(feba, dchg),
            _mm_alignr_epi8::<8>(dchg, feba),
        ]
    }

    pub(super) fn wipe(&mut self) {
        self.abef.zeroize();
        self.cdgh.zeroize();
    }
}

/// Turns the bytes of each word around.
// SAFETY: plain numbers, of the same size.
const BIG_ENDIAN: __m128i =
    unsafe { transmute([3_u8, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]) };

/// What is added to the words, round by round (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
// SAFETY: plain numbers, of the same size.
static ROUNDS: [__m128i; 16] = unsafe { transmute::<[u32; 64], _>([
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
]) };
