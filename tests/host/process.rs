//! A test in a process of its own, with its own environment, directory and key store.
//!
//! The test starts its own binary again, for itself alone. There the body runs, and its last word
//! tells the first process that it came to its end.

use std::any::type_name;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio, exit};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Set in the second process: the test's own directory.
const DIRECTORY: &str = "JOURNAL_TEST_DIRECTORY";
/// Set there too: which body of the test is to run.
const NUMBER: &str = "JOURNAL_TEST_NUMBER";
const LAST_WORD: &str = "the body came to its end";
/// Far more than any test takes; one that hangs is stopped and fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a test's process is to find in its environment.
pub(crate) struct Process {
    store: Store,
    variables: Vec<(&'static str, String)>,
}

enum Store {
    None,
    Directory,
    Bucket,
}

impl Process {
    /// Without a key store.
    pub(crate) fn new() -> Self {
        Self {
            store: Store::None,
            variables: Vec::new(),
        }
    }

    /// With an empty directory for a key store.
    pub(crate) fn with_directory() -> Self {
        Self {
            store: Store::Directory,
            ..Self::new()
        }
    }

    /// With the bucket `journal` at an endpoint that the test itself answers for:
    /// [`crate::endpoint::Endpoint`].
    pub(crate) fn with_bucket() -> Self {
        Self {
            store: Store::Bucket,
            ..Self::new()
        }
        .variable("AWS_ACCESS_KEY_ID", "AKIDPLANTED")
        .variable("AWS_SECRET_ACCESS_KEY", "planted-secret")
    }

    /// Sets a variable.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs `body` there; fails as it fails.
    pub(crate) fn run<F: FnOnce()>(self, body: F) {
        let test = name_of_test::<F>();
        // A test may have several processes; each runs the body of its own number.
        let number = number_of_run(test);
        if let Some(wanted) = std::env::var_os(NUMBER) {
            if wanted == *number {
                body();
                println!("{LAST_WORD}");
                exit(0);
            }
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["JOURNAL_", "AWS_"].iter().any(|p| name.starts_with(p))
                || name.to_ascii_uppercase().ends_with("_PROXY")
            {
                command.env_remove(&*name);
            }
        }
        command
            .env(NUMBER, number)
            .env(DIRECTORY, directory.path())
            .env("HOME", directory.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        match self.store {
            Store::None => {}
            Store::Directory => {
                let keys = directory.path().join("keys");
                std::fs::create_dir(&keys).unwrap();
                command.env("JOURNAL_KEY_STORE", format!("file://{}", keys.display()));
            }
            Store::Bucket => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                command
                    .env("JOURNAL_KEY_STORE", "s3://journal")
                    .env("AWS_ENDPOINT_URL_S3", format!("http://{address}"))
                    .stdin(OwnedFd::from(listener));
            }
        }
        command.envs(self.variables);
        let (ended_well, output) = output_of(command);
        assert!(
            ended_well && output.contains(LAST_WORD),
            "{test} failed in its own process:\n{output}"
        );
    }
}

/// The directory of this test, gone when it ends.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(std::env::var_os(DIRECTORY).expect("only within Process::run"))
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A test's closure is named `host::module::test::{{closure}}`.
fn name_of_test<F>() -> &'static str {
    type_name::<F>()
        .split_once("::")
        .and_then(|(_, rest)| rest.split_once("::{{closure}}"))
        .map(|(test, _)| test)
        .expect("a closure within a test")
}

/// How many bodies of the test came before this one.
fn number_of_run(test: &'static str) -> String {
    static RUNS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut runs = RUNS.lock().unwrap();
    runs.push(test);
    let before = runs.iter().filter(|run| **run == test).count() - 1;
    before.to_string()
}

fn output_of(mut command: Command) -> (bool, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let readers = [collect(out), collect(err)];
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let output: String = readers.map(|reader| reader.join().unwrap()).concat();
    match status {
        Some(status) => (status.success(), format!("{output}\n{status}")),
        None => (false, format!("{output}\nstopped after {PATIENCE:?}")),
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
