//! Why a command did not do what it was asked, and the exit status for it.

use std::fmt;

use rusqlite::ErrorCode;

/// What ends a command. The text never holds a plaintext, a token or a key: it is the extension's, SQLite's or ours.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may not or cannot be done: exit status 1.
    Refused(String),
    /// It was asked wrongly: exit status 2.
    Usage(String),
    /// The key store or the database could not be reached: exit status 3.
    Unreachable(String),
    /// Ctrl-C; exit status 1.
    Stopped,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Stopped => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// With the name of what failed before it.
    pub(crate) fn of(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(format!("{what}: {text}")),
            Self::Usage(text) => Self::Usage(format!("{what}: {text}")),
            Self::Unreachable(text) => Self::Unreachable(format!("{what}: {text}")),
            Self::Stopped => Self::Stopped,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
            Self::Stopped => f.write_str("stopped; what was done stays, run it again for the rest"),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let text = match error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text,
            // Of these some quote the statement, none a value.
            other => other.to_string(),
        };
        // The extension's words: `<function>: <word>: <sentence>`.
        match text.split(": ").nth(1) {
            Some("store_unavailable" | "store_denied") => return Self::Unreachable(text),
            Some("not_configured") => return Self::Usage(text),
            _ => {}
        }
        match code {
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull,
            ) => Self::Unreachable(text),
            _ => Self::Refused(text),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(format!(
            "an answer is not the JSON that was expected: {}",
            error.classify_text()
        ))
    }
}

/// serde_json's own text may quote what it read.
trait Classified {
    fn classify_text(&self) -> &'static str;
}

impl Classified for serde_json::Error {
    fn classify_text(&self) -> &'static str {
        match self.classify() {
            serde_json::error::Category::Io => "it could not be read",
            serde_json::error::Category::Syntax => "it is no JSON",
            serde_json::error::Category::Data => "it has another shape",
            serde_json::error::Category::Eof => "it ends early",
        }
    }
}
