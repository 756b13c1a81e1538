//! What a bucket's answers, and its silence, come to: the exact texts.

use crate::endpoint::{Endpoint, error_document};
use crate::journal::PREFIX;
use crate::process::Process;
use crate::words::{assert_said, journal_of, key_of_user_7};

#[test]
fn each_answer_of_a_bucket_has_its_word() {
    Process::with_bucket().run(|| {
        const UNAVAILABLE: &str = "could not be fetched";
        const DENIED: &str = "may not be fetched";
        let answers = [
            (
                404,
                "NoSuchKey",
                "key_lost",
                "its object is not in the key store",
            ),
            (404, "NoSuchBucket", "store_unavailable", UNAVAILABLE),
            (404, "", "store_unavailable", UNAVAILABLE),
            (403, "AccessDenied", "store_denied", DENIED),
            (403, "SignatureDoesNotMatch", "store_denied", DENIED),
            (401, "", "store_denied", DENIED),
            (400, "ExpiredToken", "store_denied", DENIED),
            (503, "SlowDown", "store_unavailable", UNAVAILABLE),
            (301, "PermanentRedirect", "store_unavailable", UNAVAILABLE),
        ];
        Endpoint::new().answer_all(move |object| {
            // Whether a delete marker hides it: this server keeps no versions.
            if object.starts_with('?') {
                return (501, String::new());
            }
            let number: usize = object.rsplit('_').next().unwrap().parse().unwrap();
            let (status, code, ..) = answers[number];
            let document = if code.is_empty() {
                String::new()
            } else {
                error_document(code)
            };
            (status, document)
        });
        for (number, (status, code, word, sentence)) in answers.into_iter().enumerate() {
            let journal = journal_of(&format!("{PREFIX}answer_{number}"));
            let code = if code.is_empty() { "no code" } else { code };
            let said = match word {
                "key_lost" => format!("key \"oseh_ujmk_1\": {sentence}"),
                _ => {
                    format!("key \"oseh_ujmk_1\" {sentence}: the store answered {status} ({code})")
                }
            };
            assert_said(&journal, "x", word, &said);
        }
    });
}

#[test]
fn a_bucket_without_credentials_is_denied() {
    Process::new()
        .variable("JOURNAL_KEY_STORE", "s3://journal")
        .variable("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        .variable("AWS_EC2_METADATA_DISABLED", "true")
        .run(|| {
            let journal = journal_of(&key_of_user_7());
            let said = "key \"oseh_ujmk_1\" may not be fetched: there are no AWS credentials in the \
                        environment, a profile or a container, and AWS_EC2_METADATA_DISABLED is true";
            assert_said(&journal, "x", "store_denied", said);
        });
}

#[test]
fn a_dead_bucket_is_an_outage() {
    Process::new()
        .variable("JOURNAL_KEY_STORE", "s3://journal")
        .variable("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        .variable("AWS_ACCESS_KEY_ID", "AKIDPLANTED")
        .variable("AWS_SECRET_ACCESS_KEY", "planted-secret")
        .run(|| {
            let journal = journal_of(&key_of_user_7());
            let unavailable =
                "journal_encrypt: store_unavailable: key \"oseh_ujmk_1\" could not be fetched";
            let refused = format!("{unavailable}: connection refused");
            // For a while nobody asks a store that gave no answer.
            let down = format!("{unavailable}: the store gave no answer a moment ago");
            let said = || journal.error("SELECT journal_encrypt(7, 'x')", []);
            assert_eq!(said(), refused);
            assert!([refused, down].contains(&said()));
        });
}

#[test]
fn a_silent_bucket_is_an_outage_when_the_time_is_up() {
    Process::with_bucket()
        .variable("JOURNAL_FETCH_TIMEOUT", "0.2")
        .run(|| {
            let endpoint = Endpoint::new();
            let journal = journal_of(&key_of_user_7());
            assert_eq!(
                journal.error("SELECT journal_encrypt(7, 'x')", []),
                "journal_encrypt: store_unavailable: key \"oseh_ujmk_1\" could not be fetched: \
                 no answer in time"
            );
            assert!(endpoint.seen() > 0);
        });
}
