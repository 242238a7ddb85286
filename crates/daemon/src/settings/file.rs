//! Reads a settings file: so much and no more, and at a reload only what can be read again.

use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// No settings are longer, but devices have no end.
const MAX_SIZE: u64 = 1024 * 1024;

/// The text of the file at `path`, which may be a pipe.
///
/// # Errors
///
/// What was expected instead.
pub(super) fn read(path: &Path) -> Result<String, String> {
    text_of(File::open(path).map_err(|error| unreadable(&error))?)
}

/// The text of the file at `path`, which has been read before. A pipe has been read to its end by then: it would be
/// empty, or would not even open.
///
/// # Errors
///
/// What was expected instead.
pub(super) fn read_again(path: &Path) -> Result<String, String> {
    check_regular(fs::metadata(path).map_err(|error| unreadable(&error))?.file_type())?;
    // Another file may have come to this path meanwhile: to open it must not block.
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
