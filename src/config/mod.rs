//! The environment -> [`Config`], once; no other file reads the environment.
//!
//! Configuration never comes from SQL: an injected statement must not be able to point the key store
//! elsewhere. Variables are those of docs/configuration.md; a value that cannot be read fails the load and
//! names its variable, never its content.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use once_cell::sync::OnceCell;

pub mod aws;
pub mod bucket;
mod endpoint;
mod environment;
mod location;
pub mod metadata;
mod no_proxy;
pub mod partition;
pub mod profile;
mod region;
pub mod s3;
mod settings;

pub use aws::Aws;
pub use bucket::Bucket;
pub use environment::ConfigError;
use environment::{Environment, bad};
pub use location::StoreLocation;
pub use no_proxy::NoProxy;
pub(crate) use region::is_region;

static CONFIG: OnceCell<Config> = OnceCell::new();

/// Which functions manage keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// None.
    None,
    /// Those that make keys, and the one that takes back a new key that nobody used.
    Create,
    /// Those that destroy keys too.
    All,
}

/// Everything that the environment decides.
#[derive(Debug)]
pub struct Config {
    /// `JOURNAL_KEY_STORE`; without one the first key fetch says `not_configured`.
    pub store: Option<StoreLocation>,
    /// `JOURNAL_CACHE_KEYS`: the most keys kept.
    pub cache_keys: NonZeroUsize,
    /// `JOURNAL_KEY_PREFIX`: how object names must begin.
    pub key_prefix: String,
    /// `JOURNAL_CACHE_TTL`: how long a key serves unchecked.
    pub cache_ttl: Duration,
    /// `JOURNAL_CACHE_STALE`: how much longer it serves while it cannot be checked.
    pub cache_stale: Duration,
    /// `JOURNAL_FETCH_TIMEOUT`: one fetch, its retries included.
    pub fetch_timeout: Duration,
    /// `JOURNAL_FETCH_THREADS`: the most fetches at one time.
    pub fetch_threads: NonZeroUsize,
    /// `JOURNAL_ALLOW_HTTP`: whether plain HTTP may leave this machine.
    pub allow_http: bool,
    /// `JOURNAL_ITEM_MAX`: the most bytes that an item may unpack to.
    pub item_max: usize,
    /// `JOURNAL_SCHEMA`: the schema of the key tables.
    pub schema: String,
    /// `JOURNAL_REPLICATED`, with `auto` resolved.
    pub replicated: bool,
    /// `JOURNAL_REQUIRE_SCOPE`: whether a connection without a scope uses no key.
    pub require_scope: bool,
    /// `JOURNAL_ADMIN`: which of the key management functions are registered.
    pub admin: Admin,
    /// `JOURNAL_WRAPPING_KEY_FILE`: the keys under which key objects are kept.
    pub wrapping_key_file: Option<PathBuf>,
    /// `JOURNAL_REQUIRE_WRAPPED`: whether objects that are not wrapped are refused.
    pub require_wrapped: bool,
    /// Variables that begin with `JOURNAL_` and that nothing here reads: perhaps misspelt.
    pub unknown: Vec<String>,
    /// Our variables as they were read.
    read: Vec<(String, Option<OsString>)>,
    /// How to reach S3.
    pub aws: Aws,
}

impl Config {
    /// The process's configuration, read from the environment the first time.
    ///
    /// # Errors
    /// The first variable that cannot be used. A failure is not kept.
    pub fn load() -> Result<&'static Self, ConfigError> {
        let config = CONFIG.get_or_try_init(|| {
            let host = std::env::current_exe()
                .ok()
                .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
            let asked = RefCell::new(HashSet::new());
            let lookup = |name: &str| {
                asked.borrow_mut().insert(name.to_owned());
                std::env::var_os(name)
            };
            let mut config = Self::read(&Environment(&lookup), host.as_deref())?;
            config.unknown = std::env::vars_os()
                .filter_map(|(name, _)| name.into_string().ok())
                // systemd sets JOURNAL_STREAM.
                .filter(|name| name.starts_with("JOURNAL_") && name != "JOURNAL_STREAM")
                .filter(|name| !asked.borrow().contains(name))
                .collect();
            config.read = asked
                .into_inner()
                .into_iter()
                .filter(|name| name.starts_with("JOURNAL_"))
                .map(|name| {
                    let value = std::env::var_os(&name);
                    (name, value)
                })
                .collect();
            Ok(config)
        })?;
        config.check_unchanged()?;
        Ok(config)
    }

    /// Refuses a variable that has another value than when it was read: whoever set it would go on with the first
    /// store, or the first schema, and not know. One that was taken away is no wish for anything.
    fn check_unchanged(&self) -> Result<(), ConfigError> {
        for (name, before) in &self.read {
            match std::env::var_os(name) {
                Some(value) if !value.is_empty() && Some(&value) != before.as_ref() => {
                    return Err(ConfigError::new(
                        name.clone(),
                        "changed since this process first loaded the extension, which reads it once; \
                         another configuration needs another process",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The configuration of an environment with these variables and no others, for tests and
    /// [`crate::fuzzing`].
    pub(crate) fn of_variables<N: AsRef<str>, V: AsRef<OsStr>>(
        variables: &[(N, V)],
    ) -> Result<Self, ConfigError> {
        let lookup = |name: &str| {
            let (_, value) = variables.iter().find(|(n, _)| n.as_ref() == name)?;
            Some(value.as_ref().to_owned())
        };
        Self::read(&Environment(&lookup), None)
    }

    fn read(environment: &Environment<'_>, host: Option<&str>) -> Result<Self, ConfigError> {
        let replicated = match environment.text("JOURNAL_REPLICATED")?.as_deref() {
            // Whatever a release was installed as: rqlited-v9, rqlited.old.
            None | Some("auto") => host.is_some_and(|host| host.starts_with("rqlited")),
            Some("on") => true,
            Some("off") => false,
            Some(_) => return Err(bad("JOURNAL_REPLICATED", "neither auto, on nor off")),
        };
        let allow_http = environment.switch("JOURNAL_ALLOW_HTTP")?;
        let fetch_timeout = environment.seconds("JOURNAL_FETCH_TIMEOUT", 4.0)?;
        if fetch_timeout.is_zero() {
            return Err(bad("JOURNAL_FETCH_TIMEOUT", "no time at all"));
        }
        let schema = environment
            .text("JOURNAL_SCHEMA")?
            .unwrap_or_else(|| "main".into());
        if schema.eq_ignore_ascii_case("temp") || schema.contains('\0') {
            return Err(bad(
                "JOURNAL_SCHEMA",
                "not a schema that may hold the key tables",
            ));
        }
        let wrapping_key_file = environment
            .raw("JOURNAL_WRAPPING_KEY_FILE")?
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let require_wrapped = environment.switch("JOURNAL_REQUIRE_WRAPPED")?;
        if require_wrapped && wrapping_key_file.is_none() {
            return Err(bad(
                "JOURNAL_REQUIRE_WRAPPED",
                "there is no JOURNAL_WRAPPING_KEY_FILE",
            ));
        }
        let store = environment
            .text("JOURNAL_KEY_STORE")?
            .map(|text| StoreLocation::parse(&text))
            .transpose()?;
        let is_s3 = matches!(store, Some(StoreLocation::S3 { .. }));
        Ok(Self {
            store,
            cache_keys: environment.count("JOURNAL_CACHE_KEYS", 200_000, 100_000_000)?,
            key_prefix: match environment.raw("JOURNAL_KEY_PREFIX")? {
                Some(prefix) => prefix,
                None => "s3_files/journals/keys/master/".to_owned(),
            },
            cache_ttl: environment.seconds("JOURNAL_CACHE_TTL", 3600.0)?,
            cache_stale: environment.seconds("JOURNAL_CACHE_STALE", 3600.0)?,
            wrapping_key_file,
            require_wrapped,
            fetch_timeout,
            fetch_threads: environment.count("JOURNAL_FETCH_THREADS", 32, 1024)?,
            allow_http,
            item_max: environment
                .count("JOURNAL_ITEM_MAX", 16_777_216, 1_000_000_000)?
                .get(),
            schema,
            replicated,
            require_scope: environment.switch("JOURNAL_REQUIRE_SCOPE")?,
            admin: Admin::read(environment)?,
            unknown: Vec::new(),
            read: Vec::new(),
            aws: match is_s3 {
                true => Aws::read(environment, allow_http)?,
                false => {
                    // Asked for all the same, so that it does not count as misspelt.
                    environment.text("JOURNAL_BUCKET_OWNER")?;
                    Aws::default()
                }
            },
        })
    }
}

impl Admin {
    fn read(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        const VARIABLE: &str = "JOURNAL_ADMIN";
        match environment.text(VARIABLE)?.as_deref() {
            None | Some("0") => Ok(Self::None),
            Some("create") => Ok(Self::Create),
            Some("1") => Ok(Self::All),
            Some(_) => Err(bad(VARIABLE, "neither 0, nor create, nor 1")),
        }
    }
}

#[cfg(test)]
mod tests;
