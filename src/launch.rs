// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a boot that is in the initramfs: run [`boot`](crate::boot) in the bootimage's deployment, watch the clock,
//! and treat a failure as the request says.
//!
//! Whatever happens to `boot`, a status file is left and the boot goes on, unless the request says otherwise.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow};

use crate::boot::{BootOptions, how_mounted, read_request};
use crate::report::{Ending, Facts, Leftover, LeftoverKind, Outcome, Record, Status, Until, send_event};
use crate::request::ignition::Ignition;
use crate::request::{OnFailure, Request, Settings};
use crate::root::enter::{StillRunning, boot_link, run_in_bootimage};
use crate::root::tries::{self, MAX_TRIES, TRIES_FILE};

/// A live system has no disk that a deployment could be on (CoreOS's live generator makes this file).
const LIVE: &str = "/run/ostree-live";
/// In the run directory: stop in the emergency shell (`slipstream-emergency.service` looks for it).
const EMERGENCY: &str = "emergency";
/// In the run directory: reboot (`slipstream-reboot.service` looks for it). It holds what to say about it.
const REBOOT: &str = "reboot";
/// Exit code of `boot` when it has failed, reported it, and left the bootimage as it was.
const FAILED: i32 = 1;

/// Run in the initramfs. A failure to boot the node image is reported and is no error here: a unit that fails would be
/// started again by the next target that wants it.
pub fn launch(options: &BootOptions) -> Result<()> {
    if Path::new(LIVE).exists() {
        log::info!("live system: nothing to do");
        return Ok(());
    }
    fs::create_dir_all(&options.run_dir).with_context(|| format!("creating {}", options.run_dir.display()))?;
    // A status that is there was written by this run: the unit may have been started before, in an emergency shell.
    Record::new(&options.run_dir).forget()?;
    match attempt(options) {
        Ok(Disk::Answers) => forget_tries(options),
        Ok(Disk::Hangs) => keep_tries(options),
        Err(failure) => return failure.treat(options),
    }
    Ok(())
}

/// One that hangs is not touched again: that would stop the boot, which may not need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Answers,
    Hangs,
}

/// A request that came to nothing.
struct Failure {
    settings: Settings,
    /// Missing if it cannot be understood.
    request: Option<Request>,
    /// Missing if the importer has said it.
    error: Option<Error>,
    disk: Disk,
}

fn attempt(options: &BootOptions) -> Result<Disk, Box<Failure>> {
    let fail = |settings, request, error| Err(Box::new(Failure { settings, request, error, disk: Disk::Answers }));
    let (settings, ignition) = match read_request(options) {
        Ok(read) => read,
        Err(error) => return fail(without_ignition(options), None, Some(error)),
    };
    let request = match settings.request(&ignition) {
        Ok(Some(request)) => request,
        Ok(None) => {
            log::info!("{}: nothing to do", settings.why_no_request());
            return Ok(Disk::Answers);
        }
        Err(error) => return fail(settings, None, Some(error)),
    };
    let result = how_mounted(options).and_then(|this_boot| {
        // Before anything of the deployment is run: a root that has to be verified is not yet.
        this_boot.ensure_unverified()?;
        run_in_bootimage(options, Instant::now() + request.deadline)
    });
    let record = Record::new(&options.run_dir);
    let error = match result {
        Ok(status) if status.success() => return Ok(Disk::Answers),
        Ok(status) if status.code() == Some(FAILED) && record.exists() => None,
        Ok(status) => Some(anyhow!("the importer ended with {status}")),
        Err(error) => Some(error),
    };
    let hangs = error.as_ref().is_some_and(|error| error.is::<StillRunning>());
    let disk = if hangs { Disk::Hangs } else { Disk::Answers };
    // A disk that hangs is not asked: then settling finds out.
    let is_swapped = |status: &Status| hangs || leads_to_node_image(options, status);
    let error = match error.map(|error| what_it_has_written(&record, is_swapped, error)) {
        Some(None) => return Ok(disk),
        error => error.flatten(),
    };
    Err(Box::new(Failure { settings, request: Some(request), error, disk }))
}

/// Returns the error of an importer that was stopped, by `error`. If it had written its status before, it was cleaning up, and
/// that status counts: the error is the one in there, or there is none. A swap is written before it is made, and counts if it
/// was.
fn what_it_has_written(record: &Record, is_swapped: impl Fn(&Status) -> bool, error: Error) -> Option<Error> {
    let status = match record.read() {
        Ok(Some(status)) => status,
        Ok(None) => return Some(error),
        Err(unreadable) => return Some(error.context(format!("{unreadable:#}"))),
    };
    if status.outcome() == Outcome::Swapped && !is_swapped(&status) {
        if let Err(error) = record.forget() {
            log::warn!("taking the status back: {error:#}");
        }
        return Some(error);
    }
    log::warn!("the importer did not come to its end: {error:#}");
    match status.outcome() {
        Outcome::Failed => return Some(status.reason().map_or(error, |reason| anyhow!("{reason}"))),
        // It is reported when it is settled.
        Outcome::Swapped => {}
        Outcome::AlreadyBooted | Outcome::Skipped => send_event(&status),
    }
    None
}

/// Returns whether the boot link leads to the deployment that a status names.
fn leads_to_node_image(options: &BootOptions, status: &Status) -> bool {
    let linked = boot_link(options).and_then(|link| link.resolve(&options.sysroot));
    let deployment = status.node_image().and_then(|node| node.deployment.as_deref());
    linked.is_ok_and(|path| deployment.is_some_and(|deployment| path == Path::new(deployment)))
}

/// Returns what is asked for elsewhere when the Ignition config cannot be used: it may say what to do about a failure.
fn without_ignition(options: &BootOptions) -> Settings {
    Settings::load(&options.cmdline, &options.root, &Ignition::default()).unwrap_or_else(|error| {
        log::debug!("{error:#}");
        Settings::default()
    })
}

impl Failure {
    fn treat(&self, options: &BootOptions) -> Result<()> {
        if let Some(error) = &self.error {
            // Said first: that the status cannot be written must not hide it.
            log::error!("error: {error:#}");
            self.report(options, error);
        }
        // A request that cannot be read cannot say what to do about it.
        let policy = self.settings.on_failure().unwrap_or_default();
        match (policy, &self.request) {
            (OnFailure::Reboot, Some(request)) => match self.next_try(options, request) {
                Some(words) => mark(options, REBOOT, &words),
                None => Ok(()),
            },
            // What cannot be understood now cannot be understood after a reboot.
            (OnFailure::Continue | OnFailure::Reboot, _) => {
                self.forget_tries(options);
                Ok(())
            }
            (OnFailure::Emergency, _) => {
                self.forget_tries(options);
                mark(options, EMERGENCY, "")
            }
        }
    }

    fn forget_tries(&self, options: &BootOptions) {
        match self.disk {
            Disk::Answers => forget_tries(options),
            Disk::Hangs => keep_tries(options),
        }
    }

    /// Reports a failure that the importer could not report.
    fn report(&self, options: &BootOptions, error: &Error) {
        let record = Record::new(&options.run_dir);
        if let Ok(Some(written)) = record.read() {
            send_event(&written);
            return;
        }
        let tries = match self.disk {
            Disk::Answers => tries::reported(&options.sysroot),
            Disk::Hangs => Vec::new(),
        };
        let facts = Facts { request: self.settings.requested(), tries, ..Facts::default() };
        let status = Status::new(facts, Ending::Failed(format!("{error:#}")));
        send_event(&status);
        record.write_or_warn(&status);
    }

    /// What to say about the reboot, if there is to be one. It must never come to a loop: what cannot be written down is
    /// not tried again.
    fn next_try(&self, options: &BootOptions, request: &Request) -> Option<String> {
        if self.disk == Disk::Hangs {
            log::warn!("not trying again: a disk does not answer, and it may be the one to write this down on");
            keep_tries(options);
            return None;
        }
        let reason = self.reason(options);
        match tries::record(&options.sysroot, request.digest(), &reason) {
            Ok(Some(this)) => return Some(format!("try {this} of {MAX_TRIES} has failed: {reason}")),
            Ok(None) => log::warn!("not trying again: this was the last of {MAX_TRIES} tries"),
            Err(error) => log::warn!("not trying again: {error:#}"),
        }
        forget_tries(options);
        None
    }

    fn reason(&self, options: &BootOptions) -> String {
        if let Some(error) = &self.error {
            return format!("{error:#}");
        }
        match Record::new(&options.run_dir).read() {
            Ok(status) => status.as_ref().and_then(Status::reason).unwrap_or("the reason is not known").to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }
}

/// Have one of the units behind us act.
fn mark(options: &BootOptions, name: &str, text: &str) -> Result<()> {
    let path = options.run_dir.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// The boot goes on: earlier tries are history.
fn forget_tries(options: &BootOptions) {
    let Err(error) = tries::forget(&options.sysroot) else { return };
    log::warn!("removing the account of earlier tries: {error:#}");
    keep_tries(options);
}

/// What earlier tries have written may still be there.
fn keep_tries(options: &BootOptions) {
    let path = format!("/sysroot/{TRIES_FILE}");
    let leftover = Leftover { kind: LeftoverKind::File, path, until: Until::NextRequest };
    let record = Record::new(&options.run_dir);
    let named = record.read().and_then(|status| match status {
        Some(status) => record.write(&status.with_leftover(leftover)),
        None => Ok(()),
    });
    if let Err(error) = named {
        log::warn!("naming it in the status: {error:#}");
    }
}

/// Say what the reboot is for, before `slipstream-reboot.service` does it.
pub fn announce_reboot(options: &BootOptions) -> Result<()> {
    let path = options.run_dir.join(REBOOT);
    let words = match fs::read_to_string(&path) {
        Ok(words) => words,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(anyhow!("there is nothing to reboot for")),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    log::warn!("on-failure=reboot: rebooting, {words}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{STATUS_FILE, Way};

    #[test]
    fn a_status_that_was_written_counts() {
        for (label, written, is_swapped, expected) in [
            ("none", None, false, Some("the deadline is over")),
            ("swapped", Some(Ending::Swapped(Way::BootLink)), true, None),
            ("not yet swapped", Some(Ending::Swapped(Way::BootLink)), false, Some("the deadline is over")),
            ("skipped", Some(Ending::Skipped("a policy".to_owned())), false, None),
            ("failed", Some(Ending::Failed("no such host".to_owned())), false, Some("no such host")),
        ] {
            let run = tempfile::tempdir().unwrap();
            let record = Record::new(run.path());
            if let Some(ending) = &written {
                record.write(&Status::new(Facts::default(), ending.clone())).unwrap();
            }
            let there = written.is_some() && label != "not yet swapped";
            let error = what_it_has_written(&record, |_| is_swapped, anyhow!("the deadline is over"));
            assert_eq!(record.exists(), there, "{label}");
            assert_eq!(error.map(|error| error.to_string()).as_deref(), expected, "{label}");
        }
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(STATUS_FILE), "{").unwrap();
        let error = what_it_has_written(&Record::new(run.path()), |_| true, anyhow!("the deadline is over"));
        let error = error.unwrap();
        assert!(format!("{error:#}").ends_with("the deadline is over"), "{error:#}");
    }
}
