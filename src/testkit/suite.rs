// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cases as named tests: each can be listed, chosen, and fails alone; one that cannot run here is ignored, and says why.
//!
//! A program of cases has `harness = false` in Cargo.toml, and ends with [`Suite::run`]. Its arguments are those of
//! every Rust test: `--list`, a part of a name, `--exact`, `--skip`, `--test-threads`. With `--nocapture` a case may
//! [`say`] what it has seen.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Error, Result, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Returns why a test cannot run here, if it cannot.
pub type Ready = fn() -> Result<(), String>;

/// One case.
pub struct Case {
    name: String,
    kind: String,
    ready: Option<Ready>,
    run: Box<dyn FnOnce() -> Result<()> + Send>,
}

impl Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Case {
    /// Makes a case of what is to be run. The name is lower case with underscores and says the behaviour.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self { name: name.into(), kind: String::new(), ready: None, run: Box::new(run) }
    }

    /// Makes a case of its own be ignored where it is not ready.
    pub fn needs(self, ready: Ready) -> Self {
        Self { ready: Some(ready), ..self }
    }

    /// Marks a case: the word stands before its name, and can be chosen by.
    pub fn kind(self, kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..self }
    }

    fn trial(self, program: &str, ready: Result<(), String>) -> Trial {
        let (own, run) = (self.ready, self.run);
        let run = move || match ready.and_then(|()| own.map_or(Ok(()), |own| own())) {
            // Not as it is: the chain of contexts is one line.
            Ok(()) => run().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}"))),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        };
        Trial::ignorable_test(format!("{program}::{}", self.name), run).with_kind(self.kind)
    }
}

/// Puts the name of their module before the names of cases.
pub fn module(name: &str, cases: impl IntoIterator<Item = Case>) -> Vec<Case> {
    let rename = |case: Case| Case { name: format!("{name}::{}", case.name), ..case };
    cases.into_iter().map(rename).collect()
}

/// A test program.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    program: &'static str,
    ready: Ready,
    threads: Option<usize>,
}

impl Suite {
    /// Makes a program whose cases run side by side. `ready` prepares the process while it has one thread, or returns
    /// why no case can run here.
    pub fn new(program: &'static str, ready: Ready) -> Self {
        Self { program, ready, threads: None }
    }

    /// Runs one case after another.
    pub fn one_at_a_time(self) -> Self {
        Self { threads: Some(1), ..self }
    }

    /// Runs the cases that the command line chooses, and says how they ended.
    pub fn run(self, cases: Vec<Case>) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(self.threads);
        LOUD.store(arguments.nocapture, Ordering::Relaxed);
        if let Err(error) = check_names(&cases) {
            eprintln!("{}: {error:#}", self.program);
            return ExitCode::FAILURE;
        }
        // A list is of the same names everywhere.
        let ready = if arguments.list { Ok(()) } else { (self.ready)() };
        let trials = cases.into_iter().map(|case| case.trial(self.program, ready.clone())).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

/// A name that two cases have would hide one of them.
fn check_names(cases: &[Case]) -> Result<()> {
    let mut names = BTreeSet::new();
    for case in cases {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
        if case.name.is_empty() || !case.name.chars().all(is_plain) {
            return Err(anyhow!("the name {:?} is not made of words and underscores", case.name));
        }
        if !names.insert(&case.name) {
            return Err(anyhow!("two cases are named {}", case.name));
        }
    }
    Ok(())
}

/// Whether cases may say what they have seen.
static LOUD: AtomicBool = AtomicBool::new(false);

/// Prints a line, if `--nocapture` asks for it.
pub fn say(line: impl Display) {
    if LOUD.load(Ordering::Relaxed) {
        println!("{line}");
    }
}

/// Something that cases have in common: the first that wants it makes it, and it goes with the last.
pub struct Shared<T> {
    make: fn() -> Result<T>,
    made: OnceLock<Result<T, String>>,
}

impl<T> Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("made", &self.made.get().is_some()).finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    /// Prepares for it; nothing is made yet.
    pub fn new(make: fn() -> Result<T>) -> Arc<Self> {
        Arc::new(Self { make, made: OnceLock::new() })
    }

    /// Returns it. If it could not be made, all cases fail that want it.
    pub fn get(&self) -> Result<&T> {
        let made = self.made.get_or_init(|| (self.make)().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|error| Error::msg(error.clone()).context("preparing"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Shared, check_names, module};

    #[test]
    fn takes_plain_names_that_differ() {
        let case = |name: &str| Case::new(name, || Ok(()));
        for (names, expected) in [
            (vec!["one", "two"], None),
            (vec!["one", "one"], Some("two cases are named m::one")),
            (vec!["One"], Some("the name \"m::One\" is not made of words and underscores")),
        ] {
            let cases = module("m", names.into_iter().map(case));
            assert_eq!(check_names(&cases).err().map(|error| error.to_string()).as_deref(), expected);
        }
    }

    #[test]
    fn a_shared_thing_that_fails_fails_for_all() {
        let shared = Shared::<()>::new(|| anyhow::bail!("no luck"));
        for _ in 0..2 {
            assert_eq!(format!("{:#}", shared.get().expect_err("it fails")), "preparing: no luck");
        }
    }
}
