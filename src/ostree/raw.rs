// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every call needs: owned objects, errors, strings, variants.
//!
//! Tested by `src/slipstream/tests/boot/`, `src/slipstream/tests/differential/`.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{NonNull, null_mut};

use anyhow::{Context, Result, anyhow};

/// A reference that we own on a GObject; dropping it gives it back.
pub(super) struct Object<T>(NonNull<T>);

impl<T> Object<T> {
    /// Take over a reference ("transfer full"). `None` for null.
    pub(super) fn take(pointer: *mut T) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    /// Add a reference to an object that its owner keeps ("transfer none"). `None` for null.
    pub(super) fn share(pointer: *mut T) -> Option<Self> {
        let object = NonNull::new(pointer)?;
        // SAFETY: the pointer is a live GObject, kept alive by its owner during this call; we add our own reference.
        unsafe { gobject_sys::g_object_ref(object.as_ptr().cast()) };
        Some(Self(object))
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: we own one reference, and give it back once.
        unsafe { gobject_sys::g_object_unref(self.0.as_ptr().cast()) };
    }
}

impl<T> std::fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

/// Run a C function that reports through `GError`, and turn its verdict into a `Result`.
pub(super) fn checked(call: impl FnOnce(*mut *mut glib_sys::GError) -> bool) -> Result<()> {
    returned(|error| call(error).then_some(()))
}

/// As [`checked`], for functions that return a value, null on failure.
pub(super) fn returned<T>(call: impl FnOnce(*mut *mut glib_sys::GError) -> Option<T>) -> Result<T> {
    let mut error = null_mut();
    let value = call(&mut error);
    match value {
        Some(value) => Ok(value),
        None => Err(take_error(error)),
    }
}

fn take_error(error: *mut glib_sys::GError) -> anyhow::Error {
    if error.is_null() {
        return anyhow!("libostree failed without a word");
    }
    // SAFETY: a failed call has set a GError that is ours; its message is a NUL-terminated string that lives as long.
    let message = unsafe { CStr::from_ptr((*error).message) }.to_string_lossy().into_owned();
    // SAFETY: the error is ours, and is not used after this.
    unsafe { glib_sys::g_error_free(error) };
    anyhow!(message)
}

/// A C string of ours. A NUL inside is an error: it would cut the text.
pub(super) fn c_string(text: impl AsRef<[u8]>) -> Result<CString> {
    CString::new(text.as_ref()).context("text has a NUL byte in it")
}

/// Copy a string that somebody else keeps. `None` for null.
pub(super) fn copied(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, NUL-terminated, and alive during this call, as glib promises for its strings.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copy a string that was given to us, and free it. `None` for null.
pub(super) fn owned(text: *mut c_char) -> Option<String> {
    let copy = copied(text)?;
    // SAFETY: allocated by glib, ours, and not used after this.
    unsafe { glib_sys::g_free(text.cast()) };
    Some(copy)
}

/// A GVariant that we own.
#[derive(Debug)]
pub(super) struct Variant(NonNull<glib_sys::GVariant>);

impl Variant {
    /// Take over a full reference. `None` for null.
    pub(super) fn take(pointer: *mut glib_sys::GVariant) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    /// The serialized bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let size = self.size();
        if size == 0 {
            return Vec::new();
        }
        // SAFETY: the data is `size` bytes long and lives as long as the variant; it is copied at once.
        unsafe {
            let data = glib_sys::g_variant_get_data(self.as_ptr());
            std::slice::from_raw_parts(data.cast::<u8>(), size).to_vec()
        }
    }

    fn size(&self) -> usize {
        // SAFETY: a live variant.
        unsafe { glib_sys::g_variant_get_size(self.as_ptr()) }
    }

    pub(super) fn as_ptr(&self) -> *mut glib_sys::GVariant {
        self.0.as_ptr()
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        // SAFETY: we own one reference, and give it back once.
        unsafe { glib_sys::g_variant_unref(self.0.as_ptr()) };
    }
}

/// A GFile for a path.
pub(super) fn file(path: &std::path::Path) -> Result<Object<gio_sys::GFile>> {
    use std::os::unix::ffi::OsStrExt;
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: a NUL-terminated path that lives during the call; the result is a new object of ours.
    let pointer = unsafe { gio_sys::g_file_new_for_path(path.as_ptr()) };
    Object::take(pointer).context("creating a GFile")
}
