// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The node image: a commit encapsulated in chunks by the reference tool, one derived layer, staged by skopeo on a
//! disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::layout::Layout;

use super::chunks;
use super::layout::{add_layer, biggest_chunk, damage};
use super::trees::{Flavour, Role, Tree};
use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::peer;

/// Where the node image pretends to come from.
const REPOSITORY: &str = "example.com/os/node";
/// A real node image has about 50 chunks; with fewer, this one would prove little.
const MIN_CHUNKS: usize = 40;

/// The node image, staged.
#[derive(Clone)]
pub struct NodeImage {
    /// A file system with the label `nodeimage`: `/node` (layout) and, of the plain images, `/node.tar` (archive).
    pub staging: PathBuf,
    /// The same with one bit flipped in the biggest chunk. Of the plain images only.
    pub damaged: PathBuf,
    /// `example.com/os/node@sha256:…`.
    pub reference: String,
    /// `uname -r` of its kernel.
    pub kernel: String,
    /// How many layers it has.
    pub layers: u64,
}

/// Builds what is missing of it.
pub fn build(lab: &Lab, tree: &Tree) -> Result<NodeImage> {
    let peer = peer::binary(lab)?;
    let mut inputs =
        Inputs::default().text(tree.dir.to_string_lossy()).text(lab.tools().to_string_lossy()).file(&peer)?;
    for script in ["derived.sh", "layout.sh", "filesystem.sh"] {
        inputs = inputs.file(&lab.own("scripts").join(script))?;
    }
    let dir = lab.cache.artefact(&tree.flavour.kind("node-image"), inputs, |dir| {
        encapsulate(lab, tree, &peer, dir)?;
        stage(lab, tree, dir)
    })?;
    NodeImage::load(&dir)
}

impl NodeImage {
    fn load(dir: &Path) -> Result<Self> {
        let facts = fs::read(dir.join("node.json")).context("reading node.json")?;
        let facts: serde_json::Value = serde_json::from_slice(&facts).context("parsing node.json")?;
        let text =
            |key: &str| facts[key].as_str().map(str::to_owned).with_context(|| format!("reading {key} from node.json"));
        Ok(Self {
            staging: dir.join("staging.img"),
            damaged: dir.join("damaged.img"),
            reference: text("image")?,
            kernel: text("kernel")?,
            layers: facts["layers"].as_u64().context("reading layers from node.json")?,
        })
    }

    /// Copies the archive out of the staging disk.
    pub fn dump_archive(&self, lab: &Lab, to: &Path) -> Result<()> {
        let request = format!("dump /node.tar {}", to.display());
        cmd::run(lab.tool(["debugfs", "-R", &request]).arg(&self.staging))
            .context("reading the node image's archive")?;
        // debugfs reports a missing file on stderr only.
        let size = to.metadata().context("reading the node image's archive")?.len();
        ensure!(size > 0, "reading the node image's archive: it is empty");
        Ok(())
    }

    /// Returns the last one that was built, whatever of.
    pub fn newest(lab: &Lab, flavour: Flavour) -> Result<Option<Self>> {
        lab.cache.newest(&flavour.kind("node-image"))?.map(|dir| Self::load(&dir)).transpose()
    }
}

/// Makes `dir/built`: the image as an OCI layout, chunks first, then the derived layer.
pub fn encapsulate(lab: &Lab, tree: &Tree, peer: &Path, dir: &Path) -> Result<()> {
    let repo = tree.repo();
    let mut list = lab.tool(["ostree", "ls", "-R", "-C", "--repo"]);
    list.arg(&repo).arg(&tree.branch).arg("/");
    let meta = chunks::content_meta(&cmd::stdout(&mut list)?, &tree.root)?;
    let meta_path = dir.join("contentmeta.json");
    fs::write(&meta_path, meta.to_string()).context("writing the content meta")?;

    // The tools root sees the cache, not the place where the peer was built.
    let local_peer = dir.join(peer::NAME);
    fs::copy(peer, &local_peer).context("copying the peer")?;
    let mut command = lab.tool([&local_peer]);
    command.args(["container", "encapsulate"]);
    command.arg(format!("--repo={}", repo.display())).arg(format!("--contentmeta={}", meta_path.display()));
    command.arg(&tree.branch).arg(format!("oci:{}", dir.join("built").display()));
    cmd::run(&mut command)?;

    cmd::run(&mut cmd::words("bash", [lab.own("scripts/derived.sh").as_os_str(), dir.as_os_str()]))?;
    let read = |name: &str| fs::read(dir.join(name)).with_context(|| format!("reading {name}"));
    let layout = Layout::at(&dir.join("built"));
    add_layer(&layout, read("layer.tar")?, read("layer.tar.gz")?, "COPY layer /")?;
    for name in ["layer.tar", "layer.tar.gz", "contentmeta.json", peer::NAME] {
        fs::remove_file(dir.join(name)).with_context(|| format!("removing {name}"))?;
    }
    Ok(())
}

/// Makes the staging disks, and `node.json`.
fn stage(lab: &Lab, tree: &Tree, dir: &Path) -> Result<()> {
    let built = Layout::at(&dir.join("built")).image()?;
    cmd::run(&mut lab.script("layout.sh", [dir]))?;
    let stage = dir.join("stage");
    let layout = Layout::at(&stage.join("node"));
    let image = layout.image()?;
    ensure!(image.digest == built.digest, "staging the image: skopeo made {} of {}", image.digest, built.digest);
    let layers = image.manifest["layers"].as_array().map_or(0, Vec::len);
    ensure!(layers >= MIN_CHUNKS + 2, "staging the image: it has only {layers} layers");

    let filesystem = |image: &str| {
        cmd::run(
            &mut lab.script("filesystem.sh", [stage.as_os_str(), dir.join(image).as_os_str(), "nodeimage".as_ref()]),
        )
    };
    let remove_archive = || fs::remove_file(stage.join("node.tar")).context("removing the archive");
    let chunk = biggest_chunk(&layout)?;
    if tree.flavour == Flavour::Plain {
        filesystem("staging.img")?;
        damage(&layout, &chunk)?;
        // Only the layout is damaged; the archive would double the time.
        remove_archive()?;
        filesystem("damaged.img")?;
    } else {
        remove_archive()?;
        filesystem("staging.img")?;
    }
    fs::remove_dir_all(&stage).context("removing the staging directory")?;

    let bytes = image.manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["size"].as_u64());
    let facts = json!({
        "image": format!("{REPOSITORY}@{}", image.digest),
        "version": Role::Node.version(),
        "kernel": tree.kernel,
        "layers": layers,
        "bytes": bytes.sum::<u64>(),
        "damaged_blob": chunk,
    });
    fs::write(dir.join("node.json"), format!("{facts:#}\n")).context("writing node.json")
}
