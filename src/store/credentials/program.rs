//! The credentials that a program of the operator's prints: `credential_process`
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! The profile names it, never SQL. What it writes to stderr is heard by nobody.

use std::time::Instant;

use super::Found;
use super::chain::denied;
use super::document::{Document, MOST_BYTES};
use crate::secret::SecretBytes;
use crate::store::StoreError;
use crate::system::program::{Ended, run};

/// The words of its command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program(Vec<String>);

impl Program {
    pub(super) fn of(command: &str) -> Result<Self, StoreError> {
        let words = words(command).filter(|words| !words.is_empty());
        let words =
            words.ok_or_else(|| denied("the AWS profile's credential_process is no command"))?;
        Ok(Self(words))
    }

    /// Runs it until it ends, or `deadline`.
    pub(super) fn run(&self, deadline: Instant) -> Result<Found, StoreError> {
        const NAME: &str = "the program of credential_process";
        let mut said = SecretBytes::zeroed(MOST_BYTES).map_err(|_| StoreError::out_of_memory())?;
        let length = match run(&self.0, &mut said, deadline) {
            Ok(Ended::Well(length)) => length,
            Ok(Ended::Badly) => return Err(StoreError::Denied(format!("{NAME} failed"))),
            Ok(Ended::NotInTime) => {
                return Err(StoreError::lasting(format_args!(
                    "{NAME} did not end in time"
                )));
            }
            Err(error) => {
                let kind = error.kind();
                return Err(StoreError::Denied(format!("{NAME} cannot be run ({kind})")));
            }
        };
        let document: Option<Document> = serde_json::from_slice(&said[..length]).ok();
        document
            .filter(|document| document.version == Some(1))
            .and_then(|document| document.found("process"))
            .ok_or_else(|| StoreError::Denied(format!("{NAME} gave no credentials of version 1")))
    }
}

/// The words of a command as a POSIX shell and the AWS command line split it, which know nothing else of a shell's here;
/// `None` where a quote does not end.
fn words(command: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == quote => break,
                        '\\' if quote == '"' => match characters.next()? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            blank if blank.is_ascii_whitespace() => found.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    found.extend(word);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        for (command, expected) in [
            ("", Some(vec![])),
            (" /bin/a  -b\tc ", Some(vec!["/bin/a", "-b", "c"])),
            (
                "'/opt/a b/c' --d='e f'",
                Some(vec!["/opt/a b/c", "--d=e f"]),
            ),
            (
                r#""a \"b\" \\ \c $d" e\ f"#,
                Some(vec![r#"a "b" \ \c $d"#, "e f"]),
            ),
            ("a '' \"\"", Some(vec!["a", "", ""])),
            (r"'a\'b", Some(vec![r"a\b"])),
            ("a # b", Some(vec!["a", "#", "b"])),
            ("'a", None),
            ("\"a", None),
            ("a\\", None),
        ] {
            let found = words(command);
            let found = found
                .as_ref()
                .map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found, expected, "{command}");
        }
        let nothing = denied("the AWS profile's credential_process is no command");
        assert_eq!(Program::of("  "), Err(nothing));
    }
}
