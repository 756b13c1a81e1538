//! The environment -> [`Config`], once; no other file reads the environment.
//!
//! Configuration never comes from SQL: an injected statement must not be able to point the key store
//! elsewhere. Variables are those of README's table; a value that cannot be read fails the load and
//! names its variable, never its content.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use once_cell::sync::OnceCell;
use url::Url;

pub mod aws;
pub mod bucket;
mod endpoint;
pub mod metadata;
mod no_proxy;
pub mod partition;
pub mod profile;
pub mod s3;

pub use aws::Aws;
pub(crate) use aws::is_region;
pub use bucket::Bucket;
pub use no_proxy::NoProxy;

static CONFIG: OnceCell<Config> = OnceCell::new();

/// A variable whose value cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    reason: &'static str,
}

impl ConfigError {
    pub(crate) fn new(variable: &'static str, reason: &'static str) -> Self {
        Self { variable, reason }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Where key objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A bucket.
    S3 {
        /// Which one.
        bucket: Bucket,
    },
    /// An absolute directory; object names are paths below it.
    Directory(PathBuf),
}

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
    /// `JOURNAL_ADMIN`: which of the key management functions are registered.
    pub admin: Admin,
    /// Variables that begin with `JOURNAL_` and that nothing here reads: perhaps misspelt.
    pub unknown: Vec<String>,
    /// How to reach S3.
    pub aws: Aws,
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket } => write!(f, "s3://{bucket}"),
            Self::Directory(root) => match Url::from_file_path(root) {
                Ok(url) => url.fmt(f),
                Err(()) => Err(fmt::Error),
            },
        }
    }
}

impl Config {
    /// The process's configuration, read from the environment the first time.
    ///
    /// # Errors
    /// The first variable that cannot be used. A failure is not kept.
    pub fn load() -> Result<&'static Self, ConfigError> {
        CONFIG.get_or_try_init(|| {
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
            Ok(config)
        })
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
        let store = environment
            .text("JOURNAL_KEY_STORE")?
            .map(|text| store(&text))
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
            fetch_timeout,
            fetch_threads: environment.count("JOURNAL_FETCH_THREADS", 32, 1024)?,
            allow_http,
            item_max: environment
                .count("JOURNAL_ITEM_MAX", 16_777_216, 1_000_000_000)?
                .get(),
            schema,
            replicated,
            admin: environment.admin()?,
            unknown: Vec::new(),
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

fn bad(variable: &'static str, reason: &'static str) -> ConfigError {
    ConfigError::new(variable, reason)
}

fn seconds(variable: &'static str, text: &str) -> Result<Duration, ConfigError> {
    /// A century: far enough, and far from where adding times could overflow.
    const MOST: f64 = 3.2e9;
    let seconds: f64 = text.parse().map_err(|_| bad(variable, "not a number"))?;
    match (0.0..=MOST).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(bad(variable, "not a number of seconds")),
    }
}

fn store(text: &str) -> Result<StoreLocation, ConfigError> {
    const VARIABLE: &str = "JOURNAL_KEY_STORE";
    if let Some(bucket) = text.strip_prefix("s3://") {
        return Bucket::parse(bucket)
            .map(|bucket| StoreLocation::S3 { bucket })
            .map_err(|reason| bad(VARIABLE, reason));
    }
    if text.starts_with("file://") {
        return Url::parse(text)
            .ok()
            // A bare # or ? would cut the path short.
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .and_then(|url| url.to_file_path().ok())
            .filter(|path| path.is_absolute())
            .map(StoreLocation::Directory)
            .ok_or(bad(
                VARIABLE,
                "not an absolute directory after file://, as a URL: %23 for #, %3F for ?",
            ));
    }
    Err(bad(VARIABLE, "neither s3://bucket nor file:///directory"))
}

/// Variables by name; an empty one counts as unset, as the AWS command line has it.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    fn raw(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        self.0(variable)
            .map(|value| value.into_string().map_err(|_| bad(variable, "not UTF-8")))
            .transpose()
    }

    fn text(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.raw(variable)?.filter(|text| !text.is_empty()))
    }

    fn number<T: FromStr>(&self, variable: &'static str) -> Result<Option<T>, ConfigError> {
        self.text(variable)?
            .map(|text| text.parse().map_err(|_| bad(variable, "not a number")))
            .transpose()
    }

    fn count(
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

    fn seconds(&self, variable: &'static str, default: f64) -> Result<Duration, ConfigError> {
        match self.text(variable)? {
            Some(text) => seconds(variable, &text),
            None => Ok(Duration::from_secs_f64(default)),
        }
    }

    fn admin(&self) -> Result<Admin, ConfigError> {
        const VARIABLE: &str = "JOURNAL_ADMIN";
        match self.text(VARIABLE)?.as_deref() {
            None | Some("0") => Ok(Admin::None),
            Some("create") => Ok(Admin::Create),
            Some("1") => Ok(Admin::All),
            Some(_) => Err(bad(VARIABLE, "neither 0, nor create, nor 1")),
        }
    }

    fn switch(&self, variable: &'static str) -> Result<bool, ConfigError> {
        match self.text(variable)?.as_deref() {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(bad(variable, "neither 0 nor 1")),
        }
    }
}

#[cfg(test)]
mod tests;
