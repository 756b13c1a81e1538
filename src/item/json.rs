//! Whether bytes are JSON (RFC 8259), without building a value: nothing of them is copied.

use serde::de::IgnoredAny;

/// How deep arrays and objects may be nested: what SQLite's JSON functions take.
const DEEPEST: usize = 1000;

/// Whether `bytes` are one JSON value that SQLite's JSON functions take: UTF-8, strict grammar, not
/// nested too deep.
pub fn is_json(bytes: &[u8]) -> bool {
    // The depth comes first: the parser keeps a byte for each level, in memory that it cannot do without. It passes over
    // values without recursion.
    std::str::from_utf8(bytes).is_ok_and(|text| {
        depth(bytes) <= DEEPEST && serde_json::from_str::<IgnoredAny>(text).is_ok()
    })
}

/// How deep the arrays and objects of `json` are nested.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => drop(bytes.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_strict() {
        for json in [
            "{}",
            " [1, -2.5e3, \"\\u00e9\\ud800\", true, null]\n",
            "\"x\"",
            "0",
            "1e999",
            "{\"a\":{\"a\":[]}}",
            "{\"a\":1,\"a\":2}",
            "\"[[[\\\"{\"",
        ] {
            assert!(is_json(json.as_bytes()), "{json}");
        }
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{a:1}",
            "'x'",
            "01",
            ".5",
            "+1",
            "NaN",
            "Infinity",
            "[1]x",
            "[1] [2]",
            "\"a\nb\"",
            "\"\\x41\"",
            "\u{feff}{}",
            "{}\0",
            "/**/1",
            "tru",
        ] {
            assert!(!is_json(text.as_bytes()), "{text:?}");
        }
        assert!(!is_json(b"\"\xff\""));
        assert!(!is_json(b"\"\xed\xa0\x80\""));
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_json(nested(DEEPEST).as_bytes()));
        assert!(!is_json(nested(DEEPEST + 1).as_bytes()));
        assert!(!is_json(nested(10_000_000).as_bytes()));
        assert!(is_json(format!("\"{}\\\"[\"", "[".repeat(5000)).as_bytes()));
        assert!(is_json(format!("[{}[]]", "[],".repeat(5000)).as_bytes()));
    }
}
