//! One variable read, as text, as a number, as a switch; and what is said of one that cannot be used.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

/// A variable whose value cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: Cow<'static, str>,
    pub(super) reason: &'static str,
}

impl ConfigError {
    pub(crate) fn new(variable: impl Into<Cow<'static, str>>, reason: &'static str) -> Self {
        Self {
            variable: variable.into(),
            reason,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl std::error::Error for ConfigError {}

pub(super) fn bad(variable: &'static str, reason: &'static str) -> ConfigError {
    ConfigError::new(variable, reason)
}

pub(super) fn seconds(variable: &'static str, text: &str) -> Result<Duration, ConfigError> {
    /// A century: far enough, and far from where adding times could overflow.
    const MOST: f64 = 3.2e9;
    let seconds: f64 = text.parse().map_err(|_| bad(variable, "not a number"))?;
    match (0.0..=MOST).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(bad(variable, "not a number of seconds")),
    }
}

/// Variables by name; an empty one counts as unset, as the AWS command line has it.
pub(super) struct Environment<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    pub(super) fn raw(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        self.0(variable)
            .map(|value| value.into_string().map_err(|_| bad(variable, "not UTF-8")))
            .transpose()
    }

    pub(super) fn text(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.raw(variable)?.filter(|text| !text.is_empty()))
    }

    pub(super) fn number<T: FromStr>(
        &self,
        variable: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.text(variable)?
            .map(|text| text.parse().map_err(|_| bad(variable, "not a number")))
            .transpose()
    }

    pub(super) fn count(
        &self,
        variable: &'static str,
        default: usize,
        most: usize,
    ) -> Result<NonZeroUsize, ConfigError> {
        let count = self.number(variable)?.unwrap_or(default);
        match NonZeroUsize::new(count) {
            Some(count) if count.get() <= most => Ok(count),
            Some(_) => Err(bad(variable, "too large")),
            None => Err(bad(variable, "must be at least 1")),
        }
    }

    pub(super) fn seconds(
        &self,
        variable: &'static str,
        default: f64,
    ) -> Result<Duration, ConfigError> {
        match self.text(variable)? {
            Some(text) => seconds(variable, &text),
            None => Ok(Duration::from_secs_f64(default)),
        }
    }

    pub(super) fn switch(&self, variable: &'static str) -> Result<bool, ConfigError> {
        match self.text(variable)?.as_deref() {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(bad(variable, "neither 0 nor 1")),
        }
    }
}
