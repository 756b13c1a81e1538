//! What an administrator does to key files: create one, shred one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Directory, denied, of_file};
use crate::id::ObjectName;
use crate::store::{Fetched, KeyStore, Shredded, StoreError};

/// Writes the file, which must not exist, for this user alone, and has the disk keep it and the way to it.
pub(super) fn create(
    store: &Directory,
    name: &ObjectName,
    content: &[u8],
    timeout: Duration,
) -> Result<(), StoreError> {
    let root = store.root()?;
    let (directory, file) = made(&root, name)?;
    let path = directory.join(file);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(not_written)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_up_to(&root, &directory))
        .map_err(not_written)
        .and_then(
            |()| match store.fetch(name, None, Instant::now() + timeout)? {
                Fetched::Object { content: found, .. } if found[..] == *content => Ok(()),
                _ => Err(StoreError::lasting("its file holds something else")),
            },
        );
    if written.is_err() {
        // The file is ours: it was created above, exclusively.
        let _ = fs::remove_file(&path);
    }
    written
}

/// Deletes the file and looks whether it is gone. A file with a second name is left alone: under that
/// name the key would stay.
pub(super) fn shred(store: &Directory, name: &ObjectName) -> Result<Shredded, StoreError> {
    let mut shredded = Shredded {
        not_looked_at: vec![
            "backups and snapshots of the key store's directory",
            "blocks of the disk that held the file",
        ],
        ..Shredded::default()
    };
    let root = store.root()?;
    let Some((directory, file)) = found(&root, name)? else {
        return Ok(shredded);
    };
    let path = directory.join(file);
    match fs::symlink_metadata(&path) {
        Err(error) => match of_file(error) {
            StoreError::Absent => return Ok(shredded),
            error => return Err(error),
        },
        Ok(metadata) if metadata.is_symlink() => {
            return Err(StoreError::Denied(
                "its file is a link; the file that it leads to would stay".to_owned(),
            ));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(StoreError::NotAKey("its object is not a file"));
        }
        Ok(metadata) if has_other_names(&metadata) => {
            return Err(StoreError::Denied(
                "its file has another name (a hard link), under which it would stay".to_owned(),
            ));
        }
        Ok(_) => {}
    }
    fs::remove_file(&path)
        .and_then(|()| sync_directory(&directory))
        .map_err(not_deleted)?;
    shredded.versions = 1;
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(shredded),
        _ => Err(StoreError::Denied(
            "its file is still there after it was deleted".to_owned(),
        )),
    }
}

/// The directory of the object, made where it is missing, and the file's name in it. No step leads out
/// of the root, not even one over a link.
fn made<'a>(root: &Path, name: &'a ObjectName) -> Result<(PathBuf, &'a OsStr), StoreError> {
    let (steps, file) = split(name)?;
    let mut directory = root.to_owned();
    for step in steps {
        directory.push(step);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(not_written(error));
            }
            _ => directory = within(root, &directory)?,
        }
    }
    Ok((directory, file))
}

/// The directory of the object and the file's name in it, if there is such a directory.
fn found<'a>(
    root: &Path,
    name: &'a ObjectName,
) -> Result<Option<(PathBuf, &'a OsStr)>, StoreError> {
    let (steps, file) = split(name)?;
    match within(root, &root.join(steps.collect::<PathBuf>())) {
        Ok(directory) => Ok(Some((directory, file))),
        Err(StoreError::Absent) => Ok(None),
        Err(error) => Err(error),
    }
}

fn split(name: &ObjectName) -> Result<(impl Iterator<Item = &OsStr>, &OsStr), StoreError> {
    let path = Path::new(name.as_str());
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(file)) if !name.as_str().ends_with('/') => Ok((parent.iter(), file)),
        _ => Err(StoreError::NotAKey("its object's name is no path")),
    }
}

fn within(root: &Path, directory: &Path) -> Result<PathBuf, StoreError> {
    let directory = directory.canonicalize().map_err(of_file)?;
    match directory.starts_with(root) {
        true => Ok(directory),
        false => Err(StoreError::NotAKey("its object leads out of the key store")),
    }
}

/// Has the disk keep the entries of `directory` and of those above it, up to the root.
fn sync_up_to(root: &Path, directory: &Path) -> std::io::Result<()> {
    directory
        .ancestors()
        .take_while(|above| above.starts_with(root))
        .try_for_each(sync_directory)
}

/// Other systems than Unix have no such call.
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    match cfg!(unix) {
        true => File::open(directory)?.sync_all(),
        false => Ok(()),
    }
}

fn has_other_names(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(metadata) > 1;
    #[cfg(not(unix))]
    return {
        let _ = metadata;
        false
    };
}

fn not_written(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            denied("its file", "written")
        }
        ErrorKind::AlreadyExists => StoreError::lasting("a file of its name exists"),
        kind => StoreError::lasting(format_args!("its file could not be written ({kind})")),
    }
}

fn not_deleted(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            denied("its file", "deleted")
        }
        kind => StoreError::lasting(format_args!("its file could not be deleted ({kind})")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const PATIENCE: Duration = Duration::from_secs(1);

    fn name(text: &str) -> ObjectName {
        ObjectName::parse(text, "").unwrap()
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_below_directories_that_are_too() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        create(&store, &name("keys/master/k"), b"content", PATIENCE).unwrap();
        let mode = |path: &str| {
            fs::metadata(root.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode("keys/master/k"), 0o600);
        assert_eq!((mode("keys"), mode("keys/master")), (0o700, 0o700));
        assert_eq!(
            fs::read(root.path().join("keys/master/k")).unwrap(),
            b"content"
        );
    }

    #[test]
    fn nothing_is_overwritten_nor_written_where_the_root_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        create(&store, &name("k"), b"first", PATIENCE).unwrap();
        assert_eq!(
            create(&store, &name("k"), b"second", PATIENCE),
            Err(StoreError::lasting("a file of its name exists"))
        );
        assert_eq!(fs::read(root.path().join("k")).unwrap(), b"first");
        let unmounted = root.path().join("unmounted");
        assert!(
            create(
                &Directory::new(unmounted.clone()),
                &name("k"),
                b"x",
                PATIENCE
            )
            .is_err()
        );
        assert!(shred(&Directory::new(unmounted.clone()), &name("k")).is_err());
        assert!(!unmounted.exists());
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink("..", root.join("up")).unwrap();
        let store = Directory::new(root);
        let out = StoreError::NotAKey("its object leads out of the key store");
        assert_eq!(
            create(&store, &name("up/keys/k"), b"x", PATIENCE),
            Err(out.clone())
        );
        fs::write(base.path().join("k"), "outside").unwrap();
        assert_eq!(shred(&store, &name("up/k")), Err(out));
        assert!(!base.path().join("keys").exists());
        assert!(base.path().join("k").exists());
    }

    #[test]
    fn a_shredded_file_is_gone_its_neighbour_stays_and_again_is_fine() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        for file in ["keys/k", "keys/k2"] {
            create(&store, &name(file), b"content", PATIENCE).unwrap();
        }
        assert_eq!(shred(&store, &name("keys/k")).unwrap().versions, 1);
        assert_eq!(shred(&store, &name("keys/k")).unwrap().versions, 0);
        assert_eq!(shred(&store, &name("none/k")).unwrap().versions, 0);
        assert!(!root.path().join("keys/k").exists());
        assert!(root.path().join("keys/k2").exists());
    }

    #[test]
    fn a_file_that_would_stay_under_another_name_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        fs::write(root.path().join("k"), "content").unwrap();
        fs::hard_link(root.path().join("k"), root.path().join("copy")).unwrap();
        symlink("k", root.path().join("link")).unwrap();
        for file in ["k", "copy", "link"] {
            let refused = shred(&store, &name(file));
            assert!(matches!(refused, Err(StoreError::Denied(_))), "{file}");
            assert!(root.path().join(file).exists());
        }
        fs::create_dir(root.path().join("directory")).unwrap();
        assert!(shred(&store, &name("directory")).is_err());
    }
}
