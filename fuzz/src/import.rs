// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The importer's parsers, and what they write to.

use std::path::PathBuf;

use image::stream::TarReader;
use repo::{ObjectType, gvariant};
use repo::mode::RepoMode;
use repo::store::Store;
use repo::writer::Writer;
use slipstream::import::layers::chunk;
use slipstream::import::layers::derived::{LayerContext, import_tree};

/// Most bytes that an input may write: what it unpacks to, and its metadata.
const ROOM: u64 = 16 << 20;

/// Gives `run` an empty staging area of this process, in memory. `bare-user`: files keep their owner, so that no root is
/// needed.
fn with_store(run: impl FnOnce(&Store)) {
    let path = PathBuf::from(format!("/dev/shm/slipstream-fuzz-{}", std::process::id()));
    for name in ["objects", "refs/heads", "tmp"] {
        std::fs::create_dir_all(path.join(name)).expect("/dev/shm can be written");
    }
    let store = Store::open(&path, RepoMode::BareUser, ROOM).expect("it can be opened");
    run(&store);
    store.remove_stage().expect("it can be removed");
    std::fs::remove_dir_all(&path).expect("it can be removed");
}

/// A layer of objects; the first byte says whether it is the commit layer.
pub fn objects(data: &[u8]) {
    let Some((kind, tar)) = data.split_first() else { return };
    with_store(|store| {
        let writer = Writer::new(store);
        if let Ok(objects) = chunk::import_objects(&writer, &mut TarReader::new(tar), kind % 2 == 1) {
            assert!(kind % 2 == 0 || objects.commit.is_some(), "no commit in the commit layer");
        }
    });
}

/// A layer of plain files; the first byte says whether all top-level names are kept.
pub fn derived(data: &[u8]) {
    let Some((kind, tar)) = data.split_first() else { return };
    with_store(|store| {
        let writer = Writer::new(store);
        let context = LayerContext { policy: None, any_top_level: kind % 2 == 1 };
        if let Ok(root) = import_tree(&writer, &mut TarReader::new(tar), &context) {
            let (tree, _) = root.write(&writer).expect("the tree can be written");
            let bytes = store.load_metadata(ObjectType::DirTree, &tree).expect("and read");
            gvariant::parse_dirtree(&bytes).expect("what was written can be parsed");
        }
    });
}

/// A metadata object, as every type.
pub fn gvariant(data: &[u8]) {
    if let Ok(tree) = gvariant::parse_dirtree(data) {
        let files = tree.files.iter().map(|(name, file)| (name.as_str(), *file));
        let dirs = tree.dirs.iter().map(|(name, tree, meta)| (name.as_str(), *tree, *meta));
        let again = gvariant::parse_dirtree(&gvariant::dirtree(files, dirs)).expect("what was written can be parsed");
        assert_eq!((tree.files, tree.dirs), (again.files, again.dirs));
    }
    if let Ok(list) = gvariant::parse_xattrs(data) {
        let again = gvariant::parse_xattrs(&gvariant::xattrs(&list)).expect("what was written can be parsed");
        assert!(again.len() <= list.len());
    }
    if let Ok((_, _, _, rest)) = gvariant::parse_dirmeta(data) {
        assert_eq!(rest.len() + 12, data.len());
    }
    if let Ok(commit) = gvariant::parse_commit(data) {
        assert!(commit.metadata.len() <= data.len());
    }
}
