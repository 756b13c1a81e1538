//! The functions, their arguments, and what they give: the data of `arguments.rs`, with `places.rs`, and
//! the list of tested functions that `functions.rs` compares.

use rusqlite::types::Value;

use crate::journal::{Failure, error, text};

pub(crate) const USER: &str = "7";
pub(crate) const KEY: &str = "'oseh_ujmk_1'";
/// A parameter; bound to a token of "dear diary" under user 7's key.
pub(crate) const TOKEN: &str = ":token";
/// The time in that token.
pub(crate) const TOKEN_TIME: u64 = 499_162_800;

/// A function's argument.
pub(crate) struct Argument {
    /// The values in its place are those of [`crate::places::PLACES`] with this name.
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
const USER_IDS: Argument = argument("user_ids", USER);
const TOKEN_OF: Argument = argument("token", TOKEN);
const TOKEN_ALONE: Argument = argument("token alone", TOKEN);
const TOKEN_OF_ITEM: Argument = argument("token of an item", ITEM);
const JSON: Argument = argument("json", "'{\"a\": [1, 2]}'");

const CONTEXT: Argument = argument("context", "'a.b:1'");
const CONTEXT_OF: Argument = argument("context of a token", "'a.b:1'");
const BOUND: Argument = argument(
    "bound token",
    "journal_encrypt(7, 'dear diary', NULL, 'a.b:1')",
);
const BOUND_ITEM: Argument = argument(
    "bound token",
    "journal_encrypt_item(7, '{\"a\": 1}', 'a.b:1')",
);

/// A token of the item `{"a": 1}`.
const ITEM: &str = "journal_encrypt_item(7, '{\"a\": 1}')";

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
        &[TOKEN_ALONE],
        Gives::Integer(TOKEN_TIME as i64),
    ),
    (
        "journal_encrypt_item",
        &[USER_ID, JSON],
        Gives::Text(r#"{"a": [1, 2]}"#),
    ),
    (
        "journal_seal_item",
        &[USER_ID, JSON],
        Gives::Text(r#"{"a": [1, 2]}"#),
    ),
    (
        "journal_decrypt_item",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF_ITEM],
        Gives::Text(r#"{"a": 1}"#),
    ),
    (
        "journal_try_decrypt_item",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF_ITEM],
        Gives::Text(r#"{"a": 1}"#),
    ),
    (
        "journal_encrypt",
        &[USER_ID, PLAINTEXT, ANY_KEY_UID, CONTEXT],
        Gives::Text("dear diary"),
    ),
    (
        "journal_seal",
        &[USER_ID, PLAINTEXT, CONTEXT],
        Gives::Text("dear diary"),
    ),
    (
        "journal_decrypt",
        &[USER_ID, ANY_KEY_UID, BOUND, CONTEXT_OF],
        Gives::Text("dear diary"),
    ),
    (
        "journal_decrypt_blob",
        &[USER_ID, ANY_KEY_UID, BOUND, CONTEXT_OF],
        Gives::Blob(b"dear diary"),
    ),
    (
        "journal_try_decrypt",
        &[USER_ID, ANY_KEY_UID, BOUND, CONTEXT_OF],
        Gives::Text("dear diary"),
    ),
    (
        "journal_check",
        &[USER_ID, ANY_KEY_UID, BOUND, CONTEXT_OF],
        Gives::Text("ok"),
    ),
    (
        "journal_rewrap",
        &[USER_ID, ANY_KEY_UID, BOUND, CONTEXT_OF],
        Gives::Text("dear diary"),
    ),
    (
        "journal_bind",
        &[USER_ID, ANY_KEY_UID, TOKEN_OF, CONTEXT],
        Gives::Text("dear diary"),
    ),
    (
        "journal_encrypt_item",
        &[USER_ID, JSON, CONTEXT],
        Gives::Text(r#"{"a": [1, 2]}"#),
    ),
    (
        "journal_seal_item",
        &[USER_ID, JSON, CONTEXT],
        Gives::Text(r#"{"a": [1, 2]}"#),
    ),
    (
        "journal_decrypt_item",
        &[USER_ID, ANY_KEY_UID, BOUND_ITEM, CONTEXT_OF],
        Gives::Text(r#"{"a": 1}"#),
    ),
    (
        "journal_try_decrypt_item",
        &[USER_ID, ANY_KEY_UID, BOUND_ITEM, CONTEXT_OF],
        Gives::Text(r#"{"a": 1}"#),
    ),
    ("journal_evict", &[], Gives::Integer(1)),
    ("journal_evict", &[CACHED_UID], Gives::Integer(1)),
    (
        "journal_prefetch",
        &[USER_IDS],
        Gives::Text(r#"{"ready":1,"failed":{}}"#),
    ),
    ("journal_config", &[], Gives::Text("main")),
    ("journal_cache", &[], Gives::Text("oseh_ujmk_1")),
    ("journal_stats", &[], Gives::Text(env!("CARGO_PKG_VERSION"))),
    (
        "journal_metrics",
        &[],
        Gives::Text("# TYPE journal_crypt_fetches counter"),
    ),
    ("journal_doctor", &[], Gives::Text("ok")),
    (
        "journal_version",
        &[],
        Gives::Text(env!("CARGO_PKG_VERSION")),
    ),
];

/// The question that `function` is asked with `arguments`, which has one value for an answer.
pub(crate) fn question(function: &str, arguments: &[&str]) -> String {
    let call = format!("{function}({})", arguments.join(", "));
    match function {
        "journal_encrypt" | "journal_rewrap" | "journal_bind" if arguments.len() == 4 => {
            format!("SELECT journal_decrypt(7, NULL, {call}, 'a.b:1')")
        }
        "journal_seal" if arguments.len() == 3 => {
            format!("SELECT journal_decrypt(7, NULL, token, 'a.b:1') FROM {call}")
        }
        "journal_encrypt_item" if arguments.len() == 3 => {
            format!("SELECT journal_decrypt_item(7, NULL, {call}, 'a.b:1')")
        }
        "journal_seal_item" if arguments.len() == 3 => {
            format!("SELECT journal_decrypt_item(7, NULL, token, 'a.b:1') FROM {call}")
        }
        "journal_seal" => format!("SELECT token FROM {call}"),
        "journal_encrypt_item" => format!("SELECT journal_decrypt_item(7, NULL, {call})"),
        "journal_seal_item" => {
            format!("SELECT journal_decrypt_item(7, NULL, token) FROM {call}")
        }
        "journal_cache" => format!("SELECT key_uid FROM {call}"),
        "journal_stats" => format!("SELECT value FROM {call} WHERE name = 'version'"),
        "journal_metrics" if arguments.is_empty() => {
            format!("SELECT substr({call}, 1, instr({call}, char(10)) - 1)")
        }
        "journal_doctor" => format!("SELECT status FROM {call} WHERE name = 'sqlite'"),
        "journal_config" if arguments.is_empty() => {
            format!("SELECT json_extract({call}, '$.schema')")
        }
        _ => format!("SELECT {call}"),
    }
}

/// What a value in an argument's place comes to.
pub(crate) enum Means {
    /// The same as the usual value.
    Usual,
    Null,
    Integer(i64),
    Text(&'static str),
    /// An error in every function, which says what the place is for and that this was given.
    Refused(&'static str),
    /// A word that every function raises, and its sentence.
    Raised(&'static str, &'static str),
    /// A final word and its sentence: a `try` turns it into NULL, a check gives the word.
    Final(&'static str, &'static str),
}

impl Means {
    /// For `function`, whose answer to the usual arguments is `usual`.
    pub(crate) fn of(&self, function: &str, usual: &Value, must: &str) -> Result<Value, Failure> {
        match *self {
            Means::Usual => Ok(usual.clone()),
            Means::Null => Ok(Value::Null),
            Means::Integer(number) => Ok(Value::Integer(number)),
            Means::Text(value) => text(value),
            Means::Refused(given) => {
                error(format!("{function}: bad_argument: {must}, this is {given}"))
            }
            Means::Final(..) if function.starts_with("journal_try_") => Ok(Value::Null),
            Means::Final(word, _) if function == "journal_check" => text(word),
            Means::Raised(word, sentence) | Means::Final(word, sentence) => {
                error(format!("{function}: {word}: {sentence}"))
            }
        }
    }
}
