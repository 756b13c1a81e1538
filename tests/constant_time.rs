//! The processor executes the same instructions and touches the same memory whatever the key, the text and the place of a
//! wrong tag are: followed one by one in a child process, which a clock could not.
// What the optimiser makes is looked at.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(debug_assertions)))]
#![allow(unsafe_code, clippy::unwrap_used)] // a process under the eyes of another; a test's way to fail

// First of all crates: the linker then meets rusqlite's SQLite before the older one of the bindings.
extern crate journal_crypt;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;

use base64_simd::URL_SAFE;
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, Register, UsedMemory};
use journal_crypt::cipher::{Cipher, Context, Iv, MasterKey, new_key_object};

const LENGTHS: [usize; 3] = [0, 300, 1_000];

// One test: a child has no other thread, so none may hold a lock that it needs.
#[test]
fn neither_key_nor_text_nor_the_place_of_a_wrong_tag_changes_what_is_executed_or_touched() {
    let mut followed = Followed::default();
    an_address_that_depends_on_a_text_is_seen(&mut followed);
    let objects = [(); 2].map(|()| new_key_object());
    let key = |which: usize| MasterKey::from_object(objects[which].expose().as_bytes()).unwrap();
    neither_key_nor_context_changes_deriving(&mut followed, key);
    for length in LENGTHS {
        let texts = [vec![0; length], vec![0xff; length], random(length)];
        let seal =
            |cipher: &Cipher, text: &[u8]| cipher.encrypt(text, 1_700_000_000, &iv()).unwrap();

        // Whatever differs lies at one place, since its address counts.
        let mut cipher = key(0).cipher;
        let mut text = texts[0].clone();
        let mut token = seal(&cipher, &text).to_vec();
        let mut iv = iv();
        let (mut sealing, mut opening) = ([Trace::default(); 6], [Trace::default(); 6]);
        // Which piece the allocator gives next depends on what was freed before: after a few rounds it is always the same.
        for i in [0, 0, 0, 0, 1, 2, 3, 4, 5] {
            cipher = key(i / 3).cipher;
            text.copy_from_slice(&texts[i % 3]);
            iv.copy_from_slice(&random(16));
            drop(seal(&cipher, &text));
            sealing[i] =
                followed.by(|| black_box(cipher.encrypt(&text, 1_700_000_000, &iv).is_ok()));
            token.copy_from_slice(&seal(&cipher, &text));
            drop(cipher.decrypt(&token));
            opening[i] =
                followed.by(|| black_box(cipher.decrypt(&token).is_ok_and(|text| text.is_ok())));
        }
        assert!(all_equal(&sealing), "{length}: {sealing:x?}");
        assert!(all_equal(&opening), "{length}: {opening:x?}");

        // The tag's first byte, its last one, some between, or all of them.
        let refusing = [0..1, 15..17, 31..32, 0..32].map(|wrong| {
            let mut message = URL_SAFE.decode_to_vec(&token).unwrap();
            let tag = message.last_chunk_mut::<32>().unwrap();
            tag[wrong.clone()].iter_mut().for_each(|byte| *byte ^= 0x55);
            let mut wrong = URL_SAFE.encode_to_string(message).into_bytes();
            token.swap_with_slice(&mut wrong);
            drop(cipher.decrypt(&token));
            let trace =
                followed.by(|| black_box(cipher.decrypt(&token).is_ok_and(|text| text.is_err())));
            token.swap_with_slice(&mut wrong);
            trace
        });
        assert!(all_equal(&refusing), "{length}: {refusing:x?}");
        // All is followed, and what is refused is not decrypted.
        let [opened, refused] = [opening[0].instructions, refusing[0].instructions];
        assert!(
            refused > 1_000 && opened > refused + 10 * (length / 16) as u64,
            "{length}"
        );
    }
}

fn neither_key_nor_context_changes_deriving(
    followed: &mut Followed,
    key: impl Fn(usize) -> MasterKey,
) {
    let contexts = [vec![0; 60], vec![0xff; 60], random(60)];
    let mut place = contexts[0].clone();
    let mut deriving = [Trace::default(); 6];
    for (i, deriving) in deriving.iter_mut().enumerate() {
        let key = key(i / 3);
        place.copy_from_slice(&contexts[i % 3]);
        let context = Context::new(&place).unwrap();
        *deriving = followed.by(|| {
            black_box(key.bound(context));
            true
        });
    }
    assert!(all_equal(&deriving), "{deriving:x?}");
}

fn an_address_that_depends_on_a_text_is_seen(followed: &mut Followed) {
    let table = [1_u8; 256];
    let mut text = 0_u8;
    let [one, other, again] = [3, 4, 3].map(|byte| {
        text = byte;
        followed.by(|| black_box(&table)[usize::from(*black_box(&text))] == 1)
    });
    assert_eq!(one.instructions, other.instructions);
    assert_ne!(one, other);
    assert_eq!(one, again);
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn iv() -> Iv {
    random(16).try_into().unwrap()
}

fn all_equal(traces: &[Trace]) -> bool {
    traces.iter().all(|trace| *trace == traces[0])
}

/// What a child process did, which is the same each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trace {
    instructions: u64,
    /// A digest of each instruction's address and of those of the memory that it reads or writes, but for tables of base64.
    addresses: u64,
}

/// What is known of the child processes' program, which is one and the same.
#[derive(Default)]
struct Followed {
    /// The memory that instructions use, by their addresses.
    used: HashMap<u64, Vec<UsedMemory>>,
    /// Where a byte of a table of base64 is, and where none is: a token's characters are public, and so are their places
    /// in such a table.
    characters: HashMap<u64, bool>,
}

impl Followed {
    /// What a child process does for `body` and to end.
    #[inline(never)]
    fn by(&mut self, body: impl FnOnce() -> bool) -> Trace {
        // SAFETY: no other thread of this process holds a lock that the child needs. The child makes calls that only it
        // sees, and ends without unwinding or running anybody's destructors.
        unsafe {
            let child = libc::fork();
            assert!(child >= 0, "no process");
            if child == 0 {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
                libc::_exit(if body() { 0 } else { 1 });
            }
            let (mut instructions, mut addresses) = (0, DefaultHasher::new());
            loop {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                if libc::WIFEXITED(status) {
                    assert_eq!(libc::WEXITSTATUS(status), 0, "the child did something else");
                    let addresses = addresses.finish();
                    return Trace {
                        instructions,
                        addresses,
                    };
                }
                assert!(libc::WIFSTOPPED(status), "{status:#x}");
                instructions += 1;
                let mut registers: libc::user_regs_struct = std::mem::zeroed();
                let asked = libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers);
                assert_eq!(asked, 0, "no registers");
                registers.rip.hash(&mut addresses);
                let used = self.used.entry(registers.rip);
                for memory in used.or_insert_with(|| used_memory(child, registers.rip)) {
                    let address = memory
                        .virtual_address(0, |register, _, _| Some(value(register, &registers)))
                        .unwrap();
                    let mut is_character = || {
                        let known = self.characters.entry(address);
                        *known.or_insert_with(|| is_in_table_of_base64(child, address))
                    };
                    if memory.memory_size().size() != 1 || !is_character() {
                        address.hash(&mut addresses);
                    }
                }
                assert_eq!(libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0), 0);
            }
        }
    }
}

/// What the instruction of `child` at `address` reads and writes.
fn used_memory(child: libc::pid_t, address: u64) -> Vec<UsedMemory> {
    let code = peek(child, address, 2);
    let instruction = Decoder::with_ip(64, &code, address, DecoderOptions::NONE).decode();
    assert!(!instruction.is_invalid(), "{code:x?}");
    // Of those with many addresses in a vector the cipher has none, and their addresses would not be known.
    assert!(!instruction.is_vsib(), "{instruction:?}");
    let mut factory = InstructionInfoFactory::new();
    factory.info(&instruction).used_memory().to_vec()
}

/// Whether a child has the alphabet of base64url around `address`, or the places that characters have in it.
fn is_in_table_of_base64(child: libc::pid_t, address: u64) -> bool {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let byte = peek(child, address, 1)[0];
    let place = ALPHABET.iter().position(|character| *character == byte);
    place.is_some_and(|place| peek(child, address - place as u64, 8) == ALPHABET)
        || ALPHABET.get(usize::from(byte)).is_some_and(|character| {
            let table = peek(child, address - u64::from(*character), 32);
            (0..)
                .zip(ALPHABET)
                .all(|(place, character)| table[usize::from(*character)] == place)
        })
}

/// The bytes of so many words of a child, each of ones where there is no memory.
fn peek(child: libc::pid_t, address: u64, words: u64) -> Vec<u8> {
    let words = (0..words).map(|word| {
        // SAFETY: reads a stopped child's memory into the result.
        unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, child, address + 8 * word, 0) }
    });
    words.flat_map(i64::to_ne_bytes).collect()
}

/// A register as an address is made of it: for a segment, where it begins.
fn value(register: Register, registers: &libc::user_regs_struct) -> u64 {
    match register {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        other => panic!("an address is made of {other:?}"),
    }
}
