//! The `fernet` crate with its default OpenSSL. See `../peers.py` for what it reads and answers.

use std::hint::black_box;
use std::io::stdin;

use fernet::Fernet;

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let rows: Vec<(Fernet, String, Vec<u8>)> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            let mut words = line.split('\t');
            let mut next = || words.next().unwrap();
            (Fernet::new(next()).unwrap(), next().to_owned(), next().into())
        })
        .collect();
    for line in stdin().lines() {
        let line = line.unwrap();
        let (way, times) = line.split_once(' ').unwrap();
        let rows = rows.iter().cycle().take(times.parse().unwrap());
        for (fernet, token, text) in rows {
            match way {
                "decrypt" => drop(black_box(fernet.decrypt(token).unwrap())),
                _ => drop(black_box(fernet.encrypt(text))),
            }
        }
        println!();
    }
}
