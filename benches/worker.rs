//! A host for the extension that times what `run.py` asks it for.
//!
//! `worker LIBRARY DATABASE` prints the seconds that loading took and SQLite's version, then answers each line of its
//! input, a command and its arguments separated by tabs, with one number:
//!
//! ```text
//! scan SQL               seconds for the whole query
//! pair SQL               seconds that pass while two connections run it at a time, each on a thread of its own
//! one SQL                seconds that pass while one does
//! sum SQL                the query's answer, an integer
//! each N ARGUMENTS SQL   seconds for N runs of SQL, prepared once, with the rows of ARGUMENTS bound
//! prepare N ARGUMENTS SQL   the same, prepared for every run
//! decrypt N KEYS SQL     seconds for N runs of the bare primitives on the rows (key uid, token) of SQL
//! encrypt N KEYS SQL     the same on the rows (key uid, plaintext); KEYS is the folder of key objects
//! resident               bytes of memory that the process has resident
//! ```
//!
//! Seconds are the processor's where nothing else is said: the others' turns on a busy machine are left out.
//!
//! `copied(…, x)` is the floor of a scan: a function that gives back a copy of its last argument.
#![allow(unsafe_code, missing_docs)]

use std::collections::HashMap;
use std::error::Error;
use std::ffi::c_int;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use aes::Aes128;
use base64_simd::{AsOut, URL_SAFE};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::consts::U16;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use hmac::{Hmac, Mac};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Statement, ffi, params_from_iter};
use sha2::Sha256;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // Cargo adds an argument of its own for a bench.
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let [_, library, database] = &arguments[..] else {
        return Err("worker LIBRARY DATABASE".into());
    };
    // SAFETY: before SQLite's first use. Its memory statistics put a mutex of the process around every
    // allocation, which two connections would measure instead of the extension.
    unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
    let open = || -> Outcome<(Connection, f64)> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        register_copied(&connection)?;
        let start = Instant::now();
        // SAFETY: the library is the one under test.
        unsafe {
            connection.load_extension_enable()?;
            connection.load_extension(library, None::<&str>)?;
        }
        Ok((connection, start.elapsed().as_secs_f64()))
    };
    let (first, loaded) = open()?;
    let (second, _) = open()?;
    println!("{loaded}\t{}", rusqlite::version());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let parts: Vec<&str> = line.split('\t').collect();
        let number = match parts[..] {
            ["scan", sql] => seconds(|| sum(&first, sql))?,
            ["sum", sql] => sum(&first, sql)? as f64,
            ["one", sql] => passing(|| sum(&first, sql))?,
            ["pair", sql] => passing(|| {
                let pair = [&first, &second].map(Movable);
                std::thread::scope(|scope| {
                    let threads = pair.map(|c| scope.spawn(move || c.sum(sql)));
                    for thread in threads {
                        thread.join().map_err(|_| "panicked")??;
                    }
                    Ok(())
                })
            })?,
            ["each", n, arguments, sql] => {
                let rows = rows(&first, arguments)?;
                let mut statement = first.prepare(sql)?;
                seconds(|| {
                    rows.iter()
                        .cycle()
                        .take(n.parse()?)
                        .try_for_each(|row| step(&mut statement, row))
                })?
            }
            ["prepare", n, arguments, sql] => {
                let rows = rows(&first, arguments)?;
                seconds(|| {
                    rows.iter()
                        .cycle()
                        .take(n.parse()?)
                        .try_for_each(|row| step(&mut first.prepare(sql)?, row))
                })?
            }
            [way @ ("decrypt" | "encrypt"), n, keys, sql] => {
                let primitives = Primitives::load(&first, Path::new(keys), sql)?;
                let run = match way {
                    "decrypt" => Primitives::decrypt,
                    _ => Primitives::encrypt,
                };
                seconds(|| run(&primitives, n.parse()?))?
            }
            ["resident"] => resident()?,
            _ => return Err(format!("unknown command {:?}", parts[0]).into()),
        };
        println!("{number}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Seconds that the processor works for this thread.
fn seconds<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let before = worked();
    black_box(body()?);
    Ok(worked() - before)
}

fn worked() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is every Linux's, and the place is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Seconds that pass.
fn passing<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let start = Instant::now();
    black_box(body()?);
    Ok(start.elapsed().as_secs_f64())
}

fn sum(connection: &Connection, sql: &str) -> Outcome<i64> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn rows(connection: &Connection, sql: &str) -> Outcome<Vec<Vec<Value>>> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|i| row.get(i)).collect())?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn step(statement: &mut Statement<'_>, row: &[Value]) -> Outcome<()> {
    let mut rows = statement.query(params_from_iter(row))?;
    while let Some(row) = rows.next()? {
        black_box(row.get_ref(0)?.as_bytes()?);
    }
    Ok(())
}

/// A connection that another thread may use while this one does not.
struct Movable<'a>(&'a Connection);
// SAFETY: each goes to one thread, and the one that lent them waits for both.
unsafe impl Send for Movable<'_> {}

impl Movable<'_> {
    fn sum(self, sql: &str) -> Result<i64, String> {
        sum(self.0, sql).map_err(|error| error.to_string())
    }
}

fn register_copied(connection: &Connection) -> Outcome<()> {
    extern "C" fn copied(
        context: *mut ffi::sqlite3_context,
        count: c_int,
        values: *mut *mut ffi::sqlite3_value,
    ) {
        // SAFETY: SQLite passes `count` values, of which there is at least one, and copies the text.
        unsafe {
            let value = *values.add(count as usize - 1);
            let text = ffi::sqlite3_value_text(value);
            let length = ffi::sqlite3_value_bytes(value);
            ffi::sqlite3_result_text(context, text.cast(), length, ffi::SQLITE_TRANSIENT());
        }
    }
    // SAFETY: the connection is live, the name NUL-terminated, and the function needs no data.
    let result = unsafe {
        ffi::sqlite3_create_function_v2(
            connection.handle(),
            c"copied".as_ptr(),
            -1,
            ffi::SQLITE_UTF8 | ffi::SQLITE_DIRECTONLY,
            std::ptr::null_mut(),
            Some(copied),
            None,
            None,
            None,
        )
    };
    match result {
        ffi::SQLITE_OK => Ok(()),
        code => Err(format!("copied() not registered: {code}").into()),
    }
}

/// AES-128-CBC, HMAC-SHA256 and base64 on the bytes of real rows, key schedule and HMAC state computed
/// beforehand, no allocation.
struct Primitives {
    rows: Vec<(Aes128, Hmac<Sha256>, Vec<u8>)>,
    longest: usize,
}

impl Primitives {
    fn load(connection: &Connection, folder: &Path, sql: &str) -> Outcome<Self> {
        let mut keys = HashMap::new();
        let mut loaded = Vec::new();
        for row in rows(connection, sql)? {
            let [Value::Text(uid), Value::Text(text)] = &row[..] else {
                return Err("rows of (key uid, text) are needed".into());
            };
            if !keys.contains_key(uid) {
                let key = URL_SAFE.decode_to_vec(std::fs::read(folder.join(uid))?)?;
                let mac = Hmac::<Sha256>::new_from_slice(&key[..16])?;
                keys.insert(uid.clone(), (Aes128::new_from_slice(&key[16..])?, mac));
            }
            let (aes, mac) = keys[uid].clone();
            loaded.push((aes, mac, text.clone().into_bytes()));
        }
        let longest = loaded.iter().map(|row| row.2.len()).max().unwrap_or(0);
        Ok(Self {
            rows: loaded,
            longest,
        })
    }

    fn decrypt(&self, times: usize) -> Outcome<()> {
        let mut buffer = vec![0; self.longest];
        for (aes, mac, token) in self.rows.iter().cycle().take(times) {
            let message = URL_SAFE.decode(token, buffer.as_out())?;
            let (signed, tag) = message.split_at_mut(message.len() - 32);
            mac.clone().chain_update(&*signed).verify_slice(tag)?;
            let (header, body) = signed.split_at_mut(25);
            cbc::Decryptor::inner_iv_init(aes, iv(header)?)
                .decrypt_padded::<Pkcs7>(body)
                .map_err(|_| "padding")?;
            black_box(&buffer);
        }
        Ok(())
    }

    fn encrypt(&self, times: usize) -> Outcome<()> {
        let mut buffer = vec![0; self.longest + 25 + 16 + 32];
        let mut token = vec![0; URL_SAFE.encoded_length(buffer.len())];
        for (aes, mac, plaintext) in self.rows.iter().cycle().take(times) {
            let (header, body) = buffer.split_at_mut(25);
            let padded = cbc::Encryptor::inner_iv_init(aes, iv(header)?)
                .encrypt_padded_b2b::<Pkcs7>(plaintext, body)
                .map_err(|_| "padding")?
                .len();
            let (signed, tag) = buffer.split_at_mut(25 + padded);
            tag[..32].copy_from_slice(&mac.clone().chain_update(&*signed).finalize().into_bytes());
            black_box(URL_SAFE.encode(&buffer[..25 + padded + 32], token.as_out()));
        }
        Ok(())
    }
}

/// The last 16 bytes of a header.
fn iv(header: &[u8]) -> Outcome<&Array<u8, U16>> {
    Ok(header[9..].try_into()?)
}

fn resident() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? * 1024.0)
}
