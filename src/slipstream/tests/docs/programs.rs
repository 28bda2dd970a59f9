// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nothing that looks like a test is left out: cargo finds programs by their place, and modules have to be part of one.

use std::fs;
use std::path::{Path, PathBuf};

/// The only program that `cargo test` leaves out by itself: `make differential` runs it.
const LEFT_OUT: &str = "differential";

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// The first files of the programs, by the programs' names: a file below `tests`, or main.rs in a directory.
fn programs() -> Vec<(String, PathBuf)> {
    let roots = entries(&package().join("tests")).into_iter().map(|path| {
        let name = stem(&path).to_owned();
        (name, if path.is_dir() { path.join("main.rs") } else { path })
    });
    let roots: Vec<_> = roots.collect();
    assert!(roots.len() > 5, "only {roots:?}");
    roots
}

/// Calls `visit` with every module in the directory of main.rs or mod.rs, and with the file that has to name it.
fn modules(root: &Path, visit: &mut dyn FnMut(&Path, &Path)) {
    if !root.ends_with("main.rs") && !root.ends_with("mod.rs") {
        return;
    }
    for path in entries(root.parent().unwrap()) {
        let is_source = path.extension().is_some_and(|end| end == "rs");
        if path.is_dir() && entries(&path).iter().any(|path| path.extension().is_some_and(|end| end == "rs")) {
            visit(&path, root);
            modules(&path.join("mod.rs"), visit);
        } else if is_source && path != root {
            visit(&path, root);
        }
    }
}

#[test]
fn every_source_file_is_part_of_a_program() {
    for (_, root) in programs() {
        assert!(root.exists(), "{} is missing", root.display());
        modules(&root, &mut |file, parent| {
            let named = read(parent).lines().any(|line| {
                let line = line.trim_start_matches("pub ");
                line.strip_prefix("mod ").is_some_and(|rest| rest == format!("{};", stem(file)))
            });
            assert!(named, "{} is not named by {}: it is not compiled", file.display(), parent.display());
        });
    }
}

/// The part of Cargo.toml about a test program, if there is one.
fn declaration(manifest: &str, name: &str) -> Option<String> {
    let sections = manifest.split("[[test]]\n").skip(1);
    let mut sections = sections.map(|section| section.split("\n[").next().unwrap_or_default());
    sections.find(|section| section.contains(&format!("name = {name:?}\n"))).map(str::to_owned)
}

/// With `harness = false` a `#[test]` would not be run, and without it a suite would not.
#[test]
fn every_program_is_declared_as_what_it_is() {
    let manifest = read(&package().join("Cargo.toml"));
    assert!(!manifest.contains("autotests"), "Cargo.toml: cargo finds programs by their place");
    for (name, root) in programs() {
        let main = read(&root);
        let has_suite = main.contains(&format!("Suite::new({name:?}, "));
        assert!(has_suite || !main.contains("Suite::new("), "the suite of {name} has another name");
        let declared = declaration(&manifest, &name).unwrap_or_default();
        assert_eq!(declared.contains("harness = false"), has_suite, "Cargo.toml: harness of {name}");
        assert_eq!(declared.contains("test = false"), name == LEFT_OUT, "Cargo.toml: `cargo test` leaves out {name}");
        if has_suite {
            modules(&root, &mut |file, _| {
                let test = file.is_file() && read(file).contains("#[test]");
                assert!(!test, "{} has a #[test], which a suite does not run", file.display());
            });
            assert!(!main.contains("#[test]"), "{name} has a #[test], which a suite does not run");
        }
    }
}
