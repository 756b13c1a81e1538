//! What an administrator does to key files: create one, hide one and bring it back, shred one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{DISABLED, Directory, denied, is_there, of_file, path_of};
use crate::id::ObjectName;
use crate::store::{Fetched, KeyStore, REPLACEMENT, Replaced, Shredded, StoreError, beside};

/// How long somebody else may be in the way, and how often it is looked whether they still are.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

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

/// Writes a file beside the object's and reads it back, then renames it over that one, whose owner and rights it has.
pub(super) fn replace(
    store: &Directory,
    name: &ObjectName,
    content: &[u8],
) -> Result<Replaced, StoreError> {
    let Some(place) = Place::of(store, name)? else {
        return Err(StoreError::Absent);
    };
    let _alone = place.alone()?;
    let metadata = fs::symlink_metadata(&place.file).map_err(of_file)?;
    deletable(&metadata)?;
    let beside = beside(name)?;
    let path = &place.replacement;
    // As one that was killed left it.
    deleted(path, &place.directory)?;
    create(store, &beside, content, Duration::ZERO)?;
    let renamed = with_rights_of(&metadata, path)
        .and_then(|()| rename(path, &place.file))
        .and_then(|()| sync_directory(&place.directory))
        .map_err(not_written);
    if renamed.is_err() {
        let _ = fs::remove_file(path);
    }
    renamed?;
    Ok(Replaced {
        not_looked_at: vec![
            "backups and snapshots of the key store's directory",
            "blocks of the disk that held the file",
        ],
        ..Replaced::default()
    })
}

/// Renames a file, over one of the other name if there is one. On some of Windows's file systems a file that somebody has open
/// cannot be renamed over; those who read a key have it open for a moment.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    let is_open = |outcome: &std::io::Result<()>| {
        let denied = |error: &std::io::Error| error.kind() == ErrorKind::PermissionDenied;
        cfg!(windows) && outcome.as_ref().is_err_and(denied)
    };
    patiently(|| fs::rename(from, to), is_open)
}

/// What `attempt` comes to, which is made again for as long as somebody else is in the way and there is patience.
fn patiently<T>(attempt: impl Fn() -> T, is_in_the_way: impl Fn(&T) -> bool) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let outcome = attempt();
        if !is_in_the_way(&outcome) || Instant::now() >= until {
            return outcome;
        }
        thread::sleep(AGAIN);
    }
}

/// Gives the file at `path` owner and rights of another, so that the same processes read it.
fn with_rights_of(metadata: &fs::Metadata, path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        let own = fs::metadata(path)?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            chown(path, Some(metadata.uid()), Some(metadata.gid()))?;
        }
    }
    fs::set_permissions(path, metadata.permissions())
}

/// Renames the file beside itself; whether it was not already.
pub(super) fn disable(store: &Directory, name: &ObjectName) -> Result<bool, StoreError> {
    moved(store, name, |place| [&place.file, &place.disabled])
}

/// Renames the file back; whether it was disabled.
pub(super) fn enable(store: &Directory, name: &ObjectName) -> Result<bool, StoreError> {
    moved(store, name, |place| [&place.disabled, &place.file])
}

/// Renames the first of an object's two files to the second; whether it was not already.
fn moved(
    store: &Directory,
    name: &ObjectName,
    ends: fn(&Place) -> [&Path; 2],
) -> Result<bool, StoreError> {
    let Some(place) = Place::of(store, name)? else {
        return Err(StoreError::Absent);
    };
    let _alone = place.alone()?;
    let [from, to] = ends(&place);
    match (is_there(from)?, is_there(to)?) {
        (true, false) => place.rename(from, to).map(|()| true),
        (false, true) => Ok(false),
        (true, true) => Err(two_files()),
        (false, false) => Err(StoreError::Absent),
    }
}

fn two_files() -> StoreError {
    StoreError::lasting("there are a file of its name and a disabled one; take one of them away")
}

/// Where the file of an object is, enabled and disabled, and what is written to take its place.
struct Place {
    directory: PathBuf,
    file: PathBuf,
    disabled: PathBuf,
    replacement: PathBuf,
}

impl Place {
    /// `None` where there is not even a directory for it.
    fn of(store: &Directory, name: &ObjectName) -> Result<Option<Self>, StoreError> {
        let root = store.root()?;
        if name.as_str().ends_with(DISABLED) {
            return Err(StoreError::NotAKey(
                "its object's name is that of a disabled key",
            ));
        }
        Ok(found(&root, name)?.map(|(directory, file)| {
            let with = |ending| {
                let mut name = file.to_owned();
                name.push(ending);
                directory.join(name)
            };
            Self {
                file: directory.join(file),
                disabled: with(DISABLED),
                replacement: with(REPLACEMENT),
                directory,
            }
        }))
    }

    /// Nobody else changes files of the directory until the result is dropped: who hides a key, brings it back, replaces
    /// or destroys it, looks first and acts then. Where a file system, or a system other than Unix, does not lock
    /// directories, nothing does.
    ///
    /// # Errors
    /// A passing one while somebody else has it for seconds.
    fn alone(&self) -> Result<Option<File>, StoreError> {
        if cfg!(not(unix)) {
            return Ok(None);
        }
        let directory = File::open(&self.directory).map_err(of_file)?;
        let is_held = |outcome: &_| matches!(outcome, Err(TryLockError::WouldBlock));
        match patiently(|| directory.try_lock(), is_held) {
            Ok(()) => Ok(Some(directory)),
            Err(TryLockError::Error(_)) => Ok(None),
            Err(TryLockError::WouldBlock) => Err(StoreError::passing(
                "another process changes keys beside it",
            )),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        rename(from, to)
            .and_then(|()| sync_directory(&self.directory))
            .map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    denied("its file", "renamed")
                }
                kind => StoreError::lasting(format_args!("its file could not be renamed ({kind})")),
            })
    }
}

/// Deletes the file, disabled or not, and what a call of [`replace`] that was killed left beside it, and looks whether they
/// are gone. A file with a second name is left alone: under that name the key would stay.
pub(super) fn shred(store: &Directory, name: &ObjectName) -> Result<Shredded, StoreError> {
    let mut shredded = Shredded {
        not_looked_at: vec![
            "backups and snapshots of the key store's directory",
            "blocks of the disk that held the file",
        ],
        ..Shredded::default()
    };
    let Some(place) = Place::of(store, name)? else {
        return Ok(shredded);
    };
    let _alone = place.alone()?;
    for path in [&place.disabled, &place.file, &place.replacement] {
        shredded.versions += u64::from(deleted(path, &place.directory)?);
    }
    Ok(shredded)
}

/// Deletes the file at `path`; whether there was one.
fn deleted(path: &Path, directory: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Err(error) => match of_file(error) {
            // A name that is too long for one more ending has no disabled file.
            StoreError::Absent | StoreError::NotAKey(_) => return Ok(false),
            error => return Err(error),
        },
        Ok(metadata) => deletable(&metadata)?,
    }
    fs::remove_file(path)
        .and_then(|()| sync_directory(directory))
        .map_err(not_deleted)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        _ => Err(StoreError::Denied(
            "its file is still there after it was deleted".to_owned(),
        )),
    }
}

/// Refuses a file whose content would stay where its name goes.
fn deletable(metadata: &fs::Metadata) -> Result<(), StoreError> {
    if metadata.is_symlink() {
        return Err(StoreError::Denied(
            "its file is a link; the file that it leads to would stay".to_owned(),
        ));
    }
    if !metadata.is_file() {
        return Err(StoreError::NotAKey("its object is not a file"));
    }
    match has_other_names(metadata) {
        true => Err(StoreError::Denied(
            "its file has another name (a hard link), under which it would stay".to_owned(),
        )),
        false => Ok(()),
    }
}

/// The directory of the object, made where it is missing, and the file's name in it. No step leads out
/// of the root, not even one over a link.
fn made<'a>(root: &Path, name: &'a ObjectName) -> Result<(PathBuf, &'a OsStr), StoreError> {
    let (steps, file) = split(name)?;
    let mut directory = root.to_owned();
    for step in steps {
        directory.push(step);
        #[cfg_attr(not(unix), allow(unused_mut))]
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
    let path = path_of(name)?;
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
    fn a_disabled_file_is_there_under_no_name_and_comes_back_whole() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        let key = name("keys/k");
        let fetch = |object: &str| store.fetch(&name(object), None, Instant::now()).map(|_| ());
        create(&store, &key, b"content", PATIENCE).unwrap();
        assert_eq!(enable(&store, &key), Ok(false));
        assert_eq!(disable(&store, &key), Ok(true));
        assert_eq!(disable(&store, &key), Ok(false));
        assert_eq!(fetch("keys/k"), Err(StoreError::Disabled));
        // A row cannot name what is disabled.
        let of_a_disabled = StoreError::NotAKey("its object's name is that of a disabled key");
        assert_eq!(fetch("keys/k.disabled"), Err(of_a_disabled.clone()));
        assert_eq!(
            disable(&store, &name("keys/k.disabled")),
            Err(of_a_disabled.clone())
        );
        symlink("k.disabled", root.path().join("keys/link")).unwrap();
        assert_eq!(fetch("keys/link"), Err(of_a_disabled));
        assert_eq!(enable(&store, &key), Ok(true));
        assert_eq!(fetch("keys/k"), Ok(()));
        assert_eq!(fs::read(root.path().join("keys/k")).unwrap(), b"content");
        for absent in ["keys/none", "none/k", &"n".repeat(250)] {
            assert_eq!(disable(&store, &name(absent)), Err(StoreError::Absent));
            assert_eq!(enable(&store, &name(absent)), Err(StoreError::Absent));
            assert_eq!(fetch(absent), Err(StoreError::Absent));
        }
    }

    #[test]
    fn neither_of_two_files_is_overwritten_and_both_are_shredded() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        fs::write(root.path().join("k"), "restored").unwrap();
        fs::write(root.path().join("k.disabled"), "disabled").unwrap();
        let two = StoreError::lasting(
            "there are a file of its name and a disabled one; take one of them away",
        );
        assert_eq!(disable(&store, &name("k")), Err(two.clone()));
        assert_eq!(enable(&store, &name("k")), Err(two));
        assert_eq!(fs::read(root.path().join("k")).unwrap(), b"restored");
        assert_eq!(shred(&store, &name("k")).unwrap().versions, 2);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn wraps_at_one_time_leave_what_one_of_them_wrote() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        create(&store, &name("k"), b"0", PATIENCE).unwrap();
        thread::scope(|scope| {
            for content in [b"1", b"2"] {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..50 {
                        // A slow disk may keep the other at it for longer than one waits.
                        while let Err(error) = replace(store, &name("k"), content) {
                            assert_eq!(error, busy());
                        }
                        let content = fs::read(root_file(store)).unwrap();
                        assert!([b"1", b"2"].contains(&&content[..].try_into().unwrap()));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    fn busy() -> StoreError {
        StoreError::passing("another process changes keys beside it")
    }

    fn root_file(store: &Directory) -> PathBuf {
        store.root().unwrap().join("k")
    }

    #[test]
    fn who_hides_or_destroys_a_key_waits_for_whoever_changes_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Directory::new(root.path().into());
        create(&store, &name("k"), b"content", PATIENCE).unwrap();
        let held = File::open(root.path()).unwrap();
        held.lock().unwrap();
        assert_eq!(disable(&store, &name("k")), Err(busy()));
        assert_eq!(shred(&store, &name("k")).map(|_| ()), Err(busy()));
        drop(held);
        assert_eq!(disable(&store, &name("k")), Ok(true));
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
