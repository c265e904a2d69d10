//! The archive the kernel unpacks as its first file system: cpio in the "newc" format.
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.

/// A directory's mode bits.
const DIRECTORY: u32 = 0o040_755;
/// An executable file's mode bits.
const PROGRAM: u32 = 0o100_755;
/// A character device's mode bits.
const DEVICE: u32 = 0o020_600;

/// An archive being written. Owner and times are zero, so that equal content makes equal bytes.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a directory.
    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, DIRECTORY, (0, 0), &[])
    }

    /// Adds an executable file.
    pub(crate) fn program(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, PROGRAM, (0, 0), content)
    }

    /// Adds a character device, which no ordinary user could make with mknod.
    pub(crate) fn device(self, name: &str, major: u32, minor: u32) -> Self {
        self.entry(name, DEVICE, (major, minor), &[])
    }

    /// Ends the archive and returns it.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]).bytes
    }

    fn entry(mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) -> Self {
        self.inode += 1;
        let links = 1;
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            major,
            minor,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        self
    }

    /// Header with name, and content, each end on a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_bytes_of_the_format() {
        let archive = Archive::default().directory("d").program("d/p", b"hello").finish();
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[..22], b"07070100000001000041ED", "magic, inode, mode");
        // A header is 110 bytes; with "d\0" that is 112, already a multiple of four.
        let second = &archive[112..];
        assert_eq!(&second[..6], b"070701");
        assert_eq!(&second[54..62], b"00000005", "size");
        assert_eq!(&second[94..102], b"00000004", "size of the name with its NUL");
        assert_eq!(&second[110..116], b"d/p\0\0\0", "name, padded");
        assert_eq!(&second[116..124], b"hello\0\0\0", "content, padded");
        assert!(archive.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
