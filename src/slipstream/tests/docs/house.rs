// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The map of the house in docs/development.md is that of the tree, and every source file says where it is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crate whose rooms are listed in its own first file.
const KIT: &str = "testkit";
/// Files that every crate has.
const NO_ROOMS: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];
/// Directories of a crate that cargo knows.
const CARGOS: [&str; 2] = ["tests", "examples"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn crates() -> BTreeSet<String> {
    let found: BTreeSet<_> = names(&root().join("src"))
        .into_iter()
        .filter(|name| root().join("src").join(name).join("Cargo.toml").exists())
        .collect();
    assert!(found.len() > 5, "only {found:?}");
    found
}

/// The cells of a table's rows below a heading, up to the next heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read(&root().join("docs/development.md"));
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = rest.lines().take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    rows.skip(1).map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What is in back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_crate_is_on_the_map_with_what_it_uses() {
    let mut map = BTreeMap::new();
    for row in rows("## The house") {
        let [name, _, uses] = row.as_slice() else { panic!("a row of {row:?}") };
        let name = quoted(name).next().and_then(|name| name.strip_prefix("src/")?.strip_suffix('/')).unwrap();
        map.insert(name.to_owned(), uses.split(", ").filter(|one| !one.is_empty()).map(str::to_owned).collect());
    }
    let mut tree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in crates() {
        let manifest = read(&root().join("src").join(&name).join("Cargo.toml"));
        let (_, rest) = manifest.split_once("[dependencies]\n").unwrap();
        let list = rest.split("\n[").next().unwrap().lines();
        let all = list.filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned);
        tree.insert(name, all.filter(|used| crates().contains(used)).collect());
    }
    assert_eq!(map, tree, "the table of crates in docs/development.md, and their Cargo.toml");
}

#[test]
fn every_room_is_on_the_map() {
    for name in crates().into_iter().filter(|name| name != KIT) {
        let dir = root().join("src").join(&name);
        let mut listed = BTreeSet::new();
        for row in rows(&format!("### {name}")) {
            for place in
                row.iter().flat_map(|cell| quoted(cell)).filter(|place| place.ends_with(".rs") || place.ends_with('/'))
            {
                assert!(dir.join(place).exists(), "docs/development.md: {name} has no {place}");
            }
            listed.extend(quoted(&row[0]).map(|place| place.trim_end_matches('/').to_owned()));
        }
        let is_room = |file: &String| {
            let path = dir.join(file);
            let source = file.ends_with(".rs") && !NO_ROOMS.contains(&file.as_str());
            source || path.is_dir() && !CARGOS.contains(&file.as_str())
        };
        let there: BTreeSet<_> = names(&dir).into_iter().filter(is_room).collect();
        assert_eq!(listed, there, "the rooms of {name} in docs/development.md, and in src/{name}");
    }
    let kit = read(&root().join("src").join(KIT).join("lib.rs"));
    for file in names(&root().join("src").join(KIT)).iter().filter(|file| file.ends_with(".rs") && *file != "lib.rs") {
        let module = file.trim_end_matches(".rs");
        assert!(kit.contains(&format!("| [`{module}`] |")), "src/{KIT}/lib.rs does not list {module}");
    }
}

/// The source files of the crates, without those that are tests.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() && !CARGOS.contains(&name.as_str()) {
            sources(&path, found);
        } else if name.ends_with(".rs") && !matches!(name.as_str(), "tests.rs" | "fixtures.rs") {
            found.push(path);
        }
    }
}

#[test]
fn a_file_without_tests_says_where_it_is_tested() {
    let mut files = Vec::new();
    for name in crates().into_iter().filter(|name| name != KIT) {
        sources(&root().join("src").join(name), &mut files);
    }
    assert!(files.len() > 100, "only {} files", files.len());
    for file in files {
        let text = read(&file);
        // A file of declarations has nothing to test.
        let has_code = text.lines().any(|line| line.split("//").next().is_some_and(|code| code.contains("fn ")));
        let about: Vec<_> = text.lines().take_while(|line| line.starts_with("//")).collect();
        let at = about.iter().position(|line| line.starts_with("//! Tested by "));
        if has_code && !text.contains("#[cfg(test)]") {
            assert!(at.is_some(), "{} has no tests, and no line `//! Tested by`", file.display());
        }
        for place in at.into_iter().flat_map(|at| about[at..].iter().flat_map(|line| quoted(line))) {
            assert!(root().join(place).exists(), "{}: there is no {place}", file.display());
        }
    }
}
