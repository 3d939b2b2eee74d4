//! Files with a vault's keys: 64 hexadecimal digits each, as `openssl rand -hex 32` writes them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::vault::VAULT_KEY_BYTES;
use crate::{Error, Vault};

type KeyBytes = Zeroizing<[u8; VAULT_KEY_BYTES]>;

impl Vault {
    /// Reads the key in use and older ones; `None` without a file.
    pub fn read(files: &[PathBuf]) -> Result<Option<Self>, Error> {
        let Some((first, older)) = files.split_first() else { return Ok(None) };
        let newest = Self::from_key(&*key(first)?);
        let read = |vault: Self, file: &PathBuf| Ok(vault.with_older(&*key(file)?));
        older.iter().try_fold(newest, read).map(Some)
    }

    /// Reads the key of a file, and makes one where there is none, for its owner's eyes only.
    pub fn read_or_make(file: &Path, fill: impl FnOnce(&mut [u8])) -> Result<Self, Error> {
        match File::open(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => make(file, fill)?,
            _ => {}
        }
        Ok(Self::from_key(&*key(file)?))
    }
}

fn key(file: &Path) -> Result<KeyBytes, Error> {
    let wrong = |error: std::io::Error| Error::file(file, error.to_string());
    let mut text = Zeroizing::new(String::new());
    // A bit more than fits, so that something else is not taken for one.
    File::open(file).map_err(wrong)?.take(256).read_to_string(&mut text).map_err(wrong)?;
    let digits = text.trim_ascii().as_bytes();
    let refuse = || Error::file(file, "must be 64 hexadecimal digits: openssl rand -hex 32");
    let mut key = KeyBytes::default();
    if digits.len() != 2 * key.len() {
        return Err(refuse());
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(refuse);
        *byte = u8::try_from(16 * digit(pair[0])? + digit(pair[1])?).map_err(|_| refuse())?;
    }
    Ok(key)
}

/// Writes it beside its place first: a process that dies here leaves a whole key or none.
fn make(file: &Path, fill: impl FnOnce(&mut [u8])) -> Result<(), Error> {
    let mut key = KeyBytes::default();
    fill(&mut *key);
    let mut text = Zeroizing::new(String::with_capacity(2 * key.len() + 1));
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text.push('\n');
    let write = || {
        let beside = file.with_extension("key.new");
        let mut written = private().open(&beside)?;
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        std::fs::rename(&beside, file)?;
        file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|error| Error::file(file, error.to_string()))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_first_file_seals_and_all_open() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Vault::read(&[]).unwrap().is_none());
        let old = file(dir.path(), "old", &"0a".repeat(32));
        let new = file(dir.path(), "new", &format!("  {}\r\n", "F1".repeat(32)));
        let vault = Vault::read(&[new, old]).unwrap().unwrap();
        let expected = Vault::from_key(&[0xf1; 32]).with_older(&[0x0a; 32]);
        assert_eq!(vault.ids(), expected.ids());
    }

    #[test]
    fn what_is_no_key_is_named_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "hunter2", &"g".repeat(64), &"00".repeat(33), &"00".repeat(31)] {
            let path = file(dir.path(), "key", text);
            let said = Vault::read(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(said.starts_with(&path.display().to_string()), "{said}");
            assert!(said.contains("openssl rand -hex 32") && !said.contains("hunter2"), "{said}");
        }
        let missing = Vault::read(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.key");
        let made = Vault::read_or_make(&path, |bytes| bytes.fill(5)).unwrap();
        assert_eq!(made.ids(), Vault::from_key(&[5; 32]).ids());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = Vault::read_or_make(&path, |_| unreachable!("it is there")).unwrap();
        assert_eq!(again.ids(), made.ids());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
    }
}
