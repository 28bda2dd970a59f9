// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes to a commit: an image into an ostree repository, as ostree-ext would have written it.
//!
//! 1. [`plan`]: which layers the repository has. If the image has to have a certain kernel: whether it can have it.
//! 2. The missing chunks and the commit layer, side by side; then the missing derived layers, whose files are labelled
//!    by the base's policy. Objects are staged. A layer is finished when all of it was read and both of its digests
//!    are right: only then are its objects published, and only then is its ref set.
//! 3. The merge commit, made of dirtrees in memory.
//! 4. One sync, then the objects get their names, then the refs, the image's last.
//! 5. Refs of ours that no image and no deployment needs are removed.
//!
//! Refs, metadata keys and the tree are described in `docs/format.md`, what happens at a power cut in `store`.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`,
//! `src/slipstream/tests/interrupt/`.

mod gc;
mod kernel;
pub mod layers;
mod merge;
mod metadata_keys;
mod plan;
mod progress;
mod session;
mod space;

use std::ops::ControlFlow::{self, Break, Continue};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread::Scope;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

pub use gc::{collect_layers, forget_images, has_marked_refs};
pub use kernel::OtherKernel;
pub use plan::{ImportPlan, Plan, plan};
pub use session::{Purpose, Session};

use contract::names::{Digest, ImageReference};
use image::oci::Layer;
use image::stream::LargeWindows;
use repo::ObjectType;
use repo::config::RepoConfig;
use repo::gvariant::parse_commit;
use repo::store::{Store, Writeback};
use repo::tree::Dir;
use source::VerifiedImage;

use crate::import::progress::Progress;
use layers::base::{Role, has_open_root, import_side_by_side};
use layers::derived::LayerContext;
use layers::job::{Finished, Job};
use layers::publish::Publisher;
use merge::commit::{MergeCommit, UnpublishedMergeCommit};
use merge::selinux_policy::TreePolicy;

/// The metadata key of a commit's version (ostree, `OSTREE_COMMIT_META_KEY_VERSION`).
const COMMIT_VERSION: &str = "version";

/// An image that is in the repository, whole and verified.
#[derive(Debug)]
pub struct Imported {
    /// The merge commit.
    pub commit: Digest,
}

/// Imports what `plan` found missing, and writes the merge commit. Stops if the image does not have the kernel that the
/// plan requires.
pub fn import(
    session: &Session<'_>,
    image: &VerifiedImage,
    reference: &ImageReference,
    plan: &ImportPlan,
    deadline: Instant,
) -> Result<ControlFlow<OtherKernel, Imported>> {
    let repo_path = session.path.as_path();
    let config = RepoConfig::read(repo_path)?;
    let room = space::ensure_room(repo_path, &config, space::needed(plan.missing())?)?;
    let store = Store::open(repo_path, config.mode, room)?;
    let windows = LargeWindows::default();
    let job = Job {
        store: &store,
        image,
        deadline,
        progress: Progress::new(plan.missing_bytes()),
        windows: &windows,
        cancelled: AtomicBool::new(false),
    };
    let mut publisher = Publisher::new(&store);
    let imported = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let writeback = Writeback::start(scope, &store, &imported);
        let result = import_layers(scope, &job, session, plan, reference, &mut publisher);
        writeback.stop().and(result)
    });
    if !matches!(result, Ok(Continue(_))) {
        // Finished layers are good, whatever happened to others: another source can go on with them.
        if let Err(error) = publisher.publish() {
            log::debug!("publishing finished layers: {error:#}");
        }
    }
    let removed = store.remove_stage();
    let imported = result?.map_continue(|commit| Imported { commit });
    removed?;
    Ok(imported)
}

fn import_layers<'scope, 's: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    job: &Job<'_>,
    session: &Session<'_>,
    plan: &ImportPlan,
    reference: &ImageReference,
    publisher: &mut Publisher<'s>,
) -> Result<ControlFlow<OtherKernel, Digest>> {
    let commit_layer = match kernel::look_ahead(job, plan)? {
        Continue(layer) => layer,
        Break(other) => return Ok(Break(other)),
    };
    let base = import_base(job, plan, commit_layer, publisher)?;
    // Thousands of objects get their names while the layers above are read and labelled.
    let publishing = publisher.publish_on(scope);
    let commit = merge_layers(job, &session.path.join("tmp"), plan, base, publisher);
    let published = publishing.join().map_err(|_| anyhow!("the thread that publishes has panicked"))?;
    let commit = commit?;
    published?;
    commit.publish(session, job.store, reference, &plan.present_commits(), publisher).map(Continue)
}

/// Import the derived layers, and put everything together. `temporary` is the repository's `tmp`.
fn merge_layers(
    job: &Job<'_>,
    temporary: &Path,
    plan: &ImportPlan,
    base: Option<Digest>,
    publisher: &mut Publisher<'_>,
) -> Result<UnpublishedMergeCommit> {
    let (store, layers) = (job.store, &plan.layers);
    let mut root = match &base {
        Some(base) => Some(Dir::of_commit(store, base)?),
        None => None,
    };
    let policy = match &mut root {
        Some(root) => TreePolicy::of_tree(store, root, temporary)?,
        None => None,
    };
    let context = LayerContext {
        policy: policy.as_ref().map(|policy| &policy.policy),
        any_top_level: root.as_mut().map_or(Ok(true), |root| has_open_root(store, root))?,
    };
    let mut derived = Vec::with_capacity(layers.derived.len());
    for layer in &layers.derived {
        derived.push(match plan.present(layer) {
            Some(commit) => commit,
            None => {
                let finished = job.derived(layer, &context)?;
                let commit = finished.commit;
                publisher.add(finished)?;
                commit
            }
        });
    }
    MergeCommit { store, image: job.image, temporary, base, root, policy, layers: &layers.derived }
        .build(&derived, publisher)
}

/// Import what is missing of the base; its commit layer may be `imported` already. Returns its commit.
fn import_base(
    job: &Job<'_>,
    plan: &ImportPlan,
    mut imported: Option<Finished>,
    publisher: &mut Publisher<'_>,
) -> Result<Option<Digest>> {
    let layers = &plan.layers;
    let missing = |layer: &&Layer| plan.present(layer).is_none();
    let mut wanted: Vec<_> = layers.chunks.iter().filter(missing).map(|layer| (layer, Role::Chunk)).collect();
    if imported.is_none() {
        wanted.extend(layers.commit.iter().filter(missing).map(|layer| (layer, Role::Commit)));
    }
    let Some(commit_layer) = &layers.commit else { return Ok(None) };
    import_side_by_side(job, wanted, |finished| {
        if finished.digest == commit_layer.descriptor.digest {
            imported = Some(finished);
            Ok(())
        } else {
            publisher.add(finished)
        }
    })?;
    let base = imported.as_ref().map(|finished| finished.commit).or(plan.present(commit_layer));
    let base = base.context("the commit layer gave no commit")?;
    // Only a commit that has everything is published.
    repo::tree::ensure_complete(job.store, &base)?;
    if let Some(finished) = imported {
        publisher.add(finished)?;
    }
    Ok(Some(base))
}

/// The version in the metadata of a commit of the repository at `repo_path`, where rpm-ostree writes it.
pub fn commit_version(repo_path: &Path, commit: &Digest) -> Result<Option<String>> {
    let store = Store::open_to_read(repo_path, RepoConfig::read(repo_path)?.mode)?;
    let commit = parse_commit(&store.load_metadata(ObjectType::Commit, commit)?)?;
    Ok(commit.get(COMMIT_VERSION).map(str::to_owned))
}
