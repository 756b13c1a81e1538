//! One fetch per key however many ask, and what ends the waiting.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fernet::Fernet;
use rusqlite::ffi::SQLITE_INTERRUPT;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::types::Value;
use rusqlite::{Connection, InterruptHandle};

use crate::endpoint::{Endpoint, error_document};
use crate::journal::{Failure, Journal, PREFIX, ask, path, text};
use crate::process::{Process, wait_until};
use crate::raw;

/// Threads that wait for a fetch, and how often they asked whether they were interrupted.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// While it waits, a call steps a statement of its connection to learn of an interrupt.
fn notice_waiting(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event
        && sql.ends_with("SELECT 1")
    {
        ASKED.fetch_add(1, Ordering::SeqCst);
        if !COUNTED.replace(true) {
            WAITING.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn connect() -> Connection {
    let connection = Connection::open(path("journal.db")).unwrap();
    raw::load(&connection).unwrap();
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(notice_waiting));
    connection
}

/// A call on a thread and connection of its own.
struct Caller {
    interrupt: InterruptHandle,
    thread: JoinHandle<(Connection, Result<Value, Failure>)>,
}

impl Caller {
    fn new(sql: &str) -> Self {
        let connection = connect();
        let interrupt = connection.get_interrupt_handle();
        let sql = sql.to_owned();
        let thread = thread::spawn(move || {
            let given = ask(&connection, &sql, []);
            (connection, given)
        });
        Self { interrupt, thread }
    }

    fn answer(self) -> Result<Value, Failure> {
        self.thread.join().unwrap().1
    }
}

/// A database whose user 7 has the key `oseh_ujmk_1` in the bucket; the key itself, and a token of "x".
fn journal() -> (Journal, String, String) {
    let journal = Journal::in_file("journal.db");
    journal.rows(7, "oseh_ujmk_1", 1.0, &format!("{PREFIX}oseh_ujmk_1"));
    let key = Fernet::generate_key();
    let token = Fernet::new(&key).unwrap().encrypt(b"x");
    (journal, key, token)
}

fn decrypt(token: &str) -> String {
    format!("SELECT journal_decrypt(7, 'oseh_ujmk_1', '{token}')")
}

/// Long enough that no test ends by it.
fn patient() -> Process {
    Process::with_bucket().variable("JOURNAL_FETCH_TIMEOUT", "600")
}

fn wait_for_waiters(count: usize) {
    wait_until("callers that wait", || {
        WAITING.load(Ordering::SeqCst) >= count
    });
}

#[test]
fn eight_threads_that_ask_for_one_cold_key_make_one_fetch() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (_journal, key, token) = journal();
        let callers: Vec<Caller> = (0..8).map(|_| Caller::new(&decrypt(&token))).collect();
        let request = endpoint.next();
        assert_eq!(request.object, format!("{PREFIX}oseh_ujmk_1"));
        wait_for_waiters(8);
        request.answer(200, &key);
        for caller in callers {
            assert_eq!(caller.answer(), text("x"));
        }
        assert_eq!(endpoint.seen(), 1);
    });
}

#[test]
fn a_failed_fetch_is_everyone_s_and_the_next_call_asks_anew() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (journal, key, token) = journal();
        let callers: Vec<Caller> = (0..8).map(|_| Caller::new(&decrypt(&token))).collect();
        let request = endpoint.next();
        wait_for_waiters(8);
        request.answer(403, &error_document("AccessDenied"));
        for caller in callers {
            let said = caller.answer().unwrap_err().1;
            assert!(
                said.starts_with("journal_decrypt: store_denied: "),
                "{said}"
            );
        }
        assert_eq!(endpoint.seen(), 1);
        let caller = Caller::new(&decrypt(&token));
        endpoint.next().answer(200, &key);
        assert_eq!(caller.answer(), text("x"));
        assert_eq!(journal.ask(&decrypt(&token), []), text("x"));
        assert_eq!(endpoint.seen(), 2);
    });
}

#[test]
fn an_interrupt_ends_one_wait_at_its_next_step_and_fails_no_one_else_s() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (_journal, key, token) = journal();
        let alone = Caller::new(&decrypt(&token));
        let request = endpoint.next();
        wait_for_waiters(1);
        alone.interrupt.interrupt();
        let asked = ASKED.load(Ordering::SeqCst);
        let (connection, given) = alone.thread.join().unwrap();
        assert_eq!(
            given,
            Err((SQLITE_INTERRUPT, "journal_decrypt: interrupted".into()))
        );
        // The step that was under way, and no more.
        assert!(ASKED.load(Ordering::SeqCst) <= asked + 1);

        // The fetch is still under way: others join it, and one more leaves.
        let others: Vec<Caller> = (0..3).map(|_| Caller::new(&decrypt(&token))).collect();
        let leaving = Caller::new("SELECT token FROM journal_seal(7, 'x')");
        wait_for_waiters(5);
        leaving.interrupt.interrupt();
        assert_eq!(
            leaving.answer(),
            Err((SQLITE_INTERRUPT, "journal_seal: interrupted".into()))
        );
        request.answer(200, &key);
        for caller in others {
            assert_eq!(caller.answer(), text("x"));
        }
        assert_eq!(ask(&connection, &decrypt(&token), []), text("x"));
        assert_eq!(endpoint.seen(), 1);
    });
}

#[test]
fn a_key_does_not_wait_for_the_fetch_of_another() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (journal, key, token) = journal();
        journal.rows(7, "oseh_ujmk_2", 2.0, &format!("{PREFIX}oseh_ujmk_2"));
        let slow = Caller::new(&decrypt(&token));
        let slow_request = endpoint.next();
        let quick = Caller::new("SELECT journal_encrypt(7, 'x') IS NOT NULL");
        let quick_request = endpoint.next();
        assert_eq!(quick_request.object, format!("{PREFIX}oseh_ujmk_2"));
        quick_request.answer(200, &Fernet::generate_key());
        assert_eq!(quick.answer(), Ok(Value::Integer(1)));
        slow_request.answer(200, &key);
        assert_eq!(slow.answer(), text("x"));
    });
}

#[test]
fn a_call_that_waits_for_its_key_holds_no_lock_on_the_database() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (journal, key, token) = journal();
        journal.busy_timeout(Duration::ZERO).unwrap();
        let any = format!("SELECT journal_decrypt(7, NULL, '{token}')");
        for sql in [
            decrypt(&token),
            any,
            "SELECT journal_encrypt(7, 'x')".to_owned(),
        ] {
            let caller = Caller::new(&sql);
            let request = endpoint.next();
            journal.run("BEGIN EXCLUSIVE; UPDATE s3_files SET created_at = 2; COMMIT");
            request.answer(200, &key);
            assert!(caller.answer().is_ok());
            let evicted = journal.ask("SELECT journal_evict()", []);
            assert_eq!(evicted, Ok(Value::Integer(1)));
        }
    });
}

#[test]
fn a_key_evicted_while_it_is_fetched_answers_its_caller_and_is_not_kept() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (journal, key, token) = journal();
        let caller = Caller::new(&decrypt(&token));
        let request = endpoint.next();
        assert_eq!(
            journal.ask("SELECT journal_evict('oseh_ujmk_1')", []),
            Ok(Value::Integer(0))
        );
        request.answer(200, &key);
        assert_eq!(caller.answer(), text("x"));
        let again = Caller::new(&decrypt(&token));
        endpoint.next().answer(200, &key);
        assert_eq!(again.answer(), text("x"));
        assert_eq!(endpoint.seen(), 2);
    });
}

#[test]
fn a_key_outlives_the_connection_that_fetched_it() {
    patient().run(|| {
        let endpoint = Endpoint::new();
        let (journal, key, token) = journal();
        let caller = Caller::new(&decrypt(&token));
        endpoint.next().answer(200, &key);
        let (connection, given) = caller.thread.join().unwrap();
        assert_eq!(given, text("x"));
        connection.close().unwrap();
        journal.into_connection().close().unwrap();
        assert_eq!(ask(&connect(), &decrypt(&token), []), text("x"));
        assert_eq!(endpoint.seen(), 1);
    });
}

#[test]
fn no_more_keys_are_fetched_at_one_time_than_configured() {
    patient().variable("JOURNAL_FETCH_THREADS", "3").run(|| {
        let endpoint = Endpoint::new();
        let journal = Journal::in_file("journal.db");
        for user in 0..9 {
            let uid = format!("oseh_ujmk_{user}");
            journal.rows(user, &uid, 1.0, &format!("{PREFIX}{uid}"));
        }
        let callers: Vec<Caller> = (0..9)
            .map(|user| Caller::new(&format!("SELECT journal_encrypt({user}, 'x') IS NOT NULL")))
            .collect();
        wait_for_waiters(9);
        let mut held: Vec<_> = (0..3).map(|_| endpoint.next()).collect();
        for answered in 1..=9 {
            assert!(endpoint.seen() < answered + 3);
            held.remove(0).answer(200, &Fernet::generate_key());
            if answered <= 6 {
                held.push(endpoint.next());
            }
        }
        for caller in callers {
            assert_eq!(caller.answer(), Ok(Value::Integer(1)));
        }
        assert_eq!(endpoint.seen(), 9);
    });
}
