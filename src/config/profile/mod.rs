//! The profile of AWS's shared config and credentials files
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>).
//!
//! Read as the AWS command line reads them, but a line that is no setting is passed over: it belongs to
//! some other tool, whose file this is too. Values live in memory that is wiped.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::environment::{ConfigError, Environment, bad};
use crate::secret::{SecretBytes, SecretString};

/// Far more than any of these files has.
const MOST_BYTES: usize = 1 << 20;
const CONFIG: &str = "AWS_CONFIG_FILE";
const CREDENTIALS: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// Which profile of which files.
#[derive(Debug, Default)]
pub struct ProfileFiles {
    /// `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`; without one it is `default`, which need not be there.
    name: Option<String>,
    /// `AWS_CONFIG_FILE`, or `~/.aws/config`.
    config: Option<File>,
    /// `AWS_SHARED_CREDENTIALS_FILE`, or `~/.aws/credentials`.
    credentials: Option<File>,
    /// What `~` stands for.
    home: Option<PathBuf>,
    /// `AWS_LOGIN_CACHE_DIRECTORY`, or `~/.aws/login/cache`.
    login_cache: Option<PathBuf>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Named by its variable: then it is a mistake that it cannot be read.
    variable: Option<&'static str>,
}

impl ProfileFiles {
    pub(super) fn of(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let mut name = environment.text("AWS_PROFILE")?;
        if name.is_none() {
            name = environment.text("AWS_DEFAULT_PROFILE")?;
        }
        let home = match environment.text("HOME")? {
            None if cfg!(windows) => environment.text("USERPROFILE")?,
            home => home,
        };
        let home = home.map(PathBuf::from);
        let path = |text: String| match (text.strip_prefix("~/"), &home) {
            (Some(below), Some(home)) => home.join(below),
            _ => text.into(),
        };
        let file = |variable, default| -> Result<Option<File>, ConfigError> {
            Ok(match (environment.text(variable)?, &home) {
                (Some(text), _) => Some(File {
                    path: path(text),
                    variable: Some(variable),
                }),
                (None, Some(home)) => Some(File {
                    path: home.join(".aws").join(default),
                    variable: None,
                }),
                (None, None) => None,
            })
        };
        Ok(Self {
            config: file(CONFIG, "config")?,
            credentials: file(CREDENTIALS, "credentials")?,
            login_cache: match (environment.text("AWS_LOGIN_CACHE_DIRECTORY")?, &home) {
                (Some(text), _) => Some(path(text)),
                (None, home) => home.as_ref().map(|home| home.join(".aws/login/cache")),
            },
            home: home.clone(),
            name,
        })
    }

    /// Whether a profile was asked for by name.
    pub fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// The files as they are now.
    ///
    /// # Errors
    /// A file that was named and cannot be read, or that is no text.
    pub fn read(&self) -> Result<Files<'_>, ConfigError> {
        let read = |file: &Option<File>, variable| {
            let text = read(file.as_ref(), variable)?;
            text.map(|text| utf8(&text, variable).map(SecretString::from))
                .transpose()
        };
        Ok(Files {
            of: self,
            config: read(&self.config, CONFIG)?,
            credentials: read(&self.credentials, CREDENTIALS)?,
        })
    }
}

/// The content of the files.
#[derive(Debug)]
pub struct Files<'a> {
    of: &'a ProfileFiles,
    config: Option<SecretString>,
    credentials: Option<SecretString>,
}

impl Files<'_> {
    /// The name of the profile that is in use.
    pub fn name(&self) -> &str {
        self.of.name.as_deref().unwrap_or("default")
    }

    /// The profile of that name.
    pub fn profile(&self, name: &str) -> Profile {
        let config = self.in_config(|title| match words(title) {
            (title, None) => title == "default" && name == "default",
            (kind, Some(title)) => kind == "profile" && title == name,
        });
        let services = find(config.as_deref(), "services");
        let services = services.and_then(|services| self.named("services", services.expose()));
        let credentials = self.credentials.as_ref();
        Profile {
            services,
            config,
            credentials: credentials
                .and_then(|text| settings(text.expose(), |title| title == name)),
        }
    }

    /// The section of that name to which profiles leave how to sign in.
    pub fn sso_session(&self, name: &str) -> Profile {
        Profile {
            config: self.named("sso-session", name),
            ..Profile::default()
        }
    }

    /// What lies at this place below the home directory.
    pub fn home(&self, place: &str) -> Option<PathBuf> {
        self.of.home.as_ref().map(|home| home.join(place))
    }

    /// Where `aws login` leaves what it was given.
    pub fn login_cache(&self) -> Option<&Path> {
        self.of.login_cache.as_deref()
    }

    fn named(&self, kind: &str, name: &str) -> Option<Settings> {
        self.in_config(|title| words(title) == (kind, Some(name)))
    }

    fn in_config(&self, wanted: impl Fn(&str) -> bool) -> Option<Settings> {
        settings(self.config.as_ref()?.expose(), wanted)
    }
}

/// The settings of one profile.
#[derive(Debug, Default)]
pub struct Profile {
    config: Option<Settings>,
    credentials: Option<Settings>,
    services: Option<Settings>,
}

/// Settings by name, in the order of the file; one of a nested block is `block.name`.
type Settings = Vec<(String, SecretString)>;

impl Profile {
    /// Whether one of the files has it.
    pub fn exists(&self) -> bool {
        self.config.is_some() || self.credentials.is_some()
    }

    /// A setting; the credentials file's goes before the config file's.
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.in_credentials(name).or_else(|| self.in_config(name))
    }

    /// A setting that is no secret.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.expose().to_owned())
    }

    /// A setting of the config file.
    pub fn in_config(&self, name: &str) -> Option<&SecretString> {
        find(self.config.as_deref(), name)
    }

    /// A setting of the credentials file.
    pub fn in_credentials(&self, name: &str) -> Option<&SecretString> {
        find(self.credentials.as_deref(), name)
    }

    /// The endpoint of `service`: of its own in the profile's `services`, else of the profile.
    pub fn endpoint(&self, service: &str) -> Option<&SecretString> {
        find(self.services.as_deref(), &format!("{service}.endpoint_url"))
            .or_else(|| self.get("endpoint_url"))
    }
}

fn find<'a>(
    settings: Option<&'a [(String, SecretString)]>,
    name: &str,
) -> Option<&'a SecretString> {
    let (_, value) = settings?.iter().rfind(|(n, _)| n == name)?;
    (!value.expose().is_empty()).then_some(value)
}

fn read(file: Option<&File>, variable: &'static str) -> Result<Option<SecretBytes>, ConfigError> {
    let Some(file) = file else {
        return Ok(None);
    };
    match SecretBytes::of_file(&file.path, MOST_BYTES) {
        Ok(text) => Ok(Some(text)),
        // No file, and what is none, such as /dev/null, has no profile.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        // A service may run under another's HOME.
        Err(_) if file.variable.is_none() => Ok(None),
        Err(_) => Err(bad(variable, "cannot be read")),
    }
}

fn utf8<'a>(text: &'a [u8], variable: &'static str) -> Result<&'a str, ConfigError> {
    let text = std::str::from_utf8(text).map_err(|_| bad(variable, "not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// The settings of the sections whose title is `wanted`; `None` where there is no such section.
fn settings(text: &str, wanted: impl Fn(&str) -> bool) -> Option<Settings> {
    let mut found: Option<Settings> = None;
    let mut inside = false;
    // The last setting that is not nested, and how far it is indented: what stands further in is its block.
    let mut block: Option<(usize, String)> = None;
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let outer = block.as_ref().filter(|(of_block, _)| indent > *of_block);
        if outer.is_none()
            && let Some(title) = content.strip_prefix('[')
        {
            let title = title.rfind(']').map_or(title, |end| &title[..end]);
            inside = wanted(title.trim());
            block = None;
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let Some((name, value)) = content.split_once(['=', ':']) else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let setting = match outer {
            Some((_, block)) => format!("{block}.{name}"),
            None => {
                block = Some((indent, name.clone()));
                name
            }
        };
        if inside && let Some(found) = &mut found {
            found.push((setting, SecretString::from(value.trim())));
        }
    }
    found
}

/// A title's kind and name, `profile "a b"`; a title of one word is its kind.
fn words(title: &str) -> (&str, Option<&str>) {
    match title.split_once(char::is_whitespace) {
        None => (title, None),
        Some((kind, name)) => (kind, Some(name.trim().trim_matches(['"', '\'']))),
    }
}

#[cfg(test)]
mod tests;
