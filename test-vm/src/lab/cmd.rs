// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running other programs: their output is kept back and shown only when they fail.

use std::ffi::OsStr;
use std::fmt::Write;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// How much of a failed program's output is worth reading.
const TAIL_LINES: usize = 40;

/// Returns a command from its words.
pub fn words<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs to success, or fails with the end of what it said.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// Runs to success and returns what it wrote on stdout.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of {}", name(command)))
}

/// Runs to success and returns what it wrote.
pub fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("starting {}", name(command)))?;
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("{} {}: {}\n{}", name(command), arguments.join(" "), output.status, tail(&said));
    }
    Ok(output)
}

/// Returns the last lines of a text, indented.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        writeln!(out, "    {}", line.trim_end()).expect("writing to a string cannot fail");
    }
    out
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
