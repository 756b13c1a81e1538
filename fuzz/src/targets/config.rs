//! Any values of the environment's variables: a configuration or an error that names the variable and not its value.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use journal_crypt::fuzzing::configuration;

const VARIABLES: [&str; 30] = [
    "JOURNAL_KEY_STORE",
    "JOURNAL_ALLOW_HTTP",
    "JOURNAL_CACHE_KEYS",
    "JOURNAL_KEY_PREFIX",
    "JOURNAL_BUCKET_OWNER",
    "JOURNAL_CACHE_TTL",
    "JOURNAL_CACHE_STALE",
    "JOURNAL_FETCH_TIMEOUT",
    "JOURNAL_FETCH_THREADS",
    "JOURNAL_ITEM_MAX",
    "JOURNAL_SCHEMA",
    "JOURNAL_REPLICATED",
    "JOURNAL_ADMIN",
    "JOURNAL_WRAPPING_KEY_FILE",
    "JOURNAL_REQUIRE_WRAPPED",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_MAX_ATTEMPTS",
    // Always beside AWS_ACCESS_KEY_ID, with a value that must not come out.
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
const SECRET: &str = "planted-secret-8f3a";

pub(super) fn run(data: &[u8]) {
    // The fuzzer reads the constant off the comparison below, and writes it where nothing is secret.
    if data
        .windows(SECRET.len())
        .any(|window| window == SECRET.as_bytes())
    {
        return;
    }
    let mut variables = Vec::new();
    for line in data.split(|&byte| byte == b'\n') {
        if let Some((which, value)) = line.split_first() {
            let mut value = value.to_vec();
            let name = VARIABLES[usize::from(*which) % VARIABLES.len()];
            if name.starts_with("AWS_S") {
                value = SECRET.into();
            }
            variables.push((name.to_owned(), OsString::from_vec(value)));
        }
    }
    match configuration(&variables) {
        Ok((shown, debug)) => assert!(!shown.contains(SECRET) && !debug.contains(SECRET)),
        Err(error) => {
            let (name, reason) = error.split_once(": ").unwrap();
            assert!(
                VARIABLES.contains(&name) || name.starts_with("AWS_"),
                "{name}"
            );
            assert!(!reason.contains(SECRET));
        }
    }
}
