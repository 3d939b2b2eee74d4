//! Bytes as they were once written, kept as files, so that what reads them today is held to them.
//!
//! A file is `NAME.VERSION.hex` in its crate's `golden` folder. It is written once and never
//! changed: what it holds lies in somebody's store. When a format gains a field, its test says one
//! version more, and `UPDATE_GOLDEN=1 cargo test -p CRATE golden` adds the file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Asks for files that are not there yet.
const UPDATE: &str = "UPDATE_GOLDEN";
/// Bytes of a line.
const LINE: usize = 32;

/// The files of one crate.
#[derive(Debug)]
pub struct Golden {
    folder: PathBuf,
    known: Vec<String>,
}

impl Golden {
    /// The files of the crate with this manifest folder.
    pub fn of(manifest: &str) -> Self {
        Self { folder: Path::new(manifest).join("golden"), known: Vec::new() }
    }

    /// Those of one part of the crate, in a folder of their own.
    #[must_use]
    pub fn part(self, name: &str) -> Self {
        Self { folder: self.folder.join(name), ..self }
    }

    /// All versions of a value, oldest first.
    ///
    /// # Panics
    /// If one is missing, or if the newest is not what is written today.
    pub fn versions(&mut self, name: &str, newest: u32, today: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        for version in 1..=newest {
            let file = format!("{name}.{version}.hex");
            let path = self.folder.join(&file);
            if version == newest && !path.exists() && std::env::var_os(UPDATE).is_some() {
                add(&path, name, version, today);
            }
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
                panic!("{file}: {error}; {UPDATE}=1 adds the newest version, and only that")
            });
            found.push((version, bytes(&file, &text)));
            self.known.push(file);
        }
        assert!(
            found.last().is_some_and(|(_, bytes)| bytes == today),
            "{name} is written otherwise than in version {newest}:\n{}if that is meant, the test \
             has to say a version more; a file that is there never changes",
            hex(today)
        );
        found
    }

    /// Ends the comparison.
    ///
    /// # Panics
    /// If there are files that nothing was compared with.
    pub fn finish(self) {
        let folder = std::fs::read_dir(&self.folder).expect("the folder can be read");
        for entry in folder {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_known = entry.path().is_dir() || self.known.contains(&name);
            assert!(is_known, "{name} is compared with nothing");
        }
    }
}

fn add(path: &Path, name: &str, version: u32, today: &[u8]) {
    let text = format!("# {name}, version {version}\n{}", hex(today));
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
    let mut file = std::fs::File::create_new(path).expect("a new file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("a written file");
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(LINE) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string grows"));
        text.push('\n');
    }
    text
}

fn bytes(file: &str, text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let read: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    read.unwrap_or_else(|| panic!("{file} is not hex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(folder: &tempfile::TempDir) -> Golden {
        Golden::of(&folder.path().display().to_string())
    }

    #[test]
    fn what_is_there_is_compared_and_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let value: Vec<u8> = (0..40).collect();
        std::fs::create_dir(folder.path().join("golden")).unwrap();
        add(&folder.path().join("golden/a.1.hex"), "a", 1, &value);
        let text = std::fs::read_to_string(folder.path().join("golden/a.1.hex")).unwrap();
        assert!(text.starts_with("# a, version 1\n000102"), "{text}");
        let mut files = golden(&folder);
        assert_eq!(files.versions("a", 1, &value), [(1, value)]);
        files.finish();
    }

    #[test]
    #[should_panic(expected = "otherwise than in version 1")]
    fn another_encoding_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        add(&folder.path().join("golden/a.1.hex"), "a", 1, b"old");
        golden(&folder).versions("a", 1, b"new");
    }

    #[test]
    #[should_panic(expected = "a.2.hex")]
    fn a_missing_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        add(&folder.path().join("golden/a.1.hex"), "a", 1, b"old");
        // Asking for updates would add it.
        assert!(std::env::var_os(UPDATE).is_none(), "a.2.hex");
        golden(&folder).versions("a", 2, b"new");
    }

    #[test]
    #[should_panic(expected = "b.1.hex is compared with nothing")]
    fn a_file_too_many_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        add(&folder.path().join("golden/b.1.hex"), "b", 1, b"old");
        golden(&folder).finish();
    }
}
