// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A repository, and transactions on it.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::ptr::{null, null_mut};

use anyhow::{Context, Result};
use ostree_sys as sys;

use super::raw::{Object, Variant, c_string, checked, copied, file, owned};
use crate::oci::Digest;

/// The kinds of metadata objects that we write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// A directory's names.
    DirTree,
    /// A directory's owner, mode, xattrs.
    DirMeta,
    /// A commit.
    Commit,
    /// Detached metadata of a commit.
    CommitMeta,
    /// A file.
    File,
}

impl ObjectType {
    /// The type that an object's file name ends with; `None` for what is not imported.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "dirtree" => Self::DirTree,
            "dirmeta" => Self::DirMeta,
            "commit" => Self::Commit,
            "commitmeta" => Self::CommitMeta,
            "file" => Self::File,
            _ => return None,
        })
    }

    fn raw(self) -> sys::OstreeObjectType {
        match self {
            Self::DirTree => sys::OSTREE_OBJECT_TYPE_DIR_TREE,
            Self::DirMeta => sys::OSTREE_OBJECT_TYPE_DIR_META,
            Self::Commit => sys::OSTREE_OBJECT_TYPE_COMMIT,
            Self::CommitMeta => sys::OSTREE_OBJECT_TYPE_COMMIT_META,
            Self::File => sys::OSTREE_OBJECT_TYPE_FILE,
        }
    }

    /// The GVariant type, as in libostree's `ostree-core.h`. Files have none of their own.
    fn variant_type(self) -> &'static CStr {
        match self {
            Self::DirTree => c"(a(say)a(sayay))",
            Self::DirMeta => c"(uuua(ayay))",
            Self::Commit => c"(a{sv}aya(say)sstayay)",
            Self::CommitMeta | Self::File => c"a{sv}",
        }
    }
}

/// An open repository.
#[derive(Debug)]
pub struct Repo(pub(super) Object<sys::OstreeRepo>);

impl Repo {
    /// Open the repository at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let at = file(path)?;
        // SAFETY: `at` lives during the call; the result is a new object of ours.
        let repo =
            Object::take(unsafe { sys::ostree_repo_new(at.as_ptr()) }).context("creating a repository object")?;
        // SAFETY: a live object, no cancellable.
        checked(|error| unsafe { sys::ostree_repo_open(repo.as_ptr(), null_mut(), error) } != 0)
            .with_context(|| format!("opening repository {}", path.display()))?;
        Ok(Self(repo))
    }

    pub(super) fn as_ptr(&self) -> *mut sys::OstreeRepo {
        self.0.as_ptr()
    }

    /// The commit that a ref names; `None` if there is no such ref.
    pub fn resolve_ref(&self, name: &str) -> Result<Option<Digest>> {
        let c_name = c_string(name)?;
        let mut found: *mut c_char = null_mut();
        checked(|error| {
            // SAFETY: a live object and string; with allow_noent a missing ref gives null, which is no error.
            unsafe { sys::ostree_repo_resolve_rev(self.as_ptr(), c_name.as_ptr(), 1, &mut found, error) != 0 }
        })
        .with_context(|| format!("resolving ref {name}"))?;
        owned(found).map(|checksum| Digest::from_hex(&checksum)).transpose()
    }

    /// Names and commits of all refs below `prefix`.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, Digest)>> {
        let c_prefix = c_string(prefix)?;
        let mut table = null_mut();
        let flags = sys::OSTREE_REPO_LIST_REFS_EXT_NONE;
        checked(|error| {
            // SAFETY: a live object and string; the table is ours on success.
            unsafe {
                sys::ostree_repo_list_refs_ext(self.as_ptr(), c_prefix.as_ptr(), &mut table, flags, null_mut(), error)
                    != 0
            }
        })
        .with_context(|| format!("listing refs below {prefix}"))?;
        let mut found = Vec::new();
        let (mut key, mut value) = (null_mut(), null_mut());
        // SAFETY: the iterator is plain data that g_hash_table_iter_init fills; keys and values are strings that the
        // table owns, copied before the table goes.
        unsafe {
            let mut iterator = std::mem::zeroed();
            glib_sys::g_hash_table_iter_init(&mut iterator, table);
            while glib_sys::g_hash_table_iter_next(&mut iterator, &mut key, &mut value) != 0 {
                found.push((copied(key.cast()), copied(value.cast())));
            }
            glib_sys::g_hash_table_unref(table);
        }
        let mut refs = Vec::with_capacity(found.len());
        for (name, checksum) in found {
            refs.push((name.unwrap_or_default(), Digest::from_hex(&checksum.unwrap_or_default())?));
        }
        refs.sort();
        Ok(refs)
    }

    /// Remove a ref, at once.
    pub fn delete_ref(&self, name: &str) -> Result<()> {
        let c_name = c_string(name)?;
        checked(|error| {
            // SAFETY: live object and string; a null checksum deletes the ref.
            unsafe {
                sys::ostree_repo_set_ref_immediate(self.as_ptr(), null(), c_name.as_ptr(), null(), null_mut(), error)
                    != 0
            }
        })
        .with_context(|| format!("deleting ref {name}"))
    }

    /// Remove an object that no ref needs.
    pub fn delete_object(&self, kind: ObjectType, checksum: &Digest) -> Result<()> {
        let c_checksum = c_string(checksum.hex())?;
        checked(|error| {
            // SAFETY: live object and string, no cancellable.
            unsafe {
                sys::ostree_repo_delete_object(self.as_ptr(), kind.raw(), c_checksum.as_ptr(), null_mut(), error) != 0
            }
        })
        .with_context(|| format!("deleting object {}", checksum.hex()))
    }

    /// Whether an object is there, in the repository or in the running transaction.
    pub fn has_object(&self, kind: ObjectType, checksum: &Digest) -> Result<bool> {
        let c_checksum = c_string(checksum.hex())?;
        let mut found = 0;
        checked(|error| {
            // SAFETY: live object and string, no cancellable.
            unsafe {
                sys::ostree_repo_has_object(
                    self.as_ptr(),
                    kind.raw(),
                    c_checksum.as_ptr(),
                    &mut found,
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .with_context(|| format!("looking for object {}", checksum.hex()))?;
        Ok(found != 0)
    }

    /// The serialized bytes of a metadata object.
    pub fn load_metadata(&self, kind: ObjectType, checksum: &Digest) -> Result<Vec<u8>> {
        let c_checksum = c_string(checksum.hex())?;
        let mut variant = null_mut();
        checked(|error| {
            // SAFETY: live object and string; the variant is ours on success.
            unsafe {
                sys::ostree_repo_load_variant(self.as_ptr(), kind.raw(), c_checksum.as_ptr(), &mut variant, error) != 0
            }
        })
        .with_context(|| format!("loading object {}", checksum.hex()))?;
        Ok(Variant::take(variant).context("loading an object gave nothing")?.bytes())
    }

    /// Say that a commit has all its objects.
    pub fn mark_complete(&self, commit: &Digest) -> Result<()> {
        self.mark(commit, false)
    }

    fn mark(&self, commit: &Digest, partial: bool) -> Result<()> {
        let checksum = c_string(commit.hex())?;
        checked(|error| {
            // SAFETY: live object and string.
            unsafe {
                sys::ostree_repo_mark_commit_partial(self.as_ptr(), checksum.as_ptr(), partial.into(), error) != 0
            }
        })
        .with_context(|| format!("marking commit {}", commit.hex()))
    }

    /// Start a transaction: what is written from here on is staged.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        checked(|error| {
            // SAFETY: a live object, no cancellable, no interest in whether a transaction is resumed.
            unsafe { sys::ostree_repo_prepare_transaction(self.as_ptr(), null_mut(), null_mut(), error) != 0 }
        })
        .context("starting a transaction")?;
        Ok(Transaction { repo: self, open: true })
    }
}

/// A transaction. Dropping it aborts it: nothing that was staged is then part of the repository.
#[derive(Debug)]
pub struct Transaction<'a> {
    repo: &'a Repo,
    open: bool,
}

impl<'a> Transaction<'a> {
    /// The repository.
    pub fn repo(&self) -> &'a Repo {
        self.repo
    }

    /// Write a metadata object. With `expected`, bytes with another checksum are an error.
    pub fn write_metadata(&self, kind: ObjectType, expected: Option<&Digest>, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if let Some(expected) = expected {
            anyhow::ensure!(digest == *expected, "object mismatch: expected {}, got {}", expected.hex(), digest.hex());
        }
        let variant = Variant::from_bytes(kind.variant_type(), bytes);
        let checksum = c_string(digest.hex())?;
        checked(|error| {
            // SAFETY: live object, string and variant; libostree verifies the checksum and keeps what it needs.
            unsafe {
                sys::ostree_repo_write_metadata(
                    self.repo.as_ptr(),
                    kind.raw(),
                    checksum.as_ptr(),
                    variant.as_ptr(),
                    null_mut(),
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .with_context(|| format!("writing object {}", digest.hex()))?;
        Ok(digest)
    }

    /// Write the detached metadata of a commit. It has no checksum of its own.
    pub fn write_commit_metadata(&self, commit: &Digest, bytes: &[u8]) -> Result<()> {
        let variant = Variant::from_bytes(ObjectType::CommitMeta.variant_type(), bytes);
        let checksum = c_string(commit.hex())?;
        checked(|error| {
            // SAFETY: live object, string and variant, no cancellable.
            unsafe {
                sys::ostree_repo_write_commit_detached_metadata(
                    self.repo.as_ptr(),
                    checksum.as_ptr(),
                    variant.as_ptr(),
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .with_context(|| format!("writing detached metadata of {}", commit.hex()))
    }

    /// Say that a commit may lack objects, so that nobody takes it for whole after a crash.
    pub fn mark_partial(&self, commit: &Digest) -> Result<()> {
        self.repo.mark(commit, true)
    }

    /// Set a ref when the transaction is committed.
    pub fn set_ref(&self, name: &str, commit: &Digest) -> Result<()> {
        let (name, checksum) = (c_string(name)?, c_string(commit.hex())?);
        // SAFETY: live object and strings, which libostree copies. A null remote is a local ref.
        unsafe {
            sys::ostree_repo_transaction_set_ref(self.repo.as_ptr(), null(), name.as_ptr(), checksum.as_ptr());
        }
        Ok(())
    }

    /// Sync what was staged, make it part of the repository, and set the refs.
    pub fn commit(mut self) -> Result<()> {
        checked(|error| {
            // SAFETY: a live object with an open transaction, no interest in statistics.
            unsafe { sys::ostree_repo_commit_transaction(self.repo.as_ptr(), null_mut(), null_mut(), error) != 0 }
        })
        .context("committing the transaction")?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let aborted = checked(|error| {
            // SAFETY: a live object with an open transaction.
            unsafe { sys::ostree_repo_abort_transaction(self.repo.as_ptr(), null_mut(), error) != 0 }
        });
        if let Err(error) = aborted {
            log::warn!("aborting the transaction: {error}");
        }
    }
}
