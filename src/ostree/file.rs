// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Content objects: files and symbolic links.

use std::ffi::c_char;
use std::io::Read;
use std::ptr::{null, null_mut};

use anyhow::{Context, Result, ensure};
use ostree_sys as sys;

use super::raw::{Object, Variant, c_string, checked, copied, owned, returned};
use super::repo::{Repo, Transaction};
use crate::oci::Digest;

/// Extended attributes as the serialized GVariant `a(ayay)`, which is what checksums are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(pub Vec<u8>);

/// What a file is, besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode with the type in it: `S_IFREG` or `S_IFLNK`.
    pub mode: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
}

/// A content object that is in the repository.
#[derive(Debug)]
pub struct StoredFile {
    /// What it is.
    pub header: FileHeader,
    /// Its size in bytes.
    pub size: u64,
    stream: Option<Object<gio_sys::GInputStream>>,
}

const COPY_BUFFER: usize = 64 << 10;

impl Transaction<'_> {
    /// Write a regular file of `size` bytes from `content`. With `expected`, another checksum is an error.
    pub fn write_file(
        &self,
        expected: Option<&Digest>,
        header: &FileHeader,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Digest> {
        let c_expected = expected.map(|digest| c_string(digest.hex())).transpose()?;
        let c_expected = c_expected.as_ref().map_or(null(), |text| text.as_ptr());
        let xattrs = Variant::from_bytes(c"a(ayay)", &header.xattrs.0);
        let writer = returned(|error| {
            // SAFETY: live objects and strings; the writer is a new object of ours.
            Object::take(unsafe {
                sys::ostree_repo_write_regfile(
                    self.repo().as_ptr(),
                    c_expected,
                    header.uid,
                    header.gid,
                    header.mode,
                    size,
                    xattrs.as_ptr(),
                    error,
                )
            })
        })
        .context("writing a file object")?;
        let mut buffer = vec![0; COPY_BUFFER.min(usize::try_from(size).unwrap_or(COPY_BUFFER)).max(1)];
        let mut left = size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = content.read(&mut buffer[..want]).context("reading a file of the layer")?;
            ensure!(n > 0, "file ends {left} bytes early");
            write_all(&writer, &buffer[..n]).context("writing a file object")?;
            left -= n as u64;
        }
        let checksum = returned(|error| {
            // SAFETY: a live writer, no cancellable; the returned string is ours.
            owned(unsafe { sys::ostree_content_writer_finish(writer.as_ptr(), null_mut(), error) })
        })
        .context("writing a file object")?;
        Digest::from_hex(&checksum)
    }

    /// Write a symbolic link. With `expected`, another checksum is an error.
    pub fn write_symlink(&self, expected: Option<&Digest>, header: &FileHeader) -> Result<Digest> {
        let c_expected = expected.map(|digest| c_string(digest.hex())).transpose()?;
        let c_expected = c_expected.as_ref().map_or(null(), |text| text.as_ptr());
        let target = c_string(header.target.as_deref().context("symbolic link without a target")?)?;
        let xattrs = Variant::from_bytes(c"a(ayay)", &header.xattrs.0);
        let checksum = returned(|error| {
            // SAFETY: live objects and strings; the returned string is ours.
            owned(unsafe {
                sys::ostree_repo_write_symlink(
                    self.repo().as_ptr(),
                    c_expected,
                    header.uid,
                    header.gid,
                    xattrs.as_ptr(),
                    target.as_ptr(),
                    null_mut(),
                    error,
                )
            })
        })
        .context("writing a symlink object")?;
        Digest::from_hex(&checksum)
    }
}

fn write_all(writer: &Object<sys::OstreeContentWriter>, bytes: &[u8]) -> Result<()> {
    let mut written = 0;
    checked(|error| {
        // SAFETY: a content writer is a GOutputStream; the bytes live during the call.
        unsafe {
            gio_sys::g_output_stream_write_all(
                writer.as_ptr().cast(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len(),
                &mut written,
                null_mut(),
                error,
            ) != 0
        }
    })
}

impl Repo {
    /// Open a content object. `content` says whether its bytes are wanted too.
    pub fn load_file(&self, checksum: &Digest, content: bool) -> Result<StoredFile> {
        let c_checksum = c_string(checksum.hex())?;
        let (mut stream, mut info, mut xattrs) = (null_mut(), null_mut(), null_mut());
        let out_stream = if content { &raw mut stream } else { null_mut() };
        checked(|error| {
            // SAFETY: live object and string; what is set on success is ours.
            unsafe {
                sys::ostree_repo_load_file(
                    self.as_ptr(),
                    c_checksum.as_ptr(),
                    out_stream,
                    &mut info,
                    &mut xattrs,
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .with_context(|| format!("loading file object {}", checksum.hex()))?;
        let stream = Object::take(stream);
        let info = Object::take(info).context("a file object has no information")?;
        let xattrs = Variant::take(xattrs).map(|xattrs| xattrs.bytes()).unwrap_or_default();
        let number = |name: *const c_char| {
            // SAFETY: a live GFileInfo and a constant name; a missing attribute gives 0.
            unsafe { gio_sys::g_file_info_get_attribute_uint32(info.as_ptr(), name) }
        };
        let mode = number(c"unix::mode".as_ptr());
        let symlink = mode & 0o170_000 == 0o120_000;
        // SAFETY: a live GFileInfo. The target is a string that it keeps; it is only asked for if it is there.
        let (target, size) = unsafe {
            let target = if symlink { copied(gio_sys::g_file_info_get_symlink_target(info.as_ptr())) } else { None };
            (target, gio_sys::g_file_info_get_size(info.as_ptr()))
        };
        Ok(StoredFile {
            header: FileHeader {
                uid: number(c"unix::uid".as_ptr()),
                gid: number(c"unix::gid".as_ptr()),
                mode,
                xattrs: Xattrs(xattrs),
                target: target.map(String::into_bytes),
            },
            size: u64::try_from(size).unwrap_or_default(),
            stream,
        })
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(stream) = &self.stream else { return Ok(0) };
        let mut n = -1;
        checked(|error| {
            // SAFETY: a live stream; it writes at most `len` bytes to the buffer.
            n = unsafe {
                gio_sys::g_input_stream_read(
                    stream.as_ptr(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    null_mut(),
                    error,
                )
            };
            n >= 0
        })
        .map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(usize::try_from(n).unwrap_or_default())
    }
}
