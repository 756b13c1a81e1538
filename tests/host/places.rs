//! What each value means in each argument's place.

use crate::values::{KEY, Means, TOKEN};

type Values = &'static [(&'static str, Means)];

/// A text of 1 MiB.
const HUGE: &str = "printf('%.*c', 1048576, 'x')";

const NO_KEY_0: Means = Means::Final("key_not_found", "user 7 has no key (TEXT of 0 bytes)");
const NO_KEY_12: Means = Means::Final("key_not_found", "user 7 has no key (TEXT of 12 bytes)");
const NO_KEY_2: Means = Means::Final("key_not_found", "user 7 has no key \"oseh_ujmk_2\"");
const NO_KEY_HUGE: Means = Means::Refused("TEXT of 1048576 bytes, more than a uid has");
const NO_TOKEN: Means = Means::Final(
    "token_invalid",
    "not a Fernet token under key \"oseh_ujmk_1\"",
);

const OTHER_TYPE_1: Means = Means::Raised(
    "bad_argument",
    "user_id must be an INTEGER, as in the key rows, this is TEXT of 1 byte",
);
const OTHER_TYPE_2: Means = Means::Raised(
    "bad_argument",
    "user_id must be an INTEGER, as in the key rows, this is TEXT of 2 bytes",
);
const NO_CONTEXT: &str = "context must be TEXT or BLOB of 1 to 1024 bytes";

const NO_TOKEN_AT_ALL: Means = Means::Final("token_invalid", "not a Fernet token under any key");

/// The values tried in each argument's place, after what is said of a value that is refused there.
pub(crate) const PLACES: &[(&str, &str, Values)] = &[
    (
        "user_id",
        "user_id must be an INTEGER or TEXT of 1 to 255 bytes",
        &[
            ("7", Means::Usual),
            ("7.0", Means::Usual),
            ("7e0", Means::Usual),
            ("NULL", Means::Refused("NULL")),
            ("7.5", Means::Refused("REAL")),
            ("9007199254740992.0", Means::Refused("REAL")),
            ("-9007199254740992.0", Means::Refused("REAL")),
            ("9e999", Means::Refused("REAL")),
            ("-9e999", Means::Refused("REAL")),
            ("'7'", OTHER_TYPE_1),
            ("''", Means::Refused("TEXT of 0 bytes")),
            ("'7' || char(0)", OTHER_TYPE_2),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("TEXT of 1 byte, not UTF-8"),
            ),
            (
                KEY,
                Means::Refused("TEXT of 11 bytes that looks like a key_uid"),
            ),
            (
                "journal_encrypt(7, '')",
                Means::Refused("TEXT of 100 bytes that looks like a token"),
            ),
            (HUGE, Means::Refused("TEXT of 1048576 bytes")),
            ("x'37'", Means::Refused("BLOB of 1 byte")),
            ("x''", Means::Refused("BLOB of 0 bytes")),
            ("zeroblob(8)", Means::Refused("BLOB of 8 bytes")),
        ],
    ),
    (
        "key_uid",
        "key_uid must be TEXT",
        &[
            (KEY, Means::Usual),
            ("NULL", Means::Refused("NULL")),
            ("1", Means::Refused("INTEGER")),
            ("1.0", Means::Refused("REAL")),
            (
                "CAST('oseh_ujmk_1' AS BLOB)",
                Means::Refused("BLOB of 11 bytes"),
            ),
            ("zeroblob(3)", Means::Refused("BLOB of 3 bytes")),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("TEXT of 1 byte, not UTF-8"),
            ),
            ("''", NO_KEY_0),
            ("'oseh_ujmk_1' || char(0)", NO_KEY_12),
            ("'oseh_ujmk_1 '", NO_KEY_12),
            ("'oseh_ujmk_2'", NO_KEY_2),
            (HUGE, NO_KEY_HUGE),
        ],
    ),
    (
        "key_uid or NULL",
        "key_uid must be TEXT",
        &[
            (KEY, Means::Usual),
            ("NULL", Means::Usual),
            ("1", Means::Refused("INTEGER")),
            ("1.0", Means::Refused("REAL")),
            (
                "CAST('oseh_ujmk_1' AS BLOB)",
                Means::Refused("BLOB of 11 bytes"),
            ),
            ("zeroblob(3)", Means::Refused("BLOB of 3 bytes")),
            ("x''", Means::Refused("BLOB of 0 bytes")),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("TEXT of 1 byte, not UTF-8"),
            ),
            ("''", NO_KEY_0),
            ("'oseh_ujmk_1' || char(0)", NO_KEY_12),
            ("'OSEH_UJMK_1 '", NO_KEY_12),
            ("'oseh_ujmk_2'", NO_KEY_2),
            (HUGE, NO_KEY_HUGE),
        ],
    ),
    (
        "cached key_uid",
        "key_uid must be TEXT",
        &[
            (KEY, Means::Integer(1)),
            ("NULL", Means::Refused("NULL")),
            ("1", Means::Refused("INTEGER")),
            ("1.5", Means::Refused("REAL")),
            ("x'6f'", Means::Refused("BLOB of 1 byte")),
            ("zeroblob(3)", Means::Refused("BLOB of 3 bytes")),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("TEXT of 1 byte, not UTF-8"),
            ),
            ("''", Means::Integer(0)),
            ("'oseh_ujmk_1' || char(0)", Means::Integer(0)),
            ("'oseh_ujmk_2'", Means::Integer(0)),
            (HUGE, NO_KEY_HUGE),
        ],
    ),
    (
        "token",
        "token must be TEXT",
        &[
            (TOKEN, Means::Usual),
            ("CAST(:token AS BLOB)", Means::Usual),
            ("NULL", Means::Null),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", NO_TOKEN),
            ("x''", NO_TOKEN),
            ("zeroblob(100)", NO_TOKEN),
            ("'dear diary'", NO_TOKEN),
            (":token || char(0)", NO_TOKEN),
            (":token || char(10)", NO_TOKEN),
            ("rtrim(:token, '=')", NO_TOKEN),
            ("CAST(x'ff' AS TEXT)", NO_TOKEN),
            (HUGE, NO_TOKEN),
        ],
    ),
    (
        "token alone",
        "token must be TEXT",
        &[
            (TOKEN, Means::Usual),
            ("CAST(:token AS BLOB)", Means::Usual),
            ("NULL", Means::Null),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", NO_TOKEN_AT_ALL),
            ("x''", NO_TOKEN_AT_ALL),
            ("zeroblob(100)", NO_TOKEN_AT_ALL),
            (":token || char(0)", NO_TOKEN_AT_ALL),
            ("CAST(x'ff' AS TEXT)", NO_TOKEN_AT_ALL),
            (HUGE, NO_TOKEN_AT_ALL),
        ],
    ),
    (
        "bound token",
        "token must be TEXT",
        &[
            ("NULL", Means::Null),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", NO_TOKEN),
            ("zeroblob(100)", NO_TOKEN),
            (TOKEN, NO_TOKEN),
            ("journal_encrypt(7, 'dear diary', NULL, 'a.b:2')", NO_TOKEN),
            ("CAST(x'ff' AS TEXT)", NO_TOKEN),
            (HUGE, NO_TOKEN),
        ],
    ),
    (
        "context",
        NO_CONTEXT,
        &[
            ("'a.b:1'", Means::Usual),
            ("CAST('a.b:1' AS BLOB)", Means::Usual),
            ("NULL", Means::Refused("NULL")),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", Means::Refused("TEXT of 0 bytes")),
            ("x''", Means::Refused("BLOB of 0 bytes")),
            ("zeroblob(1025)", Means::Refused("BLOB of 1025 bytes")),
            (HUGE, Means::Refused("TEXT of 1048576 bytes")),
        ],
    ),
    (
        "context of a token",
        NO_CONTEXT,
        &[
            ("'a.b:1'", Means::Usual),
            ("CAST('a.b:1' AS BLOB)", Means::Usual),
            ("NULL", Means::Refused("NULL")),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", Means::Refused("TEXT of 0 bytes")),
            ("x''", Means::Refused("BLOB of 0 bytes")),
            ("zeroblob(1025)", Means::Refused("BLOB of 1025 bytes")),
            (HUGE, Means::Refused("TEXT of 1048576 bytes")),
            ("'a.b:2'", NO_TOKEN),
            ("'a.b:1' || char(0)", NO_TOKEN),
            ("'A.B:1'", NO_TOKEN),
            ("CAST(x'ff' AS TEXT)", NO_TOKEN),
            ("zeroblob(1024)", NO_TOKEN),
        ],
    ),
    (
        "token of an item",
        "token must be TEXT",
        &[
            (
                "CAST(journal_encrypt_item(7, '{\"a\": 1}') AS BLOB)",
                Means::Usual,
            ),
            ("NULL", Means::Null),
            ("7", Means::Refused("INTEGER")),
            ("7.0", Means::Refused("REAL")),
            ("''", NO_TOKEN),
            ("x''", NO_TOKEN),
            ("zeroblob(100)", NO_TOKEN),
            ("CAST(x'ff' AS TEXT)", NO_TOKEN),
            (HUGE, NO_TOKEN),
            (
                TOKEN,
                Means::Raised("not_item", "the plaintext is not gzip-compressed"),
            ),
        ],
    ),
    (
        "json",
        "an item must be JSON",
        &[
            ("NULL", Means::Null),
            ("7", Means::Text("7")),
            ("7.0", Means::Text("7.0")),
            ("'null'", Means::Text("null")),
            ("'\"ü\"'", Means::Text("\"ü\"")),
            ("CAST(' [] ' AS BLOB)", Means::Text(" [] ")),
            ("jsonb('{\"a\": [1, 2]}')", Means::Text(r#"{"a":[1,2]}"#)),
            ("9e999", Means::Refused("REAL that is not")),
            ("''", Means::Refused("TEXT of 0 bytes that is not")),
            (
                "'dear diary'",
                Means::Refused("TEXT of 10 bytes that is not"),
            ),
            (
                "'[]' || char(0)",
                Means::Refused("TEXT of 3 bytes that is not"),
            ),
            (
                "'[' || char(0) || ']'",
                Means::Refused("TEXT of 3 bytes that is not"),
            ),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("TEXT of 1 byte that is not"),
            ),
            (
                "CAST(x'22ff22' AS TEXT)",
                Means::Refused("TEXT of 3 bytes that is not"),
            ),
            ("x''", Means::Refused("BLOB of 0 bytes that is not")),
            ("zeroblob(3)", Means::Refused("BLOB of 3 bytes that is not")),
            (HUGE, Means::Refused("TEXT of 1048576 bytes that is not")),
        ],
    ),
    (
        "user_ids",
        "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these",
        &[
            ("7", Means::Usual),
            ("7.0", Means::Usual),
            ("'[7]'", Means::Usual),
            ("'[7, 7.0, 7]'", Means::Usual),
            ("'[]'", Means::Text(r#"{"ready":0,"failed":{}}"#)),
            (
                "'[8, 9]'",
                Means::Text(r#"{"ready":0,"failed":{"no_key":2}}"#),
            ),
            ("NULL", Means::Refused("NULL")),
            ("7.5", Means::Refused("REAL")),
            ("x'37'", Means::Refused("BLOB of 1 byte")),
            ("x''", Means::Refused("BLOB of 0 bytes")),
            ("''", Means::Refused("TEXT of 0 bytes")),
            ("'7'", OTHER_TYPE_1),
            ("'[7'", Means::Refused("TEXT of 2 bytes")),
            ("'[7.5]'", Means::Refused("TEXT of 5 bytes")),
            ("'[null]'", Means::Refused("TEXT of 6 bytes")),
            ("'[\"7\"]'", OTHER_TYPE_1),
            ("'[\"\"]'", Means::Refused("TEXT of 4 bytes")),
            ("'[7]' || char(0)", Means::Refused("TEXT of 4 bytes")),
            ("CAST(x'ff' AS TEXT)", Means::Refused("TEXT of 1 byte")),
            (HUGE, Means::Refused("TEXT of 1048576 bytes")),
        ],
    ),
    (
        "plaintext",
        "never refused",
        // What they give is in PLAINTEXTS.
        &[("NULL", Means::Null)],
    ),
];

/// Plaintexts as SQL, and the bytes that their tokens hold.
pub(crate) const PLAINTEXTS: &[(&str, &[u8])] = &[
    ("'dear diary'", b"dear diary"),
    ("''", b""),
    ("x''", b""),
    ("'a' || char(0) || 'b'", b"a\0b"),
    ("char(0)", b"\0"),
    ("CAST(x'fffe' AS TEXT)", b"\xff\xfe"),
    ("x'fffe00'", b"\xff\xfe\0"),
    ("zeroblob(3)", b"\0\0\0"),
    ("7", b"7"),
    ("-9223372036854775808", b"-9223372036854775808"),
    ("7.0", b"7.0"),
    ("7.5", b"7.5"),
    ("1e300", b"1.0e+300"),
    ("9e999", b"Inf"),
    ("9007199254740992.0", b"9007199254740992.0"),
    ("'🌧 ü'", "🌧 ü".as_bytes()),
    (HUGE, &[b'x'; 1 << 20]),
];
