// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A repository, and transactions on it.
//!
//! Tested by `src/slipstream/tests/boot/`, `src/slipstream/tests/differential/`.

use std::ffi::c_char;
use std::path::Path;
use std::ptr::{null, null_mut};

use anyhow::{Context, Result};
use contract::names::Digest;
use ostree_sys as sys;
use repo::ObjectType;

use crate::raw::{Object, Variant, c_string, checked, copied, file, owned};

/// Returns libostree's number for a type of object.
fn raw(kind: ObjectType) -> sys::OstreeObjectType {
    match kind {
        ObjectType::DirTree => sys::OSTREE_OBJECT_TYPE_DIR_TREE,
        ObjectType::DirMeta => sys::OSTREE_OBJECT_TYPE_DIR_META,
        ObjectType::Commit => sys::OSTREE_OBJECT_TYPE_COMMIT,
        ObjectType::CommitMeta => sys::OSTREE_OBJECT_TYPE_COMMIT_META,
        ObjectType::File => sys::OSTREE_OBJECT_TYPE_FILE,
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
            // SAFETY: live object and string; a null remote is a local ref, a null checksum deletes it.
            unsafe {
                sys::ostree_repo_set_ref_immediate(self.as_ptr(), null(), c_name.as_ptr(), null(), null_mut(), error)
                    != 0
            }
        })
        .with_context(|| format!("deleting ref {name}"))
    }

    /// Hold the lock that keeps others from pruning. It is free again when the guard is dropped.
    pub fn lock_shared(&self) -> Result<RepoLock<'_>> {
        checked(|error| {
            // SAFETY: a live object, no cancellable.
            unsafe { sys::ostree_repo_lock_push(self.as_ptr(), sys::OSTREE_REPO_LOCK_SHARED, null_mut(), error) != 0 }
        })
        .context("locking the repository")?;
        Ok(RepoLock(self))
    }

    /// The serialized bytes of a metadata object.
    pub fn load_metadata(&self, kind: ObjectType, checksum: &Digest) -> Result<Vec<u8>> {
        let c_checksum = c_string(checksum.hex())?;
        let mut variant = null_mut();
        checked(|error| {
            // SAFETY: live object and string; the variant is ours on success.
            unsafe {
                sys::ostree_repo_load_variant(self.as_ptr(), raw(kind), c_checksum.as_ptr(), &mut variant, error) != 0
            }
        })
        .with_context(|| format!("loading object {}", checksum.hex()))?;
        Ok(Variant::take(variant).context("loading an object gave nothing")?.bytes())
    }
}

/// A lock on the repository.
#[derive(Debug)]
pub struct RepoLock<'a>(&'a Repo);

impl Drop for RepoLock<'_> {
    fn drop(&mut self) {
        let unlocked = checked(|error| {
            // SAFETY: a live object, whose lock we hold.
            unsafe { sys::ostree_repo_lock_pop(self.0.as_ptr(), sys::OSTREE_REPO_LOCK_SHARED, null_mut(), error) != 0 }
        });
        if let Err(error) = unlocked {
            log::warn!("unlocking the repository: {error}");
        }
    }
}
