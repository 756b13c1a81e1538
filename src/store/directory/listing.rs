//! The files that there are below a prefix.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{DISABLED, Directory, of_file};
use crate::store::{Listed, StoreError};

/// As [`crate::store::KeyStore::list`]. A link to a file is that file, as for a fetch; one to a directory is not followed.
pub(super) fn list(store: &Directory, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let root = store.root()?;
    let above = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
    let mut found = Vec::new();
    match fs::symlink_metadata(root.join(above)).map_err(of_file) {
        Ok(_) => walk(&root.join(above), above, prefix, &mut found)?,
        Err(StoreError::Absent) => {}
        Err(error) => return Err(error),
    }
    found.sort_unstable_by(|a, b| (&a.name, a.disabled).cmp(&(&b.name, b.disabled)));
    Ok(found)
}

/// Adds the files of a folder, whose path below the root is `above` and ends in a slash.
fn walk(
    folder: &Path,
    above: &str,
    prefix: &str,
    found: &mut Vec<Listed>,
) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(not_listed)? {
        let entry = entry.map_err(not_listed)?;
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(not_listed)?.is_dir() {
            let below = format!("{name}/");
            if below.starts_with(prefix) {
                walk(&entry.path(), &below, prefix, found)?;
            }
            continue;
        }
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() && name.starts_with(prefix) => metadata,
            Ok(_) => continue,
            // It went meanwhile, or is a link to nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(not_listed(error)),
        };
        let hidden = name.strip_suffix(DISABLED);
        found.push(Listed {
            name: hidden.unwrap_or(&name).to_owned(),
            bytes: metadata.len(),
            modified_at: metadata.modified().ok(),
            disabled: hidden.is_some(),
        });
    }
    Ok(())
}

fn not_listed(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied => super::denied("its directory", "read"),
        kind => StoreError::lasting(format_args!("its directory could not be read ({kind})")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_begins_with_the_prefix_is_listed_by_the_name_that_rows_have() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(then)
                .unwrap();
        };
        write("keys/master/b", "content");
        write("keys/master/a.disabled", "");
        write("keys/master/deep/c", "");
        write("keys/more", "");
        write("other/k", "");
        symlink("b", root.path().join("keys/master/link")).unwrap();
        symlink("nothing", root.path().join("keys/master/nowhere")).unwrap();
        symlink("..", root.path().join("keys/master/up")).unwrap();
        let store = Directory::new(root.path().into());
        let names = |prefix: &str| -> Vec<String> {
            let found = list(&store, prefix).unwrap();
            found.into_iter().map(|listed| listed.name).collect()
        };
        let below = ["a", "b", "deep/c", "link"].map(|name| format!("keys/master/{name}"));
        assert_eq!(names("keys/master/"), below);
        assert_eq!(names("keys/ma"), below);
        assert_eq!(names("keys/master/de"), [below[2].clone()]);
        assert_eq!(names("").len(), 6);
        assert_eq!(names("none/"), [""; 0]);
        let listed = list(&store, "keys/master/").unwrap();
        assert_eq!((listed[0].disabled, listed[1].disabled), (true, false));
        assert_eq!(
            (listed[1].bytes, listed[1].modified_at),
            (7, Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)))
        );
    }

    #[test]
    fn a_root_that_is_missing_is_no_empty_list() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for absent in ["unmounted", "file"] {
            let store = Directory::new(root.path().join(absent));
            assert_eq!(
                list(&store, "keys/"),
                Err(StoreError::lasting(
                    "the key store's directory is not there"
                ))
            );
        }
    }
}
