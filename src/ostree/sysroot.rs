// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sysroot and its deployments.

use std::ffi::CString;
use std::path::Path;
use std::ptr::null_mut;
use std::time::Instant;

use anyhow::{Context, Result};
use contract::names::Digest;
use contract::places::DeploymentPath;
use ostree_sys as sys;
use repo::lock::{LOCK_TIME, wait_for_lock};

use crate::raw::{Object, c_string, checked, copied, file, owned};
use crate::repository::Repo;

/// Group and key of the origin that rpm-ostree, bootc and the MCO read.
const ORIGIN_GROUP: &std::ffi::CStr = c"origin";
const ORIGIN_KEY: &std::ffi::CStr = c"container-image-reference";

/// A locked, loaded sysroot. Dropping it unlocks it.
#[derive(Debug)]
pub struct Sysroot {
    sysroot: Object<sys::OstreeSysroot>,
}

/// A deployment, as a boot loader entry names it.
#[derive(Debug)]
pub struct Deployment {
    deployment: Object<sys::OstreeDeployment>,
    /// Its commit.
    pub commit: Digest,
    /// Where it is.
    pub path: DeploymentPath,
    /// `container-image-reference` of its origin.
    pub image: Option<String>,
    /// The options of its boot loader entry.
    pub options: String,
}

impl Sysroot {
    /// Lock the sysroot at `path`, waiting until `deadline` at most, and load it.
    pub fn open(path: &Path, deadline: Instant) -> Result<Self> {
        let at = file(path)?;
        // SAFETY: `at` lives during the call; the result is a new object of ours.
        let sysroot = Object::take(unsafe { sys::ostree_sysroot_new(at.as_ptr()) }).context("creating a sysroot")?;
        // ostree_sysroot_lock would wait for ever.
        let until = deadline.min(Instant::now() + LOCK_TIME);
        wait_for_lock("another process (ostree, rpm-ostree or bootc) has locked the sysroot", until, || {
            let mut acquired = 0;
            checked(|error| {
                // SAFETY: a live object, and a variable that lives during the call.
                unsafe { sys::ostree_sysroot_try_lock(sysroot.as_ptr(), &mut acquired, error) != 0 }
            })?;
            Ok(acquired != 0)
        })
        .with_context(|| format!("locking sysroot {}", path.display()))?;
        let opened = Self { sysroot };
        opened.load().with_context(|| format!("loading sysroot {}", path.display()))?;
        Ok(opened)
    }

    /// Read the boot loader entries, again if they have been read before.
    pub fn load(&self) -> Result<()> {
        checked(|error| {
            // SAFETY: a live object, no cancellable.
            unsafe { sys::ostree_sysroot_load(self.sysroot.as_ptr(), null_mut(), error) != 0 }
        })
    }

    /// Its repository.
    pub fn repo(&self) -> Result<Repo> {
        // SAFETY: a live, loaded sysroot keeps its repository; we take a reference of our own.
        let repo = Object::share(unsafe { sys::ostree_sysroot_repo(self.sysroot.as_ptr()) });
        Ok(Repo(repo.context("sysroot has no repository")?))
    }

    /// The deployments in the order of the boot loader entries, the default first.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        // SAFETY: a live, loaded sysroot; the array is ours, its elements are deployments that it keeps alive.
        let pointers: Vec<*mut sys::OstreeDeployment> = unsafe {
            let array = sys::ostree_sysroot_get_deployments(self.sysroot.as_ptr());
            let count = (*array).len as usize;
            let elements = (*array).pdata.cast::<*mut sys::OstreeDeployment>();
            let pointers = (0..count).map(|n| *elements.add(n)).collect();
            // The sysroot holds a reference on each as long as it is not loaded again, which nobody does meanwhile.
            glib_sys::g_ptr_array_unref(array);
            pointers
        };
        pointers
            .into_iter()
            .map(|pointer| self.describe(Object::share(pointer).context("sysroot lists no deployment")?))
            .collect()
    }

    fn describe(&self, deployment: Object<sys::OstreeDeployment>) -> Result<Deployment> {
        let pointer = deployment.as_ptr();
        // SAFETY: live objects; the getters return strings that the deployment keeps, copied here, or (the path) a
        // string that is ours.
        let (commit, path) = unsafe {
            (
                copied(sys::ostree_deployment_get_csum(pointer)),
                owned(sys::ostree_sysroot_get_deployment_dirpath(self.sysroot.as_ptr(), pointer)),
            )
        };
        // SAFETY: as above; a deployment that is not written yet has neither origin nor boot loader entry.
        let (image, options) = unsafe {
            let origin = sys::ostree_deployment_get_origin(pointer);
            let image = if origin.is_null() {
                None
            } else {
                let (group, key) = (ORIGIN_GROUP.as_ptr(), ORIGIN_KEY.as_ptr());
                owned(glib_sys::g_key_file_get_string(origin, group, key, null_mut()))
            };
            let entry = sys::ostree_deployment_get_bootconfig(pointer);
            let options = if entry.is_null() {
                None
            } else {
                copied(sys::ostree_bootconfig_parser_get(entry, c"options".as_ptr()))
            };
            (image, options)
        };
        Ok(Deployment {
            deployment,
            commit: Digest::from_hex(&commit.context("deployment has no commit")?)?,
            path: DeploymentPath::parse(Path::new(&path.context("deployment has no path")?))?,
            image,
            options: options.unwrap_or_default(),
        })
    }

    /// Check out `commit` as a new deployment with this origin and these kernel arguments. It is not in any boot
    /// loader entry yet. With `merge`, that deployment's changes in `/etc` are merged into the new one's.
    pub fn deploy(
        &self,
        stateroot: &str,
        commit: &Digest,
        image: &str,
        kargs: &[String],
        merge: Option<&Deployment>,
    ) -> Result<Deployment> {
        let (c_stateroot, c_commit, c_image) = (c_string(stateroot)?, c_string(commit.hex())?, c_string(image)?);
        let kargs = kargs.iter().map(c_string).collect::<Result<Vec<CString>>>()?;
        let mut argv: Vec<_> = kargs.iter().map(|karg| karg.as_ptr().cast_mut()).collect();
        argv.push(null_mut());
        let mut options = Box::new(sys::OstreeSysrootDeployTreeOpts {
            locked: 0,
            unused_bools: [0; 7],
            unused_ints: [0; 8],
            override_kernel_argv: argv.as_mut_ptr(),
            overlay_initrds: null_mut(),
            unused_ptrs: [null_mut(); 6],
        });
        let merge = merge.map_or(null_mut(), |merge| merge.deployment.as_ptr());
        let mut deployed = null_mut();
        // SAFETY: a new key file of ours; strings are copied into it.
        let origin = unsafe {
            let origin = glib_sys::g_key_file_new();
            glib_sys::g_key_file_set_string(origin, ORIGIN_GROUP.as_ptr(), ORIGIN_KEY.as_ptr(), c_image.as_ptr());
            origin
        };
        let result = checked(|error| {
            // SAFETY: everything lives during the call; argv is NULL-terminated; the deployment is ours on success.
            unsafe {
                sys::ostree_sysroot_deploy_tree_with_options(
                    self.sysroot.as_ptr(),
                    c_stateroot.as_ptr(),
                    c_commit.as_ptr(),
                    origin,
                    merge,
                    options.as_mut(),
                    &mut deployed,
                    null_mut(),
                    error,
                ) != 0
            }
        });
        // SAFETY: ours, and libostree took a reference of its own if it needs one.
        unsafe { glib_sys::g_key_file_unref(origin) };
        result.with_context(|| format!("checking out {}", commit.hex()))?;
        self.describe(Object::take(deployed).context("libostree returned no deployment")?)
    }

    /// Remove what no boot loader entry names: deployments, kernels, and the boot links of the other version.
    pub fn remove_unfinished(&self) -> Result<()> {
        checked(|error| {
            // SAFETY: a live, loaded object, no cancellable.
            unsafe { sys::ostree_sysroot_prepare_cleanup(self.sysroot.as_ptr(), null_mut(), error) != 0 }
        })
        .context("removing unfinished deployments")
    }

    /// Make `deployment` the default: kernel and initramfs to the boot partition, boot loader entries, boot links. All
    /// others stay as the next choices; `merge` is the one that its `/etc` may be from. Nothing is cleaned up, so that the
    /// boot link that runs stays.
    pub fn make_default(&self, deployment: &Deployment, merge: &Deployment) -> Result<()> {
        let stateroot = c_string(deployment.path.stateroot())?;
        let flags = sys::OSTREE_SYSROOT_SIMPLE_WRITE_DEPLOYMENT_FLAGS_NO_CLEAN
            | sys::OSTREE_SYSROOT_SIMPLE_WRITE_DEPLOYMENT_FLAGS_RETAIN;
        checked(|error| {
            // SAFETY: live objects and string, no cancellable.
            unsafe {
                sys::ostree_sysroot_simple_write_deployment(
                    self.sysroot.as_ptr(),
                    stateroot.as_ptr(),
                    deployment.deployment.as_ptr(),
                    merge.deployment.as_ptr(),
                    flags,
                    null_mut(),
                    error,
                ) != 0
            }
        })
        .context("writing boot loader entries")
    }
}

impl Drop for Sysroot {
    fn drop(&mut self) {
        // SAFETY: a live object; unlocking one that is not locked does nothing.
        unsafe { sys::ostree_sysroot_unlock(self.sysroot.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The options struct is filled by us and read by C: its size on 64 bit is in libostree's ABI.
    #[test]
    fn options_have_the_size_of_c() {
        assert_eq!(size_of::<sys::OstreeSysrootDeployTreeOpts>(), 4 * 8 + 4 * 8 + 8 * 8);
    }
}
