//! What is asked of S3 and what its answers mean. Real servers are asked by tests/stores.

use http::header::CONTENT_LENGTH;

use std::time::SystemTime;

use http::StatusCode;

use super::answer::refusal;
use super::*;
use crate::secret::SecretBytes;

fn answer(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    map.insert(CONTENT_LENGTH, body.len().into());
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: SecretBytes::copy_of(body.as_bytes()).unwrap(),
        too_long: false,
    }
}

fn error(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>m</Message><Region>eu-west-1</Region></Error>"
    )
}

fn aws(endpoint: Option<&str>) -> Aws {
    Aws {
        endpoint: endpoint.map(|url| Url::parse(url).unwrap()),
        ..Aws::default()
    }
}

fn store(endpoint: Option<&str>) -> S3 {
    let aws: &'static Aws = Box::leak(Box::new(aws(endpoint)));
    let retry = Arc::new(Retry::new(Arc::default()));
    S3 {
        bucket: Bucket::Named("journal".to_owned()),
        aws,
        http: Http::new(aws, 1).unwrap(),
        credentials: Provider::new(aws, Arc::clone(&retry), Arc::default()),
        retry,
        region: RwLock::new("us-east-1".to_owned()),
    }
}

#[test]
fn an_object_s_name_is_escaped_once() {
    let name = ObjectName::parse("a b/ü+%2e~'(1)", "").unwrap();
    let url = store(None)
        .url(name.as_str(), "versionId=1", "eu-west-1")
        .unwrap();
    assert_eq!(
        url.as_str(),
        "https://journal.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%2B%252e~%27%281%29?versionId=1"
    );
}

#[test]
fn only_no_such_key_is_an_absent_object() {
    for (status, code, expected) in [
        (404, "NoSuchKey", Some(StoreError::Absent)),
        (404, "NoSuchBucket", None),
        (404, "", None),
        (200, "NoSuchKey", None),
    ] {
        let found = refusal(&answer(status, &error(code), &[]));
        assert_eq!(
            found == StoreError::Absent,
            expected.is_some(),
            "{status} {code}"
        );
    }
}

#[test]
fn faults_that_pass_are_told_from_denials_and_from_faults_that_last() {
    for status in [429, 500, 502, 503, 504, 520, 529] {
        assert!(refusal(&answer(status, &error("SlowDown"), &[])).is_passing());
    }
    for (status, code) in [
        (403, "AccessDenied"),
        (401, "Unauthorized"),
        (403, "InvalidAccessKeyId"),
        (400, "InvalidToken"),
    ] {
        let found = refusal(&answer(status, &error(code), &[]));
        assert!(matches!(found, StoreError::Denied(_)), "{status} {code}");
    }
    // What is wrong with what we sign with, and says nothing of what the store allows.
    for (status, code) in [
        (400, "ExpiredToken"),
        (403, "ExpiredToken"),
        (400, "TokenRefreshRequired"),
        (403, "RequestTimeTooSkewed"),
    ] {
        let found = refusal(&answer(status, &error(code), &[]));
        let unsigned = matches!(found, StoreError::NoCredentials { refused: true, .. });
        assert!(unsigned, "{status} {code}");
    }
    for (status, code) in [
        (404, "NoSuchBucket"),
        (400, "InvalidRequest"),
        (418, ""),
        (501, "NotImplemented"),
    ] {
        let found = refusal(&answer(status, &error(code), &[]));
        let lasting = matches!(found, StoreError::Unavailable { .. }) && !found.is_passing();
        assert!(lasting, "{status} {code}");
    }
}

#[test]
fn a_code_that_is_no_word_is_not_repeated() {
    for body in [
        error("planted secret"),
        error(&"x".repeat(65)),
        "planted secret".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            refusal(&answer(403, &body, &[])).to_string(),
            "the store answered 403 (no code)"
        );
    }
}

#[test]
fn a_wrong_region_is_mended_from_amazon_s_word_alone() {
    let header = ("x-amz-bucket-region", "eu-central-1");
    for (status, headers, expected) in [
        (301, &[header][..], Some("eu-central-1")),
        (307, &[header][..], Some("eu-central-1")),
        (400, &[header][..], Some("eu-central-1")),
        // Without the header, the document's.
        (400, &[][..], Some("eu-west-1")),
        // What could become part of another host is no region.
        (301, &[("x-amz-bucket-region", "evil.example/")][..], None),
        (301, &[("x-amz-bucket-region", "")][..], None),
        (403, &[header][..], None),
        (200, &[header][..], None),
    ] {
        let answer = answer(status, &error("PermanentRedirect"), headers);
        let found = store(None).other_region(&answer);
        assert_eq!(found.as_deref(), expected, "{status} {headers:?}");
        let elsewhere = store(Some("https://minio:9000"));
        assert_eq!(elsewhere.other_region(&answer), None);
    }
}

#[test]
fn the_store_s_clock_is_read_from_its_date() {
    let answer = answer(404, "", &[("date", "Mon, 02 Nov 2026 10:00:00 GMT")]);
    let since = date(&answer)
        .unwrap()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(since.as_secs(), 1_793_613_600);
}
