//! The extension's file, and loading it: a host like any other.

use std::env;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::failure::{Failure, Result};

/// The file that was named, or else the one that was installed with this program.
pub(crate) fn find(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path);
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    let folder = program
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    installed(&folder).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no {} in {}, nor where install.sh or pip would put it: name it with --extension",
            name(),
            folder.display()
        ))
    })
}

fn name() -> String {
    format!("journal_crypt{}", env::consts::DLL_SUFFIX)
}

/// Beside a program in this folder, as in the release archive; or where install.sh and Homebrew put it; or in the wheel's
/// package, of several Pythons' in the one that was installed last, as was the program.
fn installed(folder: &Path) -> Option<PathBuf> {
    let beside = folder.join(name());
    let prefix = folder.parent()?;
    let in_lib = prefix.join("lib/sqlite-journal-crypt").join(name());
    if let Some(path) = [beside, in_lib].into_iter().find(|path| path.exists()) {
        return Some(path);
    }
    packages(prefix)
        .map(|package| package.join("sqlite_journal_crypt").join(name()))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
}

/// Where Pythons have their packages below a prefix: `lib/python3.11/site-packages`, Debian's own `dist-packages`, and on
/// Windows `Lib\site-packages`.
fn packages(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    let libraries = ["lib", "lib64"].map(|library| prefix.join(library));
    let pythons = libraries
        .clone()
        .into_iter()
        .filter_map(|library| library.read_dir().ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    libraries
        .into_iter()
        .chain(pythons)
        .flat_map(|folder| ["site-packages", "dist-packages"].map(|packages| folder.join(packages)))
}

/// Loads it into a connection.
#[allow(unsafe_code)]
pub(crate) fn load(connection: &Connection, path: &Path) -> Result<()> {
    // SAFETY: loading runs the library's code in this process, which is what it is for; whoever runs this program names
    // the file or put it beside the program. No SQL of others runs on the connection while loading is enabled.
    let loaded = unsafe {
        connection.load_extension_enable().and_then(|()| {
            connection
                .load_extension(path, None::<&str>)
                .and_then(|()| connection.load_extension_disable())
        })
    };
    loaded.map_err(|error| match Failure::from(error) {
        // Whatever a library says that refuses to be loaded: a variable that cannot be read, most often.
        Failure::Refused(text) | Failure::Usage(text) | Failure::Unreachable(text) => {
            Failure::Usage(format!("{}: {text}", path.display()))
        }
        Failure::Stopped => Failure::Stopped,
    })
}

/// Whether a function of this name is registered: which are there depends on JOURNAL_ADMIN and the version.
pub(crate) fn has(connection: &Connection, function: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_function_list WHERE name = ?)";
    Ok(connection.query_row(sql, [function], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// An empty file that is some seconds old.
    fn touch(path: &Path, age: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        File::create(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn the_extension_is_beside_the_program_or_in_lib_or_in_the_package_that_pip_installed_last() {
        let prefix = tempfile::tempdir().unwrap();
        let bin = prefix.path().join("bin");
        let package = |python: &str| {
            prefix
                .path()
                .join(python)
                .join("sqlite_journal_crypt")
                .join(name())
        };
        assert_eq!(installed(&bin), None);
        let [old, new] = [
            package("lib/python3.9/site-packages"),
            package("lib64/python3.11/dist-packages"),
        ];
        touch(&old, 60);
        assert_eq!(installed(&bin).as_ref(), Some(&old));
        touch(&new, 30);
        assert_eq!(installed(&bin).as_ref(), Some(&new));
        let in_lib = prefix.path().join("lib/sqlite-journal-crypt").join(name());
        touch(&in_lib, 90);
        assert_eq!(installed(&bin), Some(in_lib));
        let beside = bin.join(name());
        touch(&beside, 90);
        assert_eq!(installed(&bin), Some(beside));
    }
}
