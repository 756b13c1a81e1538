//! Settings that stand in the environment or, failing that, in the profile.

use super::environment::{ConfigError, Environment, bad};
use super::profile::Profile;

/// Settings that the environment or the profile may hold.
pub(super) struct Settings<'a> {
    pub(super) environment: &'a Environment<'a>,
    /// The profile as it stands at load.
    pub(super) profile: &'a Profile,
}

impl Settings<'_> {
    /// The variable's value, else the profile's.
    pub(super) fn text(
        &self,
        variable: &'static str,
        name: &str,
    ) -> Result<Option<String>, ConfigError> {
        let value = self.environment.text(variable)?;
        Ok(value.or_else(|| self.profile.text(name)))
    }

    /// Whether it is set to `true`.
    pub(super) fn is_true(&self, variable: &'static str, name: &str) -> Result<bool, ConfigError> {
        truth(variable, self.text(variable, name)?).map(|word| word.unwrap_or(false))
    }
}

/// `true` or `false`, however it is written.
pub(super) fn truth(
    setting: &'static str,
    value: Option<String>,
) -> Result<Option<bool>, ConfigError> {
    match value {
        None => Ok(None),
        Some(word) if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(word) if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(bad(setting, "neither true nor false")),
    }
}
