// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MachineConfig of the node's pool, as far as it decides on a reboot.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::request::ignition::Ignition;
use crate::shape;
use crate::shape::Shape;

/// Where the MCO's server puts it (`MachineConfigEncapsulatedPath`).
pub const MACHINE_CONFIG: &str = "/etc/ignition-machine-config-encapsulated.json";
/// Where it puts what the node object is to say of itself (`InitialNodeAnnotationsFilePath`).
const NODE_ANNOTATIONS: &str = "/etc/machine-config-daemon/node-annotations.json";
/// The image that the daemon, once it runs as a pod, compares with the booted one instead of `osImageURL`.
const CURRENT_IMAGE: &str = "machineconfiguration.openshift.io/currentImage";
/// Set when the image was built on the cluster; any value counts as a difference.
const OCL_IMAGE: &str = "machineconfiguration.openshift.io/ocl-osimageurl";

const TEXTS: Shape = Shape::List(&Shape::Text);
/// That something is there is all that is asked.
const ANYTHING: Shape = Shape::Object(&[]);
/// What the Ignition config inside may have; the server empties it.
const CONTENT: Shape = Shape::Object(&[
    (
        "passwd",
        Shape::Object(&[("users", Shape::List(&ANYTHING), false), ("groups", Shape::List(&ANYTHING), false)]),
        false,
    ),
    ("storage", Shape::Object(&[("files", Shape::List(&ANYTHING), false)]), false),
    ("systemd", Shape::Object(&[("units", Shape::List(&ANYTHING), false)]), false),
]);
const SPEC: Shape = Shape::Object(&[
    ("osImageURL", Shape::Text, false),
    ("config", CONTENT, false),
    ("kernelArguments", TEXTS, false),
    ("extensions", TEXTS, false),
    ("fips", Shape::Flag, false),
    ("kernelType", Shape::Text, false),
]);
const OBJECT: Shape = Shape::Object(&[
    ("metadata", Shape::Object(&[("name", Shape::Text, false), ("annotations", Shape::Texts, false)]), false),
    ("spec", SPEC, true),
]);

/// A MachineConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineConfig {
    /// Its name, for people.
    pub name: String,
    /// `osImageURL`: the node image.
    pub image: String,
    /// `kernelArguments`, entry by entry as they are written.
    pub kargs: Vec<String>,
    /// `extensions`.
    pub extensions: Vec<String>,
    /// `fips`.
    pub fips: bool,
    /// `kernelType`, as it is written.
    pub kernel_type: String,
    /// The image that was built on the cluster.
    pub ocl_image: Option<String>,
    /// The image that the node's annotations name.
    pub annotated_image: Option<String>,
    /// What of files, units and users its own Ignition config still has.
    pub content: Vec<&'static str>,
}

impl MachineConfig {
    /// The one in an Ignition config. `None`: this is no node of OpenShift, or not its first boot.
    pub fn of(ignition: &Ignition) -> Result<Option<Self>> {
        let Some(bytes) = ignition.file(MACHINE_CONFIG)? else { return Ok(None) };
        let mut config = Self::parse(&bytes).with_context(|| format!("reading {MACHINE_CONFIG}"))?;
        if let Some(bytes) = ignition.file(NODE_ANNOTATIONS)? {
            let annotations = shape::parse(&bytes, Shape::Texts, "node annotations")
                .with_context(|| format!("reading {NODE_ANNOTATIONS}"))?;
            config.annotated_image = text(&annotations[CURRENT_IMAGE]);
        }
        Ok(Some(config))
    }

    /// Parse the JSON of one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let object = shape::parse(bytes, OBJECT, "MachineConfig")?;
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let content = [("files", "storage"), ("units", "systemd"), ("users", "passwd"), ("groups", "passwd")];
        let is_there = |(name, section): &(&str, &str)| {
            spec["config"][section][name].as_array().is_some_and(|list| !list.is_empty())
        };
        Ok(Self {
            name: text(&metadata["name"]).unwrap_or_default(),
            image: text(&spec["osImageURL"]).unwrap_or_default(),
            kargs: texts(&spec["kernelArguments"]),
            extensions: texts(&spec["extensions"]),
            fips: spec["fips"].as_bool().unwrap_or_default(),
            kernel_type: text(&spec["kernelType"]).unwrap_or_default(),
            ocl_image: text(&metadata["annotations"][OCL_IMAGE]),
            annotated_image: None,
            content: content.iter().filter(|item| is_there(item)).map(|(name, _)| *name).collect(),
        })
    }
}

/// A string that says something: the MCO treats an empty annotation as none.
fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_one() {
        let none = MachineConfig::default();
        for (label, json, expected) in [
            ("no object", "[]", Err("expected MachineConfig to be a map")),
            ("no spec", "{}", Err("MachineConfig has no spec")),
            ("wrong type", r#"{"spec": {"kernelArguments": "x"}}"#, Err("expected kernelArguments to be a list")),
            ("nothing", r#"{"spec": {}}"#, Ok(none.clone())),
            (
                "null and empty",
                r#"{"spec": {"kernelArguments": null, "extensions": [], "kernelType": "",
                    "config": {"storage": {"files": []}}},
                    "metadata": {"annotations": {"machineconfiguration.openshift.io/ocl-osimageurl": ""}}}"#,
                Ok(none.clone()),
            ),
            (
                "content",
                r#"{"spec": {"config": {"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/x"}]},
                    "passwd": {"users": [{"name": "core"}]}}}}"#,
                Ok(MachineConfig { content: vec!["files", "users"], ..none.clone() }),
            ),
        ] {
            match (MachineConfig::parse(json.as_bytes()), expected) {
                (Ok(got), Ok(config)) => assert_eq!(got, config, "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
