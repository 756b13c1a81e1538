//! gzip's frame and what is in it, against zlib (the crate `zlib-rs`) under `flate2`'s reader of frames: what we unpack it
//! unpacks, and the same, never to more than the bound; what it unpacks and we do not is too long, or has a flag that
//! RFC 1952 reserves.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use journal_crypt::item::gzip::{Refusal, compress, decompress};

/// More than any bound below.
const REFERENCE_MOST: u64 = 1 << 20;
/// A header without optional fields.
const HEADER: usize = 10;
const FLAGS: usize = 3;

pub(super) fn run(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let most = 1 << (how & 15);
    compare(rest, most);
    compare(&framed(rest), most);

    // Our own, whole, and with some bytes changed.
    let packed = compress(rest).unwrap();
    assert_eq!(reference(&packed).as_deref(), Some(rest));
    assert_eq!(&decompress(&packed, rest.len()).unwrap().unwrap()[..], rest);
    let mut changed = packed.to_vec();
    for pair in rest.chunks_exact(2).take(usize::from(how >> 4)) {
        let position = usize::from(pair[0]) % changed.len();
        changed[position] = pair[1];
    }
    compare(&changed, most);
    changed.extend_from_slice(&packed);
    compare(&changed, most);
}

/// `deflated` as a member, with the checksum and the length of what it unpacks to: past the trailer.
fn framed(deflated: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut decoder = DeflateDecoder::new(deflated).take(REFERENCE_MOST);
    let _ = decoder.read_to_end(&mut unpacked);
    let end = usize::try_from(decoder.get_ref().total_in()).unwrap();
    let mut framed = compress(b"").unwrap()[..HEADER].to_vec();
    framed.extend_from_slice(&deflated[..end]);
    framed.extend_from_slice(&crc32fast::hash(&unpacked).to_le_bytes());
    framed.extend_from_slice(&(unpacked.len() as u32).to_le_bytes());
    framed
}

/// What the reference unpacks.
fn reference(packed: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(packed)
        .take(REFERENCE_MOST)
        .read_to_end(&mut unpacked)
        .is_ok()
        .then_some(unpacked)
}

fn compare(packed: &[u8], most: usize) {
    let theirs = reference(packed);
    match decompress(packed, most).unwrap() {
        Ok(ours) => {
            assert!(ours.len() <= most);
            assert_eq!(Some(&ours[..]), theirs.as_deref());
        }
        Err(Refusal::TooLong) => {
            assert!(
                theirs.is_none_or(|theirs| theirs.len() > most),
                "it was not too long"
            );
        }
        Err(Refusal::NotGzip) => {
            let is_reserved = packed.get(FLAGS).is_some_and(|flags| flags & 0xe0 != 0);
            assert!(
                theirs.is_none() || is_reserved,
                "gzip that the reference reads was refused"
            );
        }
    }
}
