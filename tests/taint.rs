//! No branch and no address depends on a key, a plaintext or a tag where RustCrypto's crates do the work: valgrind's
//! memcheck takes those for memory that nobody has written, follows what comes of them, and reports each that does.
// What the optimiser makes is looked at.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(debug_assertions)))]
#![allow(unsafe_code, clippy::unwrap_used)] // words to valgrind; a test's way to fail
#![allow(dead_code)] // what of these files the cipher alone calls

// The files themselves, since what is public again, a token, is public before a `Cipher` gives it away.
#[path = "../src/cipher/mac.rs"]
mod mac;
#[path = "../src/cipher/portable.rs"]
mod portable;

use std::arch::asm;
use std::hint::black_box;
use std::process::{Command, Output};

use journal_crypt::cipher::MasterKey;
use subtle::ConstantTimeEq;

use self::mac::Mac;
use self::portable::Keys;

const BLOCK: usize = 16;
const TAG: usize = 32;
const HEADER: usize = 25;

/// Plaintexts in bytes: none, a short one, an entry, and one that takes each loop many times.
const LENGTHS: [usize; 4] = [0, 20, 300, 4_096];

#[test]
fn neither_branch_nor_address_depends_on_key_text_or_tag() {
    if !is_under_valgrind() {
        let seen = under_memcheck("neither_branch_nor_address_depends_on_key_text_or_tag");
        assert!(seen.status.success(), "{seen:?}");
        return;
    }
    for length in LENGTHS {
        let mut key = *b"0123456789abcdefFEDCBA9876543210";
        secret(&mut key);
        let keys = keys_of(&key);

        // A message of a header, the padded text and room for the tag.
        let blocks = length / BLOCK + 1;
        let mut message = vec![7; HEADER + blocks * BLOCK + TAG];
        secret(&mut message[HEADER..][..blocks * BLOCK]);
        keys.encrypt_and_sign::<HEADER>(&mut message);
        public(&mut message);

        // What is read, of which nothing is public but the answer whether the tag is right.
        let token = base64_simd::URL_SAFE.encode_to_string(&message);
        let mut read = vec![0; message.len()];
        let expected = keys.decode(token.as_bytes(), &mut read).unwrap();
        let (signed, tag) = read.split_last_chunk_mut::<TAG>().unwrap();
        let mut is_right = [expected.ct_eq(&*tag).unwrap_u8()];
        public(&mut is_right);
        assert_eq!(is_right, [1]);
        let (header, body) = signed.split_at_mut(HEADER);
        keys.decrypt(header.last_chunk().unwrap(), body.as_chunks_mut().0);
        assert_eq!(secrets(body), body.len(), "the text is as secret as it was");

        // A subkey is HMAC of the context under a key's own.
        let mut subkey = Mac::padded(&padded(&key)).tag(b"journal_crypt context 1\0row 1\x01");
        assert_eq!(secrets(&subkey), TAG);
        black_box(keys_of(&subkey));
        public(&mut subkey);
    }
}

#[test]
fn no_address_depends_on_a_key_object_and_no_branch_but_whether_it_is_one() {
    if !is_under_valgrind() {
        let seen = under_memcheck(
            "no_address_depends_on_a_key_object_and_no_branch_but_whether_it_is_one",
        );
        let report = String::from_utf8_lossy(&seen.stderr);
        assert!(!report.contains("Use of uninitialised value"), "{report}");
        // Whether its characters are of the alphabet, and whether the last ones are written as an encoder does.
        let branches = report.lines().filter(|line| line.contains(" at 0x"));
        let all = branches.clone().count();
        let in_it = branches.filter(|line| line.contains("MasterKey::from_object"));
        assert!(all <= 2 && in_it.count() == all, "{report}");
        return;
    }
    let mut object = *b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    let (characters, _padding) = object.split_at_mut(43);
    secret(characters);
    let mut is_one = [u8::from(MasterKey::from_object(&object).is_some())];
    public(&mut is_one);
    assert_eq!(is_one, [1]);
}

#[test]
fn memcheck_reports_a_branch_and_an_address_that_depend_on_a_secret() {
    if !is_under_valgrind() {
        let seen =
            under_memcheck("memcheck_reports_a_branch_and_an_address_that_depend_on_a_secret");
        let report = String::from_utf8_lossy(&seen.stderr);
        assert_eq!(seen.status.code(), Some(ERRORS_FOUND), "{seen:?}");
        assert!(report.contains("Conditional jump"), "{report}");
        assert!(report.contains("Use of uninitialised value"), "{report}");
        return;
    }
    let mut key = [3; 32];
    secret(&mut key);
    if black_box(key[0]) == 3 {
        black_box(());
    }
    let table: [u8; 256] = std::array::from_fn(|i| i as u8);
    black_box(black_box(&table)[usize::from(key[1])]);
}

fn keys_of(key: &[u8; 2 * BLOCK]) -> Keys {
    let (signing, encryption) = key.split_at(BLOCK);
    Keys::new(
        encryption.try_into().unwrap(),
        Mac::padded(&padded(signing)),
    )
}

fn padded(key: &[u8]) -> [u8; mac::BLOCK] {
    let mut padded = [0; mac::BLOCK];
    padded[..key.len()].copy_from_slice(key);
    padded
}

/// The exit status for a report of memcheck's.
const ERRORS_FOUND: i32 = 99;

/// This program's test `name`, under memcheck.
fn under_memcheck(name: &str) -> Output {
    Command::new("valgrind")
        .args(["--quiet", &format!("--error-exitcode={ERRORS_FOUND}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .output()
        .unwrap_or_else(|error| panic!("this needs valgrind: {error}"))
}

// What valgrind.h and memcheck.h call RUNNING_ON_VALGRIND, MAKE_MEM_UNDEFINED, MAKE_MEM_DEFINED and GET_VBITS.

fn is_under_valgrind() -> bool {
    tell(0x1001, [0; 3]) != 0
}

fn secret(bytes: &mut [u8]) {
    tell(0x4d43_0001, [bytes.as_ptr().addr(), bytes.len(), 0]);
}

fn public(bytes: &mut [u8]) {
    tell(0x4d43_0002, [bytes.as_ptr().addr(), bytes.len(), 0]);
}

/// How many of `bytes` memcheck takes for secret.
fn secrets(bytes: &[u8]) -> usize {
    let mut is_undefined = vec![0u8; bytes.len()];
    tell(
        0x4d43_0008,
        [
            bytes.as_ptr().addr(),
            is_undefined.as_mut_ptr().addr(),
            bytes.len(),
        ],
    );
    is_undefined.iter().filter(|bits| **bits != 0).count()
}

/// Asks valgrind, which answers to these instructions alone; to a processor they mean nothing, and the answer is 0.
fn tell(request: usize, [first, second, third]: [usize; 3]) -> usize {
    let arguments = [request, first, second, third, 0, 0];
    let mut answer = 0_usize;
    // SAFETY: the rotations come to 128 bits, so rdi is what it was, as rbx is. The arguments outlive the request, which
    // changes what valgrind knows of memory, and memory in `secrets` alone, where it has as many bytes as are asked for.
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(), inout("rdx") answer,
        );
    }
    answer
}
