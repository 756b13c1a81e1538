//! The bucket's endpoint, answered for by the test: it sees every fetch and decides when and how it ends.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// The listening end that [`crate::process::Process::with_bucket`] handed to this process.
pub(crate) struct Endpoint {
    requests: Receiver<Request>,
    seen: Arc<AtomicUsize>,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    /// What follows the bucket in its path.
    pub(crate) object: String,
    stream: TcpStream,
}

impl Endpoint {
    /// Starts listening.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        let (sender, requests) = mpsc::channel();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(request) = Request::read(stream.unwrap()) else {
                    continue;
                };
                count.fetch_add(1, Ordering::SeqCst);
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { requests, seen }
    }

    /// The next request.
    pub(crate) fn next(&self) -> Request {
        self.requests
            .recv_timeout(Duration::from_secs(60))
            .expect("no request came")
    }

    /// How many requests there have been.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Answers every further request, in the background.
    pub(crate) fn answer_all(self, answer: impl Fn(&str) -> (u16, String) + Send + 'static) {
        thread::spawn(move || {
            for request in self.requests {
                let (status, body) = answer(&request.object);
                request.answer(status, &body);
            }
        });
    }
}

impl Request {
    fn read(stream: TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(&stream).lines();
        let first = lines.next()?.ok()?;
        // The headers end with an empty line; a GET has no body.
        while !lines.next()?.ok()?.is_empty() {}
        let object = first.strip_prefix("GET /journal/")?.split(' ').next()?;
        Some(Self {
            object: object.to_owned(),
            stream,
        })
    }

    /// Answers and closes the connection.
    pub(crate) fn answer(mut self, status: u16, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // Who asked may have given up by now.
        let _ = self.stream.write_all(answer.as_bytes());
    }
}

/// S3's error document for a code.
pub(crate) fn error_document(code: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>")
}
