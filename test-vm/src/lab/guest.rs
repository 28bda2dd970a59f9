// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk with the guest's part of a test, what the guest answers, and what slipstream says on its console.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cmd;
use super::places::Lab;

/// What the guest runs at one boot.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Scripts, by path on the disk: `checks/…` of test-vm/guest, `kola/…` of kola-tests.
    pub scripts: Vec<String>,
    /// Where in a test that reboots we are, as autopkgtest has it.
    pub mark: String,
    /// Environment of the scripts.
    pub environment: Vec<(String, String)>,
    /// Programs to put on the disk, in `bin/`.
    pub programs: Vec<PathBuf>,
}

impl Job {
    /// Makes the disk.
    pub fn write_disk(&self, lab: &Lab, image: &Path) -> Result<()> {
        let dir = tempfile::tempdir_in(lab.cache.dir()).context("creating a staging directory")?;
        let root = dir.path();
        cmd::run(cmd::words("cp", ["-RL"]).args([lab.own("guest/."), root.to_path_buf()]))?;
        cmd::run(cmd::words("cp", ["-RL"]).args([lab.source.join("kola-tests"), root.join("kola")]))?;
        fs::create_dir(root.join("bin")).context("creating bin")?;
        for program in &self.programs {
            cmd::run(cmd::words("cp", ["-L"]).args([program, &root.join("bin")]))?;
        }
        fs::write(root.join("env"), self.env_file()).context("writing env")?;
        cmd::run(&mut lab.script("filesystem.sh", [root.as_os_str(), image.as_os_str(), "testdata".as_ref()]))
    }

    fn env_file(&self) -> String {
        let mut text = String::new();
        let own = [
            ("AUTOPKGTEST_REBOOT_MARK".to_owned(), self.mark.clone()),
            ("VM_TEST_SCRIPTS".to_owned(), self.scripts.join(" ")),
        ];
        for (key, value) in own.iter().chain(&self.environment) {
            text.push_str(&format!("export {key}='{}'\n", value.replace('\'', r"'\''")));
        }
        text
    }
}

/// What a guest wrote on the results channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since the kernel started when the default target was reached.
    pub up: Option<String>,
    /// `running`, or what systemd thinks is wrong.
    pub state: Option<String>,
    /// Named things that a script reported.
    pub facts: Vec<(String, String)>,
    /// Every script came to its end.
    pub passed: bool,
    /// The guest reboots on purpose; the test goes on with this mark.
    pub reboot: Option<String>,
}

impl Answer {
    /// Parses the lines on the channel; unknown ones are noise.
    pub fn parse(text: &str) -> Self {
        let mut answer = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim().to_owned();
            match word {
                "up" => answer.up = Some(rest),
                "state" => answer.state = Some(rest),
                "fact" => {
                    let (key, value) = rest.split_once(' ').unwrap_or((&rest, ""));
                    answer.facts.push((key.to_owned(), value.to_owned()));
                }
                "pass" => answer.passed = true,
                "reboot" => answer.reboot = Some(rest),
                _ => {}
            }
        }
        answer
    }

    /// Returns a fact's value.
    pub fn fact(&self, name: &str) -> Result<&str> {
        let found = self.facts.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("reading {name} from the guest's answer"))
    }
}

/// Returns what slipstream says on the console, its progress apart.
pub fn our_lines(console: &str) -> Vec<String> {
    let lines = console.lines().map(|line| plain(line.trim()));
    let ours = lines.filter(|line| line.contains("slipstream[") || line.contains("slipstream: "));
    ours.filter(|line| !line.contains("MiB/s, about")).collect()
}

/// Returns what slipstream complains about on the console; systemd's colours and the kernel's time stamps may surround
/// it.
pub fn error_lines(console: &str) -> Vec<String> {
    let ours = |line: &String| line.find("slipstream").is_some_and(|at| line[at..].contains(": error: "));
    console.lines().map(|line| plain(line.trim())).filter(ours).collect()
}

/// Returns a line without terminal control sequences.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut text = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        // ECMA-48: parameters, then one final byte that is a letter in all that systemd uses.
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).map_or(piece.len(), |at| at + 1);
        text.push_str(&piece[end..]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Answer, Job, error_lines, our_lines};

    #[test]
    fn answers() {
        let answer = Answer::parse("up 27.5\nstate running\nfact kernel 6.12 x\nreboot rebooted\n");
        assert_eq!(answer.up.as_deref(), Some("27.5"));
        assert_eq!(answer.reboot.as_deref(), Some("rebooted"));
        assert_eq!(answer.fact("kernel").expect("a fact"), "6.12 x");
        assert!(!answer.passed);
        assert!(Answer::parse("pass\n").passed);
        assert!(answer.fact("absent").is_err());
    }

    #[test]
    fn quoting() {
        let job = Job { environment: vec![("A".to_owned(), "it's".to_owned())], ..Job::default() };
        assert!(job.env_file().contains("export A='it'\\''s'\n"), "{}", job.env_file());
    }

    #[test]
    fn lines_of_ours() {
        let console = "[ 3.1] slipstream[243]: \u{1b}[0;1;31merror: a: b\u{1b}[0m\r\n[ 3.2] systemd[1]: error: c\nslipstream[2]: request: x\n";
        assert_eq!(our_lines(console).len(), 2);
        let progress = "slipstream[2]: imported 4 of 9 MiB, 2 MiB/s, about 3 s left\n";
        assert_eq!(our_lines(&format!("{console}{progress}")).len(), 2);
        assert_eq!(error_lines(console), ["[ 3.1] slipstream[243]: error: a: b"]);
    }
}
