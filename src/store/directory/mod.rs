//! Keys as files below a directory: the object's name is the path. A disabled one has `.disabled` behind its name.

mod admin;
mod listing;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Fetched, KeyStore, Listed, MOST_BYTES, Replaced, Shredded, StoreError};
use crate::id::ObjectName;
use crate::secret::SecretBytes;

/// A directory of key files.
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The store below `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The root without links. One that is missing, or is no directory, is an unmounted disk, not a missing key.
    fn root(&self) -> Result<PathBuf, StoreError> {
        let absent = || StoreError::lasting("the key store's directory is not there");
        let root = self
            .root
            .canonicalize()
            .map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => denied("its directory", "read"),
                _ => absent(),
            })?;
        match root.is_dir() {
            true => Ok(root),
            false => Err(absent()),
        }
    }
}

impl KeyStore for Directory {
    fn fetch(
        &self,
        name: &ObjectName,
        _known: Option<&str>,
        _deadline: Instant,
    ) -> Result<Fetched, StoreError> {
        let root = self.root()?;
        let found = match content(&root, name) {
            Err(StoreError::Absent) if is_there(&root.join(disabled(name)))? => {
                Err(StoreError::Disabled)
            }
            // It may have come back between the two looks.
            Err(StoreError::Absent) => content(&root, name),
            found => found,
        };
        match found {
            // The directory may have gone since it was looked at, and every key with it.
            Err(StoreError::Absent) => self.root().and(Err(StoreError::Absent)),
            found => Ok(Fetched::Object {
                content: found?,
                tag: None,
            }),
        }
    }

    fn disable(&self, name: &ObjectName, _timeout: Duration) -> Result<bool, StoreError> {
        admin::disable(self, name)
    }

    fn enable(&self, name: &ObjectName, _timeout: Duration) -> Result<bool, StoreError> {
        admin::enable(self, name)
    }

    fn create(
        &self,
        name: &ObjectName,
        content: &[u8],
        timeout: Duration,
    ) -> Result<(), StoreError> {
        admin::create(self, name, content, timeout)
    }

    fn replace(
        &self,
        name: &ObjectName,
        content: &[u8],
        _is_superseded: &dyn Fn(&[u8]) -> bool,
        _timeout: Duration,
    ) -> Result<Replaced, StoreError> {
        admin::replace(self, name, content)
    }

    fn shred(&self, name: &ObjectName, _timeout: Duration) -> Result<Shredded, StoreError> {
        admin::shred(self, name)
    }

    fn list(&self, prefix: &str, _timeout: Duration) -> Result<Vec<Listed>, StoreError> {
        listing::list(self, prefix)
    }
}

/// What stands behind the name of a disabled key's file. No object is fetched under such a name, or a row could name
/// what was disabled.
const DISABLED: &str = ".disabled";

/// The path below the root of the object `name` while it is disabled.
fn disabled(name: &ObjectName) -> String {
    format!("{}{DISABLED}", name.as_str())
}

fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path).map_err(of_file) {
        Ok(_) => Ok(true),
        // A name that is too long for one more ending has none.
        Err(StoreError::Absent | StoreError::NotAKey(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path below the root. On Windows a colon leads to a drive, or to a stream of a file that goes by another name, as a
/// disabled key's does.
fn path_of(name: &ObjectName) -> Result<&Path, StoreError> {
    match cfg!(windows) && name.as_str().contains(':') {
        true => Err(StoreError::NotAKey("its object's name is no path")),
        false => Ok(Path::new(name.as_str())),
    }
}

fn content(root: &Path, name: &ObjectName) -> Result<SecretBytes, StoreError> {
    let path = root.join(path_of(name)?).canonicalize().map_err(of_file)?;
    if !path.starts_with(root) {
        return Err(StoreError::NotAKey("its object leads out of the key store"));
    }
    if path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(DISABLED.as_bytes())
    {
        return Err(StoreError::NotAKey(
            "its object's name is that of a disabled key",
        ));
    }
    read(open(&path)?)
}

/// Opens a regular file; a pipe or a device could block or never end.
fn open(path: &PathBuf) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NOFOLLOW | libc::O_NONBLOCK,
    );
    if !fs::metadata(path).map_err(of_file)?.is_file() {
        return Err(StoreError::NotAKey("its object is not a file"));
    }
    options.open(path).map_err(of_file)
}

/// Reads the file into a buffer that wipes itself, past the limit by one byte at the most.
fn read(file: File) -> Result<SecretBytes, StoreError> {
    let mut content =
        SecretBytes::zeroed(MOST_BYTES + 1).map_err(|_| StoreError::out_of_memory())?;
    let mut length = 0;
    let mut file = file.take(content.len() as u64);
    loop {
        match file.read(&mut content[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(of_file(error)),
        }
    }
    if length > MOST_BYTES {
        return Err(StoreError::NotAKey(
            "its object is too large for a Fernet key",
        ));
    }
    content.narrow(0..length);
    Ok(content)
}

fn denied(what: &str, done: &str) -> StoreError {
    StoreError::Denied(format!("{what} may not be {done} by this process"))
}

fn of_file(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => StoreError::Absent,
        ErrorKind::PermissionDenied => denied("its file", "read"),
        ErrorKind::InvalidFilename => StoreError::NotAKey("its object's name is no path"),
        #[cfg(unix)]
        _ if error.raw_os_error() == Some(libc::ELOOP) => {
            StoreError::NotAKey("its object's name is no path")
        }
        kind => StoreError::lasting(format_args!("its file could not be read ({kind})")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn fetch(root: &std::path::Path, name: &str) -> Result<Vec<u8>, StoreError> {
        let name = ObjectName::parse(name, "").unwrap();
        match Directory::new(root.into()).fetch(&name, None, Instant::now())? {
            Fetched::Object { content, .. } => Ok(content.to_vec()),
            Fetched::Unchanged => panic!("a directory has no tags"),
        }
    }

    #[test]
    fn a_file_below_the_root_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("keys")).unwrap();
        fs::write(root.path().join("keys/ü b"), "content").unwrap();
        assert_eq!(fetch(root.path(), "keys/ü b").unwrap(), b"content");
    }

    #[test]
    fn a_missing_file_is_absent_and_a_missing_root_is_an_outage() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        assert_eq!(fetch(root.path(), "none"), Err(StoreError::Absent));
        assert_eq!(fetch(root.path(), "file/below"), Err(StoreError::Absent));
        assert_eq!(
            fetch(&root.path().join("unmounted"), "none"),
            Err(StoreError::lasting(
                "the key store's directory is not there"
            ))
        );
    }

    #[test]
    fn a_link_that_leads_out_is_refused_and_one_within_is_followed() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(base.path().join("outside"), "x").unwrap();
        fs::write(root.join("inside"), "y").unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("inside", root.join("in")).unwrap();
        let out = StoreError::NotAKey("its object leads out of the key store");
        assert_eq!(fetch(&root, "out"), Err(out.clone()));
        assert_eq!(fetch(&root, "up/outside"), Err(out));
        assert_eq!(fetch(&root, "in").unwrap(), b"y");
    }

    #[test]
    fn what_is_no_small_regular_file_is_no_key() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        fs::write(root.path().join("large"), vec![b'A'; MOST_BYTES + 1]).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        for name in ["directory", "large", "loop", &"n".repeat(300)] {
            let error = fetch(root.path(), name).unwrap_err();
            assert!(matches!(error, StoreError::NotAKey(_)), "{name}: {error:?}");
        }
    }

    #[test]
    fn a_file_that_may_not_be_read_is_denied() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("key");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser reads it all the same.
        if fs::read(&file).is_err() {
            assert!(matches!(
                fetch(root.path(), "key"),
                Err(StoreError::Denied(_))
            ));
        }
    }
}
