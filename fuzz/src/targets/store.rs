//! Any answer of an S3 server: no panic, no word of its body in the error, and absent only where it says so.

use journal_crypt::fuzzing::s3_answer;
use journal_crypt::store::StoreError;

const STATUSES: [u16; 16] = [
    200, 206, 301, 304, 307, 400, 401, 403, 404, 409, 416, 429, 500, 503, 0, 999,
];

pub(super) fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let status = STATUSES[usize::from(how & 15)];
    // Header lines up to an empty one, then the body.
    let mut headers = Vec::new();
    let mut body = rest;
    while let Some(end) = body.iter().position(|&byte| byte == b'\n') {
        let line = &body[..end];
        body = &body[end + 1..];
        match line.iter().position(|&byte| byte == b':') {
            Some(colon) => headers.push((&line[..colon], &line[colon + 1..])),
            None => break,
        }
    }
    let Some((region, found)) = s3_answer(status, &headers, body, how & 16 != 0) else {
        return;
    };
    if let Some(region) = region {
        assert!(
            region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
    }
    match found {
        Err(StoreError::Absent) => {
            assert_eq!(status, 404);
            assert!(String::from_utf8_lossy(body).contains("NoSuchKey") || body.contains(&b'&'));
        }
        Err(error) => assert!(error.to_string().len() < 200),
        Ok(is_key) => assert!(!is_key || status == 200),
    }
}
