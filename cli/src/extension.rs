//! The extension's file, and loading it: a host like any other.

use std::env;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::failure::{Failure, Result};

const NAMES: [&str; 3] = [
    "journal_crypt.so",
    "journal_crypt.dylib",
    "journal_crypt.dll",
];

/// The file that was named, or the one beside this program.
pub(crate) fn find(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path);
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    let folder = program
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| {
            Failure::Usage(format!(
                "there is no {} in {}: name it with --extension",
                NAMES[0],
                folder.display()
            ))
        })
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
