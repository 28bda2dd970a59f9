// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs of the system: whether they are there, and what they print.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Returns why a test cannot run here that needs root and these programs.
pub fn needs(programs: &[&str]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root: owners, device nodes and mounts".to_owned());
    }
    needs_programs(programs)
}

/// Returns why a test cannot run here that needs these programs.
pub fn needs_programs(programs: &[&str]) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<_> = programs.iter().copied().filter(|program| !is_there(program)).collect();
    match &missing[..] {
        [] => Ok(()),
        [one] => Err(format!("it needs the program {one}")),
        more => Err(format!("it needs the programs {}", more.join(", "))),
    }
}

/// Runs a program that has to succeed, and returns what it prints, without space around it.
pub fn run(words: &[&str]) -> Result<String> {
    let (program, arguments) = words.split_first().context("running nothing")?;
    let output = output(Command::new(program).args(arguments))?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Runs a command that has to succeed, and returns what it prints.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, text.trim());
    Ok(output.stdout)
}

/// Runs ostree on a repository, and returns what it prints, without space around it.
pub fn ostree(repo: &Path, words: &[&str]) -> Result<String> {
    let output = output(Command::new("ostree").args(words).arg(format!("--repo={}", repo.display())))?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{needs_programs, run};

    #[test]
    fn names_the_programs_that_are_missing() {
        assert_eq!(needs_programs(&["sh"]), Ok(()));
        assert_eq!(needs_programs(&["sh", "no-such"]), Err("it needs the program no-such".to_owned()));
        assert_eq!(needs_programs(&["no-such", "neither"]), Err("it needs the programs no-such, neither".to_owned()));
    }

    #[test]
    fn returns_output_and_reports_failure() {
        assert_eq!(run(&["echo", "a"]).expect("it runs"), "a");
        let error = run(&["sh", "-c", "echo no >&2; exit 3"]).expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3: no"), "{error}");
    }
}
