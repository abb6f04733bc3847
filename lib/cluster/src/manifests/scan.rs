//! Which files of a folder are manifests, and whether they changed.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Whether a name is that of a manifest: `*.yaml`, `*.yml` or `*.json`, and not hidden.
pub(super) fn is_manifest(path: &Path) -> bool {
    let known = |extension: &OsStr| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|it| extension.eq_ignore_ascii_case(it))
    };
    path.extension().is_some_and(known) && !is_hidden(path)
}

/// Whether a part of a path begins with a dot: editors and the kubelet keep such things beside
/// what they are for.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.iter()
        .any(|part| part.as_encoded_bytes().starts_with(b"."))
}

/// Every manifest in `root` and the folders in it, as paths from there.
///
/// Links to files are followed, as the kubelet makes them for a ConfigMap; links to folders are not,
/// for they may lead in a circle.
pub(super) fn manifests(root: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            // A folder within that is gone by now holds nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != Path::new("") => {
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if is_hidden(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_manifest(&path)
                && let Ok(metadata) = fs::metadata(root.join(&path))
                && metadata.is_file()
            {
                found.push((path, Stamp::of(&metadata)));
            }
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_found_in_order_and_hidden_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::create_dir_all(root.join("..2024_01")).unwrap();
        for file in [
            "z.yaml",
            "b/c/a.YML",
            "a.json",
            "notes.txt",
            ".a.yaml.swp",
            "..2024_01/k.yaml",
            "a.yaml~",
        ] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("..2024_01/k.yaml", root.join("k.yaml")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling.yaml")).unwrap();
        std::os::unix::fs::symlink(".", root.join("circle")).unwrap();
        let found: Vec<PathBuf> = manifests(root)
            .unwrap()
            .into_iter()
            .map(|it| it.0)
            .collect();
        assert_eq!(
            found,
            ["a.json", "b/c/a.YML", "k.yaml", "z.yaml"].map(PathBuf::from)
        );
    }
}
