//! Which code makes and reads this process's tokens: that of `x86_64` once it has proved itself, or RustCrypto's crates.

#[cfg(target_arch = "x86_64")]
use once_cell::race::OnceBool;

#[cfg(target_arch = "x86_64")]
use super::{Cipher, Keys, Mac, TAG, message_length, portable, token_length, x86_64};

/// What makes and reads tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Code of our own for the processor's instructions, which made and read known tokens as the crates do.
    Instructions,
    /// RustCrypto's crates, where the processor lacks an instruction that ours is made of.
    Crates,
    /// RustCrypto's crates, since ours made or read a known token in another way: the processor, the memory or the
    /// library's file is not what it should be.
    CratesForFaulty,
}

impl Path {
    /// The one that serves this process, tried when it is first asked for.
    pub fn of_this_process() -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86_64::is_there() {
            // Threads that ask at the same time each try, and find the same.
            static IS_PROVEN: OnceBool = OnceBool::new();
            return match IS_PROVEN.get_or_init(is_proven) {
                true => Self::Instructions,
                false => Self::CratesForFaulty,
            };
        }
        Self::Crates
    }
}

/// Whether RustCrypto's crates use instructions of the processor for AES, and for SHA-256.
pub fn crates_use_instructions() -> [bool; 2] {
    // What `sha2` looks for, which does not tell.
    #[cfg(target_arch = "x86_64")]
    let sha = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    #[cfg(target_arch = "aarch64")]
    let sha = std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let sha = false;
    [aes::hardware_accelerated(), sha]
}

/// Whether the processor's instructions make and read known tokens as the crates do, and refuse one whose tag has a wrong
/// bit. The texts are of lengths that take each loop not at all, once and many times, and leave rests of several lengths.
#[cfg(target_arch = "x86_64")]
fn is_proven() -> bool {
    const LENGTHS: [usize; 6] = [0, 15, 16, 100, 163, LONGEST];
    const LONGEST: usize = 300;
    // Known to everybody.
    let bytes: [u8; LONGEST] = std::array::from_fn(|i| (i * 7 + i / 31) as u8);
    let ([signing, encryption, iv, ..], _) = bytes.as_chunks() else {
        return false;
    };
    let (Some(mac), Some(time)) = (Mac::new(signing), bytes.last_chunk()) else {
        return false;
    };
    let Some(ours) = x86_64::Keys::new(encryption, &mac.inner, &mac.outer) else {
        return false;
    };
    let ours = Cipher(Keys::Instructions(ours));
    let theirs = Cipher(Keys::Portable(portable::Keys::new(encryption, mac)));
    let is_same = |text: &[u8]| {
        let mut buffers = [[0; token_length(LONGEST)]; 3];
        let [token, other, message] = buffers
            .each_mut()
            .map(|buffer| &mut buffer[..token_length(text.len())]);
        ours.seal(text, u64::from_be_bytes(*time), iv, token);
        theirs.seal(text, u64::from_be_bytes(*time), iv, other);
        if token != other {
            return false;
        }
        let message = &mut message[..message_length(text.len())];
        let Some(place) = ours.open(token, message) else {
            return false;
        };
        if message[place] != *text {
            return false;
        }
        // In the tag, whose last characters may be padding.
        let changed = token.len() - TAG;
        token[changed] = if token[changed] == b'A' { b'B' } else { b'A' };
        ours.open(token, message).is_none()
    };
    LENGTHS.iter().all(|length| is_same(&bytes[..*length]))
}
