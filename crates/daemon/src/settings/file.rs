//! Reads a settings file, with a limit on its size. A reload reads regular files only.

use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// No settings file is larger, but a device may never end.
const MAX_SIZE: u64 = 1024 * 1024;

/// The text of the file at `path`, which may be a pipe.
///
/// # Errors
///
/// If it cannot be read, is too large, or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, String> {
    text_of(File::open(path).map_err(|error| unreadable(&error))?)
}

/// The text of the file at `path`, at a reload. A pipe was read to its end at the start: it would now be empty, or would
/// block.
///
/// # Errors
///
/// If it cannot be read, or if it is not a regular file.
pub fn read_again(path: &Path) -> Result<String, String> {
    check_regular(fs::metadata(path).map_err(|error| unreadable(&error))?.file_type())?;
    // The path may lead to another file by now. Opening that must not block.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file =
        File::options().read(true).custom_flags(flags).open(path).map_err(|error| unreadable(&error))?;
    check_regular(file.metadata().map_err(|error| unreadable(&error))?.file_type())?;
    text_of(file)
}

fn check_regular(kind: FileType) -> Result<(), String> {
    let kind = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(format!("expected a regular file, which can be read again, not {kind}"))
}

fn text_of(file: File) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err("expected a file of at most 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "expected a file in UTF-8".to_owned())
}

fn unreadable(error: &io::Error) -> String {
    format!("expected a readable file: {error}")
}
