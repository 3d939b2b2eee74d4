//! The file as a row of parts, with a checksum that is known at its end.

use std::io::{ErrorKind, Read, Write};

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use crate::limits::BACKUP_PART_MAX;
use crate::v1::BackupPart;
use crate::v1::backup_part::Part;

const MAGIC: &[u8] = b"muster backup\n";
/// Bytes of the checksum.
const SUM: usize = 32;

/// Writes parts.
pub(super) struct Writer<W> {
    out: W,
    sum: Sha256,
    pub(super) bytes: u64,
    pub(super) parts: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Result<Self, BackupError> {
        let mut writer = Self { out, sum: Sha256::new(), bytes: 0, parts: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    pub(super) fn part(&mut self, part: Part) -> Result<(), BackupError> {
        let bytes = BackupPart { part: Some(part) }.encode_to_vec();
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= BACKUP_PART_MAX);
        let length = length.ok_or_else(|| {
            BackupError::Failed(format!("a value of {} bytes does not fit in", bytes.len()))
        })?;
        self.put(&length.to_be_bytes())?;
        self.put(&bytes)?;
        self.parts += 1;
        Ok(())
    }

    /// Writes the checksum. Flushing is whose file it is.
    pub(super) fn finish(mut self) -> Result<u64, BackupError> {
        let sum = self.sum.clone().finalize();
        self.put(&sum)?;
        self.out.flush()?;
        Ok(self.bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes)?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Reads parts.
pub(super) struct Reader<R> {
    input: R,
    sum: Sha256,
    /// Where it is in the file.
    pub(super) at: u64,
    /// Parts read.
    pub(super) parts: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Result<Self, BackupError> {
        let mut reader = Self { input, sum: Sha256::new(), at: 0, parts: 0 };
        match reader.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => Ok(reader),
            Err(BackupError::File(error)) => Err(error.into()),
            _ => Err(damaged(0, "this is not a backup of muster")),
        }
    }

    pub(super) fn part(&mut self) -> Result<Part, BackupError> {
        let start = self.at;
        let length = self.take(4)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if length > BACKUP_PART_MAX {
            return Err(damaged(start, &format!("a part of {length} bytes cannot be")));
        }
        let bytes = self.take(length)?;
        let part = BackupPart::decode(&bytes[..]).map_err(|error| damaged(start, &error))?;
        self.parts += 1;
        part.part.ok_or_else(|| damaged(start, "a part of an unknown kind"))
    }

    /// Compares the checksum, and that nothing follows it.
    pub(super) fn finish(&mut self) -> Result<(), BackupError> {
        let (at, sum) = (self.at, self.sum.clone().finalize());
        if self.take(SUM)? != sum[..] {
            return Err(damaged(at, "the checksum is of another content"));
        }
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(damaged(self.at, "something follows the end")),
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged(self.at, "the file ends too early"),
            _ => error.into(),
        })?;
        self.sum.update(&bytes);
        self.at += length as u64;
        Ok(bytes)
    }
}

pub(super) fn damaged(at: u64, reason: &(impl ToString + ?Sized)) -> BackupError {
    BackupError::Damaged { at, reason: reason.to_string() }
}
