// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a boot that is in the initramfs: it runs `slipstream boot` in the bootimage's deployment, watches the clock,
//! and treats a failure as the request says.
//!
//! Whatever happens to `slipstream boot`, a status file is left and the boot continues, unless the request says otherwise.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow};
use contract::handoff::{Ending, Facts, Leftover, LeftoverKind, Outcome, Status, Until};
use contract::once;
use contract::place::{Place, boot_link, how_mounted, read_request, why_no_reboot};
use contract::report::{Record, is_shown, send_event, set_service_status, summary};
use contract::request::ignition::Ignition;
use contract::request::{OnFailure, Request, Settings, When, is_first_boot};
use contract::tries::{self, MAX_TRIES, TRIES_FILE};

use crate::enter::{Ended, run_in_bootimage};

/// A live system has no disk that a deployment could be on (CoreOS's live generator makes this file).
const LIVE: &str = "/run/ostree-live";
/// In the run directory: stop in the emergency shell (`slipstream-emergency.service` looks for it).
const EMERGENCY: &str = "emergency";
/// In the run directory: reboot (`slipstream-reboot.service` looks for it). It holds what to say about it.
const REBOOT: &str = "reboot";
/// Exit code of `boot` when it has failed, reported it, and left the bootimage as it was.
const FAILED: i32 = 1;
/// Why a request has failed whose importer cannot be stopped.
const STILL_RUNNING: &str =
    "the deadline is over, and the importer cannot be killed: it is blocked on a disk that does not respond";

/// Runs in the initramfs. A failure to boot the node image is reported and is not an error here: a unit that fails would be
/// started again by the next target that wants it.
pub fn launch(options: &Place) -> Result<()> {
    if Path::new(LIVE).exists() {
        log::info!("live system: nothing to do");
        return Ok(());
    }
    let record = Record::new(&options.run_dir);
    if record.exists() {
        // The unit was started again, in an emergency shell perhaps.
        log::info!("slipstream has run on this boot, and {} has its account: nothing to do", record.path().display());
        return Ok(());
    }
    match attempt(options) {
        Ok(Ran::Nothing) => {}
        Ok(Ran::NoRequest) => forget_tries(options),
        Ok(Ran::Request(request, disk)) => {
            match disk {
                Disk::Responds => forget_tries(options),
                Disk::Hangs => keep_tries(options),
            }
            end_once(options, &request, disk);
        }
        Err(failure) => {
            create_run_dir(options)?;
            return failure.treat(options);
        }
    }
    Ok(())
}

/// What a boot without a failure was.
enum Ran {
    /// One on which no request counts: nothing is looked at, and nothing written.
    Nothing,
    /// One without a request.
    NoRequest,
    /// One with a request, which has come to its end.
    Request(Box<Request>, Disk),
}

/// Whether the disk responds. One that hangs is not touched again: that would stop the boot, which may not need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Responds,
    Hangs,
}

/// A request that has failed.
struct Failure {
    settings: Settings,
    /// Missing if it cannot be understood.
    request: Option<Request>,
    /// Missing if the importer has reported it.
    error: Option<Error>,
    /// Why a reboot would not come back here.
    no_reboot: Option<String>,
    disk: Disk,
}

fn attempt(options: &Place) -> Result<Ran, Box<Failure>> {
    let fail = |settings, request, error| {
        let failure = Failure { settings, request, error, no_reboot: None, disk: Disk::Responds };
        Err(Box::new(failure))
    };
    let (settings, ignition) = match read_request(options) {
        Ok(read) => read,
        Err(error) => {
            let settings = without_ignition(options);
            if !settings.counts() && !is_first_boot_of(options) {
                log::info!("this is not a first boot: nothing to do");
                return Ok(Ran::Nothing);
            }
            return fail(settings, None, Some(error));
        }
    };
    let request = match settings.request(&ignition) {
        Ok(Some(request)) => request,
        Ok(None) => {
            log::info!("{}: nothing to do", settings.why_no_request());
            return Ok(if settings.counts() { Ran::NoRequest } else { Ran::Nothing });
        }
        Err(error) => return fail(settings, None, Some(error)),
    };
    match begin_once(options, &request) {
        Ok(true) => {}
        Ok(false) => {
            log::info!("{}: nothing to do", once::HAD_ITS_BOOT);
            return Ok(Ran::Nothing);
        }
        Err(error) => {
            // Without a record it would begin on every boot.
            log::warn!("nothing is done: {error:#}");
            return Ok(Ran::Nothing);
        }
    }
    let result = create_run_dir(options).and_then(|()| how_mounted(options)).and_then(|this_boot| {
        // Before anything of the deployment is run: a root that has to be verified is not yet.
        this_boot.ensure_unverified()?;
        run_in_bootimage(options, Instant::now() + request.deadline)
    });
    let record = Record::new(&options.run_dir);
    let (error, disk) = match result {
        Ok(Ended::Exited(status)) if status.success() => return Ok(Ran::Request(Box::new(request), Disk::Responds)),
        // The importer has failed, and said why.
        Ok(Ended::Exited(status)) if status.code() == Some(FAILED) && record.exists() => (None, Disk::Responds),
        Ok(Ended::Exited(status)) => (Some(anyhow!("the importer ended with {status}")), Disk::Responds),
        Ok(Ended::Killed) => (Some(anyhow!("the deadline is over")), Disk::Responds),
        Ok(Ended::StillRunning) => (Some(anyhow!(STILL_RUNNING)), Disk::Hangs),
        Err(error) => (Some(error), Disk::Responds),
    };
    // A disk that hangs is not asked: then settling finds out.
    let is_swapped = |status: &Status| disk == Disk::Hangs || leads_to_node_image(options, status);
    let error = match error.map(|error| verdict_on_record(&record, is_swapped, error)) {
        Some(None) => return Ok(Ran::Request(Box::new(request), disk)),
        error => error.flatten(),
    };
    let no_reboot = why_no_reboot(options, &ignition);
    Err(Box::new(Failure { settings, request: Some(request), error, no_reboot, disk }))
}

/// Not made on a boot on which nothing is done.
fn create_run_dir(options: &Place) -> Result<()> {
    fs::create_dir_all(&options.run_dir).with_context(|| format!("creating {}", options.run_dir.display()))
}

/// Whether the command line is that of a first boot. One that cannot be read is none.
fn is_first_boot_of(options: &Place) -> bool {
    fs::read_to_string(&options.cmdline).is_ok_and(|cmdline| is_first_boot(&cmdline))
}

/// Writes down that a request begins which counts once; false if it has had its boot.
fn begin_once(options: &Place, request: &Request) -> Result<bool> {
    match request.when {
        When::FirstBoot => Ok(true),
        When::Once => once::begin(&options.sysroot, request.digest()),
    }
}

/// Writes down that it has come to its end.
fn end_once(options: &Place, request: &Request, disk: Disk) {
    if request.when != When::Once || disk == Disk::Hangs {
        return;
    }
    if let Err(error) = once::end(&options.sysroot, request.digest()) {
        log::warn!("writing down that the request has had its boot: {error:#}");
    }
}

/// Returns the error of an importer that was stopped, by `error`. If it had written its status before, it was cleaning up, and
/// that status counts: the error is the one in there, or there is none. A swap is written before it is made, and counts if it
/// was.
fn verdict_on_record(record: &Record, is_swapped: impl Fn(&Status) -> bool, error: Error) -> Option<Error> {
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
    log::warn!("the importer was interrupted: {error:#}");
    match status.outcome() {
        Outcome::Failed => return Some(status.reason().map_or(error, |reason| anyhow!("{reason}"))),
        // It is reported when it is settled.
        Outcome::Swapped => {}
        Outcome::AlreadyBooted | Outcome::Skipped => send_event(&status),
    }
    None
}

/// Returns whether the boot link leads to the deployment that a status names.
fn leads_to_node_image(options: &Place, status: &Status) -> bool {
    let linked = boot_link(options).and_then(|link| link.resolve(&options.sysroot));
    let deployment = status.node_image().and_then(|node| node.deployment.as_deref());
    linked.is_ok_and(|path| deployment == Some(path.to_string().as_str()))
}

/// Returns what is asked for elsewhere when the Ignition config cannot be used: it may say what to do about a failure.
fn without_ignition(options: &Place) -> Settings {
    Settings::load(&options.cmdline, &options.root, &Ignition::default()).unwrap_or_else(|error| {
        log::debug!("{error:#}");
        Settings::default()
    })
}

impl Failure {
    fn treat(&self, options: &Place) -> Result<()> {
        if let Some(error) = &self.error {
            // Said first: that the status cannot be written must not hide it.
            let status = self.status(options, error);
            send_event(&status);
            if !is_shown() {
                log::error!("error: {error:#}");
            }
            self.report(options, &status);
        }
        // A request that cannot be read cannot say what to do about it.
        let policy = self.settings.on_failure().unwrap_or_default();
        match (policy, &self.request) {
            (OnFailure::Reboot, Some(request)) => match self.next_try(options, request) {
                Some(words) => mark(options, REBOOT, &words),
                None => {
                    end_once(options, request, self.disk);
                    Ok(())
                }
            },
            // What cannot be understood now cannot be understood after a reboot.
            (OnFailure::Continue | OnFailure::Reboot, _) => {
                self.forget_tries(options);
                self.end_once(options);
                Ok(())
            }
            (OnFailure::Emergency, _) => {
                self.forget_tries(options);
                self.end_once(options);
                mark(options, EMERGENCY, "")
            }
        }
    }

    fn end_once(&self, options: &Place) {
        if let Some(request) = &self.request {
            end_once(options, request, self.disk);
        }
    }

    fn forget_tries(&self, options: &Place) {
        match self.disk {
            Disk::Responds => forget_tries(options),
            Disk::Hangs => keep_tries(options),
        }
    }

    /// Returns the account of a failure that the importer could not report, or the one that it has written.
    fn status(&self, options: &Place, error: &Error) -> Status {
        if let Ok(Some(written)) = Record::new(&options.run_dir).read() {
            return written;
        }
        let tries = match self.disk {
            Disk::Responds => tries::reported(&options.sysroot),
            Disk::Hangs => Vec::new(),
        };
        let facts = Facts { request: self.settings.requested(), tries, ..Facts::default() };
        Status::new(facts, Ending::Failed(format!("{error:#}")))
    }

    fn report(&self, options: &Place, status: &Status) {
        let record = Record::new(&options.run_dir);
        if !record.exists() {
            set_service_status(&summary(status));
            record.write_or_warn(status);
        }
    }

    /// Returns what to log about the reboot, if there is to be one. It must never cause a reboot loop: what cannot be written
    /// down is not tried again.
    fn next_try(&self, options: &Place, request: &Request) -> Option<String> {
        if let Some(why) = &self.no_reboot {
            log::warn!("not trying again: {why}");
            self.forget_tries(options);
            return None;
        }
        if self.disk == Disk::Hangs {
            log::warn!("not trying again: a disk does not respond, and the try may have to be written to it");
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

    fn reason(&self, options: &Place) -> String {
        if let Some(error) = &self.error {
            return format!("{error:#}");
        }
        match Record::new(&options.run_dir).read() {
            Ok(status) => status.as_ref().and_then(Status::reason).unwrap_or("the reason is not known").to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }
}

/// Has one of the later units act.
fn mark(options: &Place, name: &str, text: &str) -> Result<()> {
    let path = options.run_dir.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// Forgets earlier tries: the boot continues.
fn forget_tries(options: &Place) {
    let Err(error) = tries::forget(&options.sysroot) else { return };
    log::warn!("removing the account of earlier tries: {error:#}");
    keep_tries(options);
}

/// Names in the status what earlier tries have written, since it may still be there.
fn keep_tries(options: &Place) {
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

/// Logs the reason for the reboot, before `slipstream-reboot.service` does it.
pub fn announce_reboot(options: &Place) -> Result<()> {
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
    use contract::handoff::Way;
    use contract::report::STATUS_FILE;

    use super::*;

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
            let error = verdict_on_record(&record, |_| is_swapped, anyhow!("the deadline is over"));
            assert_eq!(record.exists(), there, "{label}");
            assert_eq!(error.map(|error| error.to_string()).as_deref(), expected, "{label}");
        }
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(STATUS_FILE), "{").unwrap();
        let error = verdict_on_record(&Record::new(run.path()), |_| true, anyhow!("the deadline is over"));
        let error = error.unwrap();
        assert!(format!("{error:#}").ends_with("the deadline is over"), "{error:#}");
    }
}
