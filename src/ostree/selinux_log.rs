// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages of libselinux, which it writes to standard error by itself.
//!
//! On a boot with skew they would be on the console, above the progress: an image's compiled file of labels is of another
//! version of libpcre2, and libselinux says so before it reads the text instead.
//!
//! Tested by `src/ostree/tests/selinux_messages.rs`.

use std::ffi::{CStr, c_char, c_int};

use nix::libc::{RTLD_DEFAULT, dlsym};

/// The function that sets a callback, and the number of the one for messages (libselinux, `selinux/selinux.h`).
const SET_CALLBACK: &CStr = c"selinux_set_callback";
const SELINUX_CB_LOG: c_int = 0;

/// What libselinux calls with a message: a format and its arguments, as `printf`.
type Log = unsafe extern "C" fn(c_int, *const c_char, ...) -> c_int;
/// `union selinux_callback` holds nothing but pointers to functions: it is passed as one.
type SetCallback = unsafe extern "C" fn(c_int, Log);

unsafe extern "C" {
    /// In `selinux_log.c`.
    fn slipstream_selinux_log(kind: c_int, format: *const c_char, ...) -> c_int;
}

/// Takes a message from `selinux_log.c`.
#[unsafe(no_mangle)]
extern "C" fn slipstream_selinux_message(text: *const c_char) {
    // SAFETY: a string on the caller's stack, which ends with a NUL.
    let text = unsafe { CStr::from_ptr(text) };
    log::debug!("libselinux: {}", text.to_string_lossy().trim_end());
}

/// Sends the messages of libselinux to the debug log. Nothing happens where libostree is built without it.
pub fn log_selinux_messages() {
    // SAFETY: a string; the handle means all libraries that were loaded with the program.
    let found = unsafe { dlsym(RTLD_DEFAULT, SET_CALLBACK.as_ptr()) };
    if found.is_null() {
        log::debug!("there is no libselinux");
        return;
    }
    // SAFETY: the function of this name has had this signature since libselinux has callbacks (2.0).
    let set_callback = unsafe { std::mem::transmute::<*mut std::ffi::c_void, SetCallback>(found) };
    // SAFETY: the callback lives as long as the program, and may be called from any thread.
    unsafe { set_callback(SELINUX_CB_LOG, slipstream_selinux_log) };
}
