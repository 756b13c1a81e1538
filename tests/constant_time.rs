//! The processor executes as many instructions whatever the key, the text and the tag are: counted one by one in a child
//! process, which a clock could not.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, clippy::unwrap_used)] // a process under the eyes of another; a test's way to fail

// First of all crates: the linker then meets rusqlite's SQLite before the older one of the bindings.
extern crate journal_crypt;

use std::hint::black_box;

use base64_simd::URL_SAFE;
use journal_crypt::cipher::{Cipher, Context, Iv, MasterKey, new_key_object};

const LENGTHS: [usize; 3] = [0, 300, 1_000];

#[test]
fn neither_key_nor_text_nor_the_place_of_a_wrong_tag_changes_what_is_executed() {
    let key = || MasterKey::from_object(new_key_object().expose().as_bytes()).unwrap();
    let (key, other) = (key(), key());
    neither_key_nor_context_changes_what_deriving_executes([&key, &other]);
    let (cipher, other) = (key.cipher, other.cipher);
    for length in LENGTHS {
        let texts = [vec![0; length], vec![0xff; length], random(length)];
        let seal =
            |cipher: &Cipher, text: &[u8]| cipher.encrypt(text, 1_700_000_000, &iv()).unwrap();

        let sealing = [&cipher, &other].map(|cipher| {
            texts.each_ref().map(|text| {
                let iv = iv();
                // Leaves the allocator a piece of this size, whose way to a new one depends on what was freed before.
                drop(seal(cipher, text));
                executed(|| black_box(cipher.encrypt(text, 1_700_000_000, &iv).is_ok()))
            })
        });
        assert!(all_equal(sealing.as_flattened()), "{length}: {sealing:?}");

        let opening = [&cipher, &other].map(|cipher| {
            texts.each_ref().map(|text| {
                let token = seal(cipher, text);
                executed(|| black_box(cipher.decrypt(&token).is_ok_and(|text| text.is_ok())))
            })
        });
        assert!(all_equal(opening.as_flattened()), "{length}: {opening:?}");

        // The tag's first byte, its last one, some between, or all of them.
        let refusing = [0..1, 15..17, 31..32, 0..32].map(|wrong| {
            let mut message = URL_SAFE
                .decode_to_vec(&seal(&cipher, &texts[2])[..])
                .unwrap();
            let tag = message.last_chunk_mut::<32>().unwrap();
            tag[wrong].iter_mut().for_each(|byte| *byte ^= 0x55);
            let token = URL_SAFE.encode_to_string(message);
            executed(|| {
                black_box(
                    cipher
                        .decrypt(token.as_bytes())
                        .is_ok_and(|text| text.is_err()),
                )
            })
        });
        assert!(all_equal(&refusing), "{length}: {refusing:?}");
        // The counter counts, and what is refused is not decrypted.
        let blocks = (length / 16) as u64;
        assert!(
            refusing[0] > 1_000 && opening[0][0] > refusing[0] + 10 * blocks,
            "{length}"
        );
    }
}

fn neither_key_nor_context_changes_what_deriving_executes(keys: [&MasterKey; 2]) {
    // At one place, since the address of what is copied counts.
    let mut place = [0; 60];
    let deriving = keys.map(|key| {
        [vec![0; 60], vec![0xff; 60], random(60)].map(|context| {
            place.copy_from_slice(&context);
            let context = Context::new(&place).unwrap();
            executed(|| {
                black_box(key.bound(context));
                true
            })
        })
    });
    assert!(all_equal(deriving.as_flattened()), "{deriving:?}");
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn iv() -> Iv {
    random(16).try_into().unwrap()
}

fn all_equal(counts: &[u64]) -> bool {
    counts.iter().all(|count| *count == counts[0])
}

/// How many instructions a child process executes for `body` and to end, which is the same each time.
fn executed(body: impl FnOnce() -> bool) -> u64 {
    // SAFETY: this process has one test, and no other thread holds a lock that the child needs. The child makes calls
    // that only it sees, and ends without unwinding or running anybody's destructors.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "no process");
        if child == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            libc::_exit(if body() { 0 } else { 1 });
        }
        let mut count = 0;
        loop {
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            if libc::WIFEXITED(status) {
                assert_eq!(libc::WEXITSTATUS(status), 0, "the child did something else");
                return count;
            }
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            count += 1;
            assert_eq!(libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0), 0);
        }
    }
}
