//! gzip (RFC 1952) of whole buffers that wipe themselves: level 9 and no time, as the app's entry items
//! are written by Python's `gzip.compress(data, 9, mtime=0)`.
//!
//! DEFLATE writes and reads straight from and into our own buffers, and the compressor, which keeps a
//! window of what it was given, is emptied before its memory is freed. What is read is one or more
//! members and nothing behind them.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress as deflate,
    create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate, inflate_flags};

use crate::error::Error;
use crate::secret::SecretBytes;

/// Why bytes were not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They are not gzip, are cut short, or do not match their checksum.
    NotGzip,
    /// They unpack to more than was allowed.
    TooLong,
}

/// `plaintext` as one gzip member of level 9, without time or name.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn compress(plaintext: &[u8]) -> Result<SecretBytes, Error> {
    let mut packed = SecretBytes::zeroed(bound(plaintext.len()))?;
    packed[..HEADER.len()].copy_from_slice(&HEADER);
    let room = packed.len() - TRAILER;
    let flags = create_comp_flags_from_zip_params(LEVEL, RAW, 0);
    let mut compressor = Box::new(CompressorOxide::new(flags));
    let (status, read, written) = deflate(
        &mut compressor,
        plaintext,
        &mut packed[HEADER.len()..room],
        TDEFLFlush::Finish,
    );
    compressor.reset();
    // It is freed next; without this the compiler could leave out what nothing reads any more.
    zeroize::optimization_barrier(&*compressor);
    if status != TDEFLStatus::Done || read != plaintext.len() {
        return Err(Error::Panicked);
    }
    let end = HEADER.len() + written;
    packed[end..end + TRAILER].copy_from_slice(&trailer(plaintext));
    packed.narrow(0..end + TRAILER);
    Ok(packed)
}

/// What `packed` holds, if that is at most `most` bytes. Takes memory in proportion to what it unpacks
/// to, and never more than for `most` bytes and a copy half as long.
///
/// # Errors
/// A [`Refusal`] within the result; [`Error::OutOfMemory`] around it.
pub fn decompress(mut packed: &[u8], most: usize) -> Result<Result<SecretBytes, Refusal>, Error> {
    let mut unpacked = SecretBytes::zeroed(expected(packed).min(most))?;
    let mut end = 0;
    loop {
        let Some(mut body) = behind_header(packed) else {
            return Ok(Err(Refusal::NotGzip));
        };
        let start = end;
        let mut decompressor = Box::<DecompressorOxide>::default();
        loop {
            // A member refers back to its own beginning at the most.
            let (status, read, written) = inflate(
                &mut decompressor,
                body,
                &mut unpacked[start..],
                end - start,
                inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            );
            body = &body[read..];
            end += written;
            match status {
                TINFLStatus::Done => break,
                TINFLStatus::HasMoreOutput if unpacked.len() >= most => {
                    return Ok(Err(Refusal::TooLong));
                }
                TINFLStatus::HasMoreOutput => unpacked = grown(&unpacked, end, most)?,
                _ => return Ok(Err(Refusal::NotGzip)),
            }
        }
        let Some((found, rest)) = body.split_at_checked(TRAILER) else {
            return Ok(Err(Refusal::NotGzip));
        };
        if found != trailer(&unpacked[start..end]) {
            return Ok(Err(Refusal::NotGzip));
        }
        if rest.is_empty() {
            unpacked.narrow(0..end);
            return Ok(Ok(unpacked));
        }
        packed = rest;
    }
}

/// The first `end` bytes of `bytes`, in a buffer of at least twice as many, but of no more than `most`.
fn grown(bytes: &[u8], end: usize, most: usize) -> Result<SecretBytes, Error> {
    let length = bytes.len().saturating_mul(2).max(FIRST).min(most);
    let mut larger = SecretBytes::zeroed(length)?;
    larger[..end].copy_from_slice(&bytes[..end]);
    Ok(larger)
}

/// The most bytes that `compress` writes for so many: stored blocks add 5 bytes to each 31 KiB, and the
/// compressor keeps some room for itself.
fn bound(length: usize) -> usize {
    length
        .saturating_add(length / 8)
        .saturating_add(HEADER.len() + TRAILER + 256)
}

/// How many bytes `packed` says that it unpacks to, as far as it can: DEFLATE makes no byte into more
/// than 1032.
fn expected(packed: &[u8]) -> usize {
    let said = packed
        .last_chunk()
        .map_or(0, |said| u32::from_le_bytes(*said));
    usize::try_from(said)
        .unwrap_or(usize::MAX)
        .min(packed.len().saturating_mul(1032))
}

/// Checksum and length, as they end a member.
fn trailer(plaintext: &[u8]) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..4].copy_from_slice(&crc32fast::hash(plaintext).to_le_bytes());
    // The length modulo 2^32, as the format has it.
    trailer[4..].copy_from_slice(&(plaintext.len() as u32).to_le_bytes());
    trailer
}

/// What follows a member's header; `None` if it has none.
fn behind_header(packed: &[u8]) -> Option<&[u8]> {
    const HEADER_CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    let (fixed, mut rest) = packed.split_at_checked(HEADER.len())?;
    let flags = fixed[3];
    if fixed[..3] != HEADER[..3] || flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = &rest[rest.iter().position(|&byte| byte == 0)? + 1..];
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        let (found, behind) = rest.split_first_chunk()?;
        let checksum = crc32fast::hash(&packed[..packed.len() - rest.len()]);
        if u16::from_le_bytes(*found) != checksum as u16 {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

const LEVEL: i32 = 9;
/// A negative window size means DEFLATE without a frame.
const RAW: i32 = -15;
/// Magic, DEFLATE, no flags, no time, slowest compression, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
const TRAILER: usize = 8;
/// The smallest buffer that is grown to.
const FIRST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;
    /// `gzip.compress(b"[]", 9, mtime=0)` of Python 3.11.
    const OF_PYTHON: [u8; 22] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0x8b, 0x8e, 5, 0, 0x29, 0xbb, 0x4c, 0x0d, 2, 0, 0, 0,
    ];

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Refusal> {
        decompress(packed, MOST)
            .unwrap()
            .map(|bytes| bytes.to_vec())
    }

    /// Bytes that do not compress, from a generator of our own.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for length in (0..300).chain([1 << 15, (1 << 15) + 1, 100_000, MOST]) {
            for plaintext in [noise(length), vec![b'a'; length]] {
                let packed = compress(&plaintext).unwrap();
                assert_eq!(unpacked(&packed).unwrap(), plaintext, "length {length}");
            }
        }
    }

    #[test]
    fn what_python_packs_is_unpacked() {
        assert_eq!(unpacked(&OF_PYTHON).unwrap(), b"[]");
    }

    #[test]
    fn a_buffer_that_is_too_small_at_first_grows() {
        let mut packed = compress(&noise(5_000)).unwrap().to_vec();
        packed.extend_from_slice(&compress(b"").unwrap());
        assert_eq!(unpacked(&packed).unwrap(), noise(5_000));
    }

    #[test]
    fn the_limit_is_exact() {
        for plaintext in [noise(5_000), vec![0; 5_000]] {
            let packed = compress(&plaintext).unwrap();
            assert!(decompress(&packed, 5_000).unwrap().is_ok());
            assert_eq!(
                decompress(&packed, 4_999).unwrap().err(),
                Some(Refusal::TooLong)
            );
        }
        let mut liar = compress(&[0; 5_000]).unwrap().to_vec();
        let end = liar.len();
        liar[end - 4..].fill(0);
        assert_eq!(
            decompress(&liar, 4_999).unwrap().err(),
            Some(Refusal::TooLong)
        );
        assert_eq!(
            decompress(&liar, 5_000).unwrap().err(),
            Some(Refusal::NotGzip)
        );
    }

    #[test]
    fn members_follow_each_other_and_nothing_else_does() {
        let (one, two) = (compress(b"[1").unwrap(), compress(b",2]").unwrap());
        assert_eq!(unpacked(&[&one[..], &two[..]].concat()).unwrap(), b"[1,2]");
        for behind in [&b"\0"[..], b"x", &one[..9], &one[..one.len() - 1]] {
            assert_eq!(
                unpacked(&[&one[..], behind].concat()),
                Err(Refusal::NotGzip),
                "{behind:?}"
            );
        }
    }

    #[test]
    fn optional_fields_of_the_header_are_passed_over() {
        let packed = compress(b"{}").unwrap();
        let with = |flags: u8, fields: &[u8]| {
            let mut header = HEADER;
            header[3] = flags;
            [&header[..], fields, &packed[10..]].concat()
        };
        assert_eq!(unpacked(&with(8, b"name\0")).unwrap(), b"{}");
        assert_eq!(
            unpacked(&with(4 | 8 | 16, b"\x02\0xxname\0comment\0")).unwrap(),
            b"{}"
        );
        assert_eq!(unpacked(&with(8, b"name")), Err(Refusal::NotGzip));
        assert_eq!(unpacked(&with(4, b"\xff\xff")), Err(Refusal::NotGzip));
        assert_eq!(unpacked(&with(2, b"\0\0")), Err(Refusal::NotGzip));
        assert_eq!(unpacked(&with(32, b"")), Err(Refusal::NotGzip));
    }

    #[test]
    fn cut_or_changed_bytes_are_refused() {
        let plaintext = b"the same words, the same words, and others";
        let packed = compress(plaintext).unwrap();
        for end in 0..packed.len() {
            assert_eq!(unpacked(&packed[..end]), Err(Refusal::NotGzip), "{end}");
        }
        // Time, compression and system are not covered by a checksum.
        for position in (0..packed.len()).filter(|position| !(4..10).contains(position)) {
            let mut changed = packed.to_vec();
            changed[position] ^= 0x55;
            assert!(unpacked(&changed).is_err(), "{position}");
        }
    }
}
