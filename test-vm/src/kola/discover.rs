// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which files of a directory are tests, and what they are called, as kola has it (`registerTestDir` in coreos-assembler's
//! `mantle/kola/harness.go`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::header::Header;

/// The folder, or the link to one, that goes to the machine with a test.
const DATA: &str = "data";
/// The test that has its folder's name, if it is the only one in it.
const DEFAULT_TEST: &str = "test.sh";
/// Others may execute it: then kola takes a file for a test.
const EXECUTABLE: u32 = 0o001;
/// They make another Ignition config for the machine; ours have none.
const CONFIGS: &[&str] = &["config.ign", "config.bu", "config.fcc", "kola.json"];

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// `ext.PROJECT.FOLDER…`.
    pub name: String,
    /// Below the directory that was searched.
    pub executable: PathBuf,
    /// The folder beside it, below the same directory.
    pub data: Option<PathBuf>,
    /// What it says about itself.
    pub header: Header,
}

/// All tests below a directory, by name.
pub fn tests(dir: &Path, project: &str) -> Result<Vec<Test>> {
    let mut found = Vec::new();
    visit(dir, Path::new(""), &format!("ext.{project}"), &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(!found.is_empty(), "looking for tests: {} has no executable file", dir.display());
    Ok(found)
}

/// Add the tests of the folder `root/below`.
fn visit(root: &Path, below: &Path, prefix: &str, found: &mut Vec<Test>) -> Result<()> {
    let (mut executables, mut data) = (Vec::new(), None);
    let dir = root.join(below);
    for entry in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry.with_context(|| format!("listing {}", dir.display()))?;
        let name =
            entry.file_name().into_string().ok().with_context(|| format!("listing {}: a name", dir.display()))?;
        let link = entry.file_type().with_context(|| format!("examining {name}"))?.is_symlink();
        let metadata = fs::metadata(entry.path()).with_context(|| format!("following {}", entry.path().display()))?;
        let path = below.join(&name);
        if metadata.is_dir() && name == DATA {
            data = Some(path);
        } else if metadata.is_dir() {
            // kola looks at the link itself, and passes it over.
            ensure!(!link, "visiting {}: kola does not follow links to folders but `{DATA}`", path.display());
            visit(root, &path, &format!("{prefix}.{name}"), found)?;
        } else if metadata.is_file() && metadata.permissions().mode() & EXECUTABLE != 0 {
            executables.push((name, path));
        } else if CONFIGS.contains(&name.as_str()) {
            bail!("visiting {}: a machine of test-vm has no Ignition config", path.display());
        } else {
            let text = fs::read(entry.path()).with_context(|| format!("reading {}", path.display()))?;
            ensure!(
                !text.starts_with(b"#!"),
                "visiting {}: others may not execute it, so it is no test",
                path.display()
            );
        }
    }
    let alone = executables.len() == 1;
    for (name, executable) in executables {
        let path = root.join(&executable);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let header = Header::parse(&text).with_context(|| format!("parsing {}", path.display()))?;
        let name = if alone && name == DEFAULT_TEST { prefix.to_owned() } else { format!("{prefix}.{name}") };
        found.push(Test { name, executable, data: data.clone(), header });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::tests;

    fn write(dir: &Path, path: &str, mode: u32, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn names_and_data() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        write(root, "alone/test.sh", 0o755, "#!/bin/bash\n");
        write(root, "alone/data/lib.sh", 0o644, "true\n");
        write(root, "alone/data/program", 0o755, "#!/bin/bash\n");
        write(root, "two/test.sh", 0o755, "");
        write(root, "two/other", 0o755, "");
        symlink("../alone/data", root.join("two/data")).expect("a link");
        write(root, "deep/er/one", 0o755, "## kola:\n##   exclusive: false\n#\n");
        write(root, "top", 0o755, "");
        write(root, "README.md", 0o644, "not a test\n");
        let found: Vec<_> = tests(root, "x").expect("tests").into_iter().collect();
        let names: Vec<_> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["ext.x.alone", "ext.x.deep.er.one", "ext.x.top", "ext.x.two.other", "ext.x.two.test.sh"]);
        let data: Vec<_> = found.iter().map(|test| test.data.as_deref().and_then(Path::to_str)).collect();
        assert_eq!(data, [Some("alone/data"), None, None, Some("two/data"), Some("two/data")]);
        let exclusive: Vec<_> = found.iter().map(|test| test.header.exclusive).collect();
        assert_eq!(exclusive, [true, false, true, true, true]);
    }

    #[test]
    fn what_kola_would_pass_over_is_an_error() {
        let table: [(&str, &str, u32, &str, &str); 4] = [
            ("not executable", "a/test.sh", 0o750, "#!/bin/bash\n", "a/test.sh: others may not execute it"),
            ("a config", "a/config.bu", 0o644, "variant: fcos\n", "a machine of test-vm has no Ignition config"),
            ("no test", "a/README.md", 0o644, "x\n", "has no executable file"),
            ("a bad header", "a/test.sh", 0o755, "## kola:\n##   x: y\n#\n", "reading key x: kola does not know it"),
        ];
        for (label, path, mode, text, expected) in table {
            let dir = tempfile::tempdir().expect("a directory");
            write(dir.path(), path, mode, text);
            let error = format!("{:#}", tests(dir.path(), "x").expect_err(label));
            assert!(error.contains(expected), "{label}: {error}");
        }
    }

    #[test]
    fn our_own() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kola-tests");
        let found = tests(&dir, "slipstream").expect("our tests");
        for test in &found {
            assert!(!test.header.description.is_empty(), "{} has no description", test.name);
            assert!(test.header.runs_on("qemu"), "{} does not run in QEMU", test.name);
            assert!(test.data.is_some(), "{} has no data folder", test.name);
            let lines = fs::read_to_string(dir.join(&test.executable)).expect("a test").lines().count();
            assert!(lines <= 80, "{} has {lines} lines: one behaviour per file, shared steps in data/", test.name);
        }
    }
}
