//! The functions, their arguments, and what each value means in each argument's place: the data of
//! `arguments.rs`, and the list of tested functions that `functions.rs` compares.

use rusqlite::types::Value;

use crate::journal::{Failure, error, text};

pub(crate) const USER: &str = "7";
pub(crate) const KEY: &str = "'oseh_ujmk_1'";
/// A parameter; bound to a token of "dear diary" under user 7's key.
pub(crate) const TOKEN: &str = ":token";

const ITEM: &str = "'\"dear diary\"'";
const ITEM_TOKEN_SQL: &str = "journal_encrypt_item(7, '\"dear diary\"')";
/// The Fernet specification's, of 1985.
const SPEC_TOKEN: &str = "'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=='";

/// A function's argument.
pub(crate) struct Argument {
    /// The values in its place are those of [`ARGUMENTS`] with this name.
    pub(crate) name: &'static str,
    /// What is there unless another argument is being tried.
    pub(crate) usual: &'static str,
}

/// What a function gives for the usual arguments.
pub(crate) enum Gives {
    /// A token of these bytes, or a BLOB.
    Blob(&'static [u8]),
    Text(&'static str),
    Integer(i64),
}

const fn argument(name: &'static str, usual: &'static str) -> Argument {
    Argument { name, usual }
}

const USER_ID: Argument = argument("user_id", USER);
const PLAINTEXT: Argument = argument("plaintext", "'dear diary'");
const KEY_UID: Argument = argument("key_uid", KEY);
const ANY_KEY_UID: Argument = argument("key_uid or NULL", KEY);
const CACHED_UID: Argument = argument("cached key_uid", KEY);
const TOKEN_OF: Argument = argument("token", TOKEN);
const JSON: Argument = argument("json", ITEM);
const ITEM_TOKEN: Argument = argument("item token", ITEM_TOKEN_SQL);
const ANY_TOKEN: Argument = argument("any token", SPEC_TOKEN);

/// Every function with its arguments, and what it gives for the usual ones.
pub(crate) const FUNCTIONS: &[(&str, &[Argument], Gives)] = &[
    (
        "journal_encrypt",
        &[USER_ID, PLAINTEXT],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_encrypt",
        &[USER_ID, PLAINTEXT, KEY_UID],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_decrypt",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF],
        Gives::Text("dear diary"),
    ),
    (
        "journal_decrypt_blob",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_try_decrypt",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF],
        Gives::Text("dear diary"),
    ),
    (
        "journal_check",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF],
        Gives::Text("ok"),
    ),
    ("journal_key_uid", &[USER_ID], Gives::Text("oseh_ujmk_1")),
    (
        "journal_seal",
        &[USER_ID, PLAINTEXT],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_rewrap",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_token_time",
        &[ANY_TOKEN],
        Gives::Integer(499_162_800),
    ),
    (
        "journal_encrypt_item",
        &[USER_ID, JSON],
        Gives::Text("\"dear diary\""),
    ),
    (
        "journal_decrypt_item",
        &[USER_ID, ANY_KEY_UID, ITEM_TOKEN],
        Gives::Text("\"dear diary\""),
    ),
    (
        "journal_try_decrypt_item",
        &[USER_ID, ANY_KEY_UID, ITEM_TOKEN],
        Gives::Text("\"dear diary\""),
    ),
    (
        "journal_seal_item",
        &[USER_ID, JSON],
        Gives::Text("\"dear diary\""),
    ),
    ("journal_evict", &[], Gives::Integer(1)),
    ("journal_evict", &[CACHED_UID], Gives::Integer(1)),
    (
        "journal_version",
        &[],
        Gives::Text(env!("CARGO_PKG_VERSION")),
    ),
];

/// What a value in an argument's place comes to.
pub(crate) enum Means {
    /// The same as the usual value.
    Usual,
    Null,
    Integer(i64),
    /// An error in every function: `<function>: bad_argument: ` and this.
    Refused(&'static str),
    /// A final word and its sentence: a `try` turns it into NULL, a check gives the word.
    Final(&'static str, &'static str),
}

impl Means {
    /// For `function`, whose answer to the usual arguments is `usual`.
    pub(crate) fn of(&self, function: &str, usual: &Value) -> Result<Value, Failure> {
        match *self {
            Means::Usual => Ok(usual.clone()),
            Means::Null => Ok(Value::Null),
            Means::Integer(number) => Ok(Value::Integer(number)),
            Means::Refused(sentence) => error(format!("{function}: bad_argument: {sentence}")),
            Means::Final(..) if function.starts_with("journal_try_") => Ok(Value::Null),
            Means::Final(word, _) if function == "journal_check" => text(word),
            Means::Final(word, sentence) => error(format!("{function}: {word}: {sentence}")),
        }
    }
}

type Values = &'static [(&'static str, Means)];

/// A text of 1 MiB.
const HUGE: &str = "printf('%.*c', 1048576, 'x')";

const NO_KEY_0: Means = Means::Final("key_not_found", "user 7 has no key (TEXT of 0 bytes)");
const NO_KEY_12: Means = Means::Final("key_not_found", "user 7 has no key (TEXT of 12 bytes)");
const NO_KEY_2: Means = Means::Final("key_not_found", "user 7 has no key \"oseh_ujmk_2\"");
const NO_KEY_HUGE: Means =
    Means::Final("key_not_found", "user 7 has no key (TEXT of 1048576 bytes)");
const NO_TOKEN: Means = Means::Final(
    "token_invalid",
    "not a Fernet token under key \"oseh_ujmk_1\"",
);
const NO_TOKEN_AT_ALL: Means = Means::Final("token_invalid", "not a Fernet token under any key");

/// The values tried in each argument's place.
pub(crate) const ARGUMENTS: &[(&str, Values)] = &[
    (
        "user_id",
        &[
            ("7", Means::Usual),
            ("7.0", Means::Usual),
            ("7e0", Means::Usual),
            (
                "NULL",
                Means::Refused("user_id must be an INTEGER, this is NULL"),
            ),
            (
                "7.5",
                Means::Refused("user_id must be an INTEGER, this is REAL"),
            ),
            (
                "9007199254740992.0",
                Means::Refused("user_id must be an INTEGER, this is REAL"),
            ),
            (
                "-9007199254740992.0",
                Means::Refused("user_id must be an INTEGER, this is REAL"),
            ),
            (
                "9e999",
                Means::Refused("user_id must be an INTEGER, this is REAL"),
            ),
            (
                "-9e999",
                Means::Refused("user_id must be an INTEGER, this is REAL"),
            ),
            (
                "'7'",
                Means::Refused("user_id must be an INTEGER, this is TEXT of 1 byte"),
            ),
            (
                "''",
                Means::Refused("user_id must be an INTEGER, this is TEXT of 0 bytes"),
            ),
            (
                "'7' || char(0)",
                Means::Refused("user_id must be an INTEGER, this is TEXT of 2 bytes"),
            ),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("user_id must be an INTEGER, this is TEXT of 1 byte"),
            ),
            (
                HUGE,
                Means::Refused("user_id must be an INTEGER, this is TEXT of 1048576 bytes"),
            ),
            (
                "x'37'",
                Means::Refused("user_id must be an INTEGER, this is BLOB of 1 byte"),
            ),
            (
                "x''",
                Means::Refused("user_id must be an INTEGER, this is BLOB of 0 bytes"),
            ),
            (
                "zeroblob(8)",
                Means::Refused("user_id must be an INTEGER, this is BLOB of 8 bytes"),
            ),
        ],
    ),
    (
        "key_uid",
        &[
            (KEY, Means::Usual),
            ("NULL", Means::Refused("key_uid must be TEXT, this is NULL")),
            ("1", Means::Refused("key_uid must be TEXT, this is INTEGER")),
            ("1.0", Means::Refused("key_uid must be TEXT, this is REAL")),
            (
                "CAST('oseh_ujmk_1' AS BLOB)",
                Means::Refused("key_uid must be TEXT, this is BLOB of 11 bytes"),
            ),
            (
                "zeroblob(3)",
                Means::Refused("key_uid must be TEXT, this is BLOB of 3 bytes"),
            ),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("key_uid must be TEXT, this is TEXT of 1 byte, not UTF-8"),
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
        &[
            (KEY, Means::Usual),
            ("NULL", Means::Usual),
            ("1", Means::Refused("key_uid must be TEXT, this is INTEGER")),
            ("1.0", Means::Refused("key_uid must be TEXT, this is REAL")),
            (
                "CAST('oseh_ujmk_1' AS BLOB)",
                Means::Refused("key_uid must be TEXT, this is BLOB of 11 bytes"),
            ),
            (
                "zeroblob(3)",
                Means::Refused("key_uid must be TEXT, this is BLOB of 3 bytes"),
            ),
            (
                "x''",
                Means::Refused("key_uid must be TEXT, this is BLOB of 0 bytes"),
            ),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("key_uid must be TEXT, this is TEXT of 1 byte, not UTF-8"),
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
        &[
            (KEY, Means::Integer(1)),
            ("NULL", Means::Refused("key_uid must be TEXT, this is NULL")),
            ("1", Means::Refused("key_uid must be TEXT, this is INTEGER")),
            ("1.5", Means::Refused("key_uid must be TEXT, this is REAL")),
            (
                "x'6f'",
                Means::Refused("key_uid must be TEXT, this is BLOB of 1 byte"),
            ),
            (
                "zeroblob(3)",
                Means::Refused("key_uid must be TEXT, this is BLOB of 3 bytes"),
            ),
            (
                "CAST(x'ff' AS TEXT)",
                Means::Refused("key_uid must be TEXT, this is TEXT of 1 byte, not UTF-8"),
            ),
            ("''", Means::Integer(0)),
            ("'oseh_ujmk_1' || char(0)", Means::Integer(0)),
            ("'oseh_ujmk_2'", Means::Integer(0)),
            (HUGE, Means::Integer(0)),
        ],
    ),
    (
        "token",
        &[
            (TOKEN, Means::Usual),
            ("CAST(:token AS BLOB)", Means::Usual),
            ("NULL", Means::Null),
            ("7", Means::Refused("token must be TEXT, this is INTEGER")),
            ("7.0", Means::Refused("token must be TEXT, this is REAL")),
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
        "any token",
        &[
            (SPEC_TOKEN, Means::Usual),
            ("NULL", Means::Null),
            ("7", Means::Refused("token must be TEXT, this is INTEGER")),
            ("7.0", Means::Refused("token must be TEXT, this is REAL")),
            ("''", NO_TOKEN_AT_ALL),
            ("x''", NO_TOKEN_AT_ALL),
            ("zeroblob(100)", NO_TOKEN_AT_ALL),
            ("'dear diary'", NO_TOKEN_AT_ALL),
            (HUGE, NO_TOKEN_AT_ALL),
        ],
    ),
    (
        "item token",
        &[
            (
                "CAST(journal_encrypt_item(7, '\"dear diary\"') AS BLOB)",
                Means::Usual,
            ),
            ("NULL", Means::Null),
            ("7", Means::Refused("token must be TEXT, this is INTEGER")),
            ("7.0", Means::Refused("token must be TEXT, this is REAL")),
            ("''", NO_TOKEN),
            ("x''", NO_TOKEN),
            ("'dear diary'", NO_TOKEN),
            (HUGE, NO_TOKEN),
        ],
    ),
    (
        "json",
        &[
            (ITEM, Means::Usual),
            ("CAST('\"dear diary\"' AS BLOB)", Means::Usual),
            ("jsonb('\"dear diary\"')", Means::Usual),
            ("NULL", Means::Null),
            (
                "''",
                Means::Refused("an item must be JSON, this is TEXT of 0 bytes that is not"),
            ),
            (
                "x''",
                Means::Refused("an item must be JSON, this is BLOB of 0 bytes that is not"),
            ),
            (
                "'dear diary'",
                Means::Refused("an item must be JSON, this is TEXT of 10 bytes that is not"),
            ),
            (
                "'\"dear diary\"' || char(0)",
                Means::Refused("an item must be JSON, this is TEXT of 13 bytes that is not"),
            ),
            (
                "CAST(x'22ff22' AS TEXT)",
                Means::Refused("an item must be JSON, this is TEXT of 3 bytes that is not"),
            ),
            (
                "zeroblob(3)",
                Means::Refused("an item must be JSON, this is BLOB of 3 bytes that is not"),
            ),
            (
                "9e999",
                Means::Refused("an item must be JSON, this is REAL that is not"),
            ),
            (
                HUGE,
                Means::Refused("an item must be JSON, this is TEXT of 1048576 bytes that is not"),
            ),
        ],
    ),
    (
        "plaintext",
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
