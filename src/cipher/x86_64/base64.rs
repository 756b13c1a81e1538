//! Base64 with the alphabet for URLs (RFC 4648, 5), 16 characters at a time.
//!
//! The way is that of Muła and Lemire, Faster Base64 Encoding and Decoding using AVX2 Instructions
//! (<https://arxiv.org/abs/1704.00605>), with tables for this alphabet.

use std::arch::x86_64::*;

/// Characters of a group.
pub(super) const CHARACTERS: usize = 16;
/// Bytes that a group stands for.
pub(super) const BYTES: usize = 12;

/// The characters of the first 12 of `bytes`.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn encode(bytes: __m128i) -> __m128i {
    // Three bytes of each word, abc, as bcab: two 16-bit halves, of which each holds two of the four 6-bit numbers.
    let order = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    let words = _mm_shuffle_epi8(bytes, order);
    let even = _mm_and_si128(words, _mm_set1_epi32(0x0fc0_fc00));
    let even = _mm_mulhi_epu16(even, _mm_set1_epi32(0x0400_0040));
    let odd = _mm_and_si128(words, _mm_set1_epi32(0x003f_03f0));
    let odd = _mm_mullo_epi16(odd, _mm_set1_epi32(0x0100_0010));
    let numbers = _mm_or_si128(even, odd);
    // 0 for the small letters, 1 to 10 for the digits, 11 and 12 for the two signs, 13 for the capitals.
    let capital = _mm_cmpgt_epi8(_mm_set1_epi8(26), numbers);
    let kind = _mm_subs_epu8(numbers, _mm_set1_epi8(51));
    let kind = _mm_or_si128(kind, _mm_and_si128(capital, _mm_set1_epi8(13)));
    let offsets = _mm_setr_epi8(
        71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -17, 32, 65, 0, 0,
    );
    _mm_add_epi8(numbers, _mm_shuffle_epi8(offsets, kind))
}

/// The 12 bytes that `characters` stand for, and four zeros. A bit of `wrong` is set if one of them is of another
/// alphabet.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn decode(characters: __m128i, wrong: &mut __m128i) -> __m128i {
    let half = _mm_set1_epi8(0x0f);
    let high = _mm_and_si128(_mm_srli_epi32::<4>(characters), half);
    let low = _mm_and_si128(characters, half);
    // A bit for each row of the ASCII table that has some of the alphabet: 2, 3, 4 and 6, 5, 7; and one for all others.
    let row = _mm_setr_epi8(32, 32, 1, 2, 4, 8, 4, 16, 32, 32, 32, 32, 32, 32, 32, 32);
    // The rows in which a column is not of the alphabet.
    let rows = _mm_setr_epi8(
        37, 33, 33, 33, 33, 33, 33, 33, 33, 33, 35, 59, 59, 58, 59, 51,
    );
    let here = _mm_and_si128(_mm_shuffle_epi8(row, high), _mm_shuffle_epi8(rows, low));
    *wrong = _mm_or_si128(*wrong, here);

    let offsets = _mm_setr_epi8(0, 0, 17, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    let underscore = _mm_cmpeq_epi8(characters, _mm_set1_epi8(0x5f));
    let offset = _mm_shuffle_epi8(offsets, high);
    let offset = _mm_add_epi8(offset, _mm_and_si128(underscore, _mm_set1_epi8(33)));
    let numbers = _mm_add_epi8(characters, offset);
    // Four 6-bit numbers become a 24-bit one, whose bytes are then turned around.
    let pairs = _mm_maddubs_epi16(numbers, _mm_set1_epi32(0x0140_0140));
    let words = _mm_madd_epi16(pairs, _mm_set1_epi32(0x0001_1000));
    let order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    _mm_shuffle_epi8(words, order)
}
