//! Names with a meaning of their own, parsed once at the edge: users, keys, objects.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::error::{Error, UserLabel};
use crate::sqlite::value::Value;

/// A user's id: `7` and `'7'` are two users.
///
/// Printing it gives a label that is fit for an error: the number, of TEXT the length alone, since a plaintext may have
/// been passed in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UserId<'a> {
    /// An INTEGER.
    Number(i64),
    /// TEXT of 1 to 255 bytes, such as a UUID, compared byte for byte.
    Text(&'a str),
}

impl<'a> UserId<'a> {
    /// The longest TEXT, in bytes: what is longer was meant for another argument.
    const LONGEST: usize = 255;

    /// Reads a `user_id` argument: an INTEGER; a REAL of exact integral value below 2^53, as drivers bind that have
    /// one number type; or TEXT, unless it can only be another argument of the same call.
    ///
    /// # Errors
    /// [`Error::BadArgument`] with the argument's type and length.
    #[inline(always)]
    pub fn parse(value: Value<'a>) -> Result<Self, Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let wrong = |what| {
            Err(Error::BadArgument(format!(
                "user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is {value}{what}"
            )))
        };
        match value {
            Value::Integer(id) => Ok(Self::Number(id)),
            Value::Real(id) if id.fract() == 0.0 && id.abs() < EXACT => Ok(Self::Number(id as i64)),
            Value::Text(bytes) if (1..=Self::LONGEST).contains(&bytes.len()) => {
                match std::str::from_utf8(bytes) {
                    Ok(text) if KeyUid::is_like(text) => wrong(" that looks like a key_uid"),
                    Ok(text) if looks_like_token(text) => wrong(" that looks like a token"),
                    Ok(text) => Ok(Self::Text(text)),
                    Err(_) => wrong(", not UTF-8"),
                }
            }
            _ => wrong(""),
        }
    }

    /// The user as an error names it.
    pub fn label(self) -> UserLabel {
        match self {
            Self::Number(id) => UserLabel::Number(id),
            Self::Text(text) => UserLabel::Text(text.len()),
        }
    }

    /// The id as a JSON value.
    pub fn json(self) -> serde_json::Value {
        match self {
            Self::Number(id) => id.into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// A number costs what it costs by itself.
impl Hash for UserId<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Number(id) => id.hash(state),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl fmt::Display for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.label(), f)
    }
}

impl fmt::Debug for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.label(), f)
    }
}

/// A user's id that outlives the call.
#[derive(Clone, PartialEq, Eq)]
pub enum OwnedUserId {
    /// As [`UserId::Number`].
    Number(i64),
    /// As [`UserId::Text`].
    Text(Box<str>),
}

impl OwnedUserId {
    /// The id itself.
    pub fn get(&self) -> UserId<'_> {
        match self {
            Self::Number(id) => UserId::Number(*id),
            Self::Text(text) => UserId::Text(text),
        }
    }
}

impl From<UserId<'_>> for OwnedUserId {
    fn from(user: UserId<'_>) -> Self {
        match user {
            UserId::Number(id) => Self::Number(id),
            UserId::Text(text) => Self::Text(text.into()),
        }
    }
}

/// How every Fernet token of a real time begins, in the length that the shortest has.
fn looks_like_token(text: &str) -> bool {
    text.len() >= 100 && text.starts_with("gAAAAA")
}

/// A key's uid.
///
/// Printing it gives a label that is fit for an error: the uid in quotes where it looks like one, else
/// its length alone, since a token or a plaintext may have been passed in its place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyUid(Arc<str>);

impl KeyUid {
    /// The longest uid, in bytes: it is copied by code that cannot do without the memory for it, and
    /// what is longer was meant for another argument.
    const LONGEST: usize = 1024;

    /// Reads a `key_uid` argument: TEXT.
    ///
    /// # Errors
    /// [`Error::BadArgument`] with the argument's type and length.
    pub fn parse(value: Value<'_>) -> Result<Self, Error> {
        Self::text(value).map(Self::from)
    }

    /// The text of a `key_uid` argument, where no uid of its own is needed.
    ///
    /// # Errors
    /// As for [`KeyUid::parse`].
    #[inline(always)]
    pub fn text(value: Value<'_>) -> Result<&str, Error> {
        match value {
            Value::Text(bytes) if bytes.len() > Self::LONGEST => Err(Error::BadArgument(format!(
                "key_uid must be TEXT, this is {value}, more than a uid has"
            ))),
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(uid) => Ok(uid),
                Err(_) => Err(Error::BadArgument(format!(
                    "key_uid must be TEXT, this is {value}, not UTF-8"
                ))),
            },
            other => Err(Error::BadArgument(format!(
                "key_uid must be TEXT, this is {other}"
            ))),
        }
    }

    /// The uid itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_like(text: &str) -> bool {
        text.strip_prefix("oseh_ujmk_").is_some_and(|rest| {
            (1..=32).contains(&rest.len())
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
    }
}

impl From<&str> for KeyUid {
    fn from(uid: &str) -> Self {
        Self(uid.into())
    }
}

impl fmt::Display for KeyUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if Self::is_like(&self.0) {
            write!(f, "\"{}\"", self.0)
        } else {
            write!(f, "({})", Value::Text(self.0.as_bytes()))
        }
    }
}

impl fmt::Debug for KeyUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a key's object in the store: a relative path, such as
/// `s3_files/journals/keys/master/oseh_ujmk_…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// The longest name S3 takes, in bytes.
    const LONGEST: usize = 1024;

    /// Checks a name out of a row: it begins with `prefix`, and has no segment that a URL or a
    /// directory would take for a way up, no leading slash and no control character.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence; the name itself is not repeated.
    pub fn parse(name: &str, prefix: &str) -> Result<Self, &'static str> {
        if !name.starts_with(prefix) {
            return Err("its object's name lies outside JOURNAL_KEY_PREFIX");
        }
        if name.is_empty() || name.len() > Self::LONGEST {
            return Err("its object's name is empty or longer than 1024 bytes");
        }
        if name.starts_with('/') || name.split('/').any(|s| s == "." || s == "..") {
            return Err("its object's name leads out of the key store");
        }
        if name.chars().any(char::is_control) {
            return Err("its object's name holds a control character");
        }
        Ok(Self(name.into()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the cache knows a key by: its uid, and the object that holds its bytes. Two databases of one
/// process may give one uid to two objects, or one object two uids; they never share an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// The key's uid.
    pub uid: KeyUid,
    /// Its object.
    pub object: ObjectName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_an_integer_an_exact_real_or_a_text() {
        let id = |value| UserId::parse(value).ok();
        assert_eq!(id(Value::Integer(-7)), Some(UserId::Number(-7)));
        assert_eq!(id(Value::Real(7.0)), Some(UserId::Number(7)));
        assert_eq!(
            id(Value::Real(9_007_199_254_740_991.0)),
            Some(UserId::Number(9_007_199_254_740_991))
        );
        assert_eq!(id(Value::Text(b"7")), Some(UserId::Text("7")));
        assert_ne!(id(Value::Text(b"7")), id(Value::Integer(7)));
        let longest = [b'x'; 255];
        assert!(id(Value::Text(&longest)).is_some());
        for value in [
            Value::Real(7.5),
            Value::Real(9_007_199_254_740_992.0),
            Value::Real(f64::NAN),
            Value::Real(f64::INFINITY),
            Value::Blob(b"7"),
            Value::Null,
            Value::Text(b""),
            Value::Text(&[b'x'; 256]),
            Value::Text(b"\xff"),
        ] {
            assert_eq!(id(value), None, "{value}");
        }
    }

    #[test]
    fn a_user_id_that_looks_like_another_argument_is_refused_and_none_is_quoted() {
        let token = format!("gAAAAA{}", "a".repeat(94));
        for (text, what) in [
            (
                "oseh_ujmk_aB3-_9",
                "TEXT of 16 bytes that looks like a key_uid",
            ),
            (token.as_str(), "TEXT of 100 bytes that looks like a token"),
        ] {
            assert_eq!(
                UserId::parse(Value::Text(text.as_bytes()))
                    .unwrap_err()
                    .to_string(),
                format!(
                    "bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is {what}"
                )
            );
        }
        assert_eq!(UserId::Text("dear diary").to_string(), "(TEXT of 10 bytes)");
        assert_eq!(format!("{:?}", UserId::Text("x")), "(TEXT of 1 byte)");
        assert_eq!(UserId::Number(-7).to_string(), "-7");
    }

    #[test]
    fn a_uid_has_a_length_that_memory_can_be_had_for() {
        let parse = |length: usize| KeyUid::parse(Value::Text(&vec![b'x'; length])).map(drop);
        assert_eq!(parse(1024), Ok(()));
        assert_eq!(
            parse(1025).unwrap_err().to_string(),
            "bad_argument: key_uid must be TEXT, this is TEXT of 1025 bytes, more than a uid has"
        );
    }

    #[test]
    fn a_label_quotes_only_what_looks_like_a_uid() {
        let label = |uid: &str| {
            KeyUid::parse(Value::Text(uid.as_bytes()))
                .unwrap()
                .to_string()
        };
        assert_eq!(label("oseh_ujmk_aB3-_9"), "\"oseh_ujmk_aB3-_9\"");
        assert_eq!(label("dear diary"), "(TEXT of 10 bytes)");
        assert_eq!(label("oseh_ujmk_"), "(TEXT of 10 bytes)");
        assert_eq!(label("oseh_ujmk_a b"), "(TEXT of 13 bytes)");
        assert_eq!(
            label(&format!("oseh_ujmk_{}", "a".repeat(33))),
            "(TEXT of 43 bytes)"
        );
    }

    #[test]
    fn an_object_s_name_stays_below_its_prefix() {
        let parse = |name: &str| ObjectName::parse(name, "keys/").map(drop);
        assert_eq!(parse("keys/a b/ü"), Ok(()));
        assert_eq!(parse("keys/..a/b.."), Ok(()));
        for name in [
            "other/a",
            "keys",
            "keys/../a",
            "keys/./a",
            "keys/a/..",
            "keys/a\nb",
            "keys/\0",
        ] {
            assert!(parse(name).is_err(), "{name:?}");
        }
        assert!(parse(&format!("keys/{}", "a".repeat(1024))).is_err());
        assert!(ObjectName::parse("/etc/passwd", "").is_err());
        assert!(ObjectName::parse("", "").is_err());
    }
}
