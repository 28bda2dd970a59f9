// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ignition configs and MachineConfigs in the forms in which a node gets them, and what is decided for each.
//!
//! `tests/mco/machine-configs` has them as the MCO renders them, `tests/mco/ignition` as Ignition leaves them in
//! `/run/ignition.json`. They are made by hand after the documented formats.

use std::fs;
use std::path::Path;

use slipstream::request::ignition::Ignition;
use slipstream::request::mco::{Decision, MachineConfig, Node, decide};
use slipstream::request::{Settings, kargs};

const IMAGE: &str = "quay.io/example/node@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LAYERED: &str = "image-registry.openshift-image-registry.svc:5000/openshift-machine-config-operator/os-image@sha256:\
                       a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4";
const V2: &str = r#"systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all""#;

fn corpus(directory: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco").join(directory).join(format!("{name}.json"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn ignition(name: &str) -> anyhow::Result<Ignition> {
    Ignition::parse(&corpus("ignition", name))
}

fn machine(name: &str) -> MachineConfig {
    MachineConfig::parse(&corpus("machine-configs", name)).unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

fn split(text: &str) -> Vec<String> {
    kargs::split(text).map(str::to_owned).collect()
}

/// The MCO's own comparison: what it finds of its arguments in the entry must be its list.
fn mco_is_content(machine: &MachineConfig, entry: &[String]) -> bool {
    let found: Vec<_> = entry.iter().filter(|karg| machine.kargs.contains(karg)).collect();
    found.iter().eq(&machine.kargs.iter().collect::<Vec<_>>())
}

struct Case {
    machine: &'static str,
    /// More kernel arguments in the bootimage's entry, which are on the command line as well.
    entry: &'static str,
    image: &'static str,
    /// Arguments that are put into the entry; or a part of each reason.
    expected: Result<&'static str, &'static [&'static str]>,
}

const fn case(
    machine: &'static str,
    entry: &'static str,
    expected: Result<&'static str, &'static [&'static str]>,
) -> Case {
    Case { machine, entry, image: IMAGE, expected }
}

const CASES: &[Case] = &[
    case("master", "", Ok(V2)),
    case("worker", "", Ok(V2)),
    case("worker", V2, Ok("")),
    case("worker", "cgroup_no_v1=\"all\"", Ok("systemd.unified_cgroup_hierarchy=1")),
    // Other quotes are another argument to the MCO.
    case("worker", "cgroup_no_v1=all", Ok(V2)),
    case(
        "worker",
        "cgroup_no_v1=\"all\" systemd.unified_cgroup_hierarchy=1",
        Err(&["kernel arguments in another order or number: the MachineConfig has [\"systemd."]),
    ),
    case("worker-4.18", "", Ok(r#"systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all" psi=0"#)),
    case("worker-psi", "", Ok(r#"psi=1 systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all""#)),
    case("worker-no-kargs", "", Ok("")),
    case("worker-fips", "", Err(&["FIPS mode is off, the MachineConfig wants it on"])),
    case("worker-fips", "fips=1", Ok(V2)),
    case("worker", "fips=1", Err(&["FIPS mode is on, the MachineConfig wants it off"])),
    case("worker-realtime", "", Err(&["wants the kernel realtime"])),
    case("worker-64k", "", Err(&["wants the kernel 64k-pages"])),
    case("worker-unknown-kernel", "", Ok(V2)),
    case("worker-extensions", "", Err(&["wants extensions: usbguard, kerberos"])),
    case("worker-built-on-cluster", "", Err(&["is marked as built on the cluster, with image \"image-registry."])),
    case("worker-with-files", "", Err(&["the MachineConfig has files, units of its own"])),
    Case { machine: "layered", entry: "", image: LAYERED, expected: Ok(V2) },
    case("layered", "", Err(&["has image \"image-registry.openshift-image-registry.svc:5000/"])),
    case("worker-tuned", "", Err(&["cannot wait for the next boot: [\"skew_tick=1\", \"tsc=reliable\", \"rcupdate."])),
    case(
        "worker-tuned",
        "skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1 nohz=on rcu_nocbs=2-23 systemd.cpu_affinity=0,1 \
         isolcpus=managed_irq,2-23",
        Ok(V2),
    ),
    case("worker-hugepages", "hugepagesz=1G hugepages=4", Err(&["not one argument each, which the MCO never finds"])),
    case("worker-console", "console=tty0 console=ttyS0,115200n8", Ok(V2)),
    case("worker-console", "console=ttyS0,115200n8 console=tty0", Err(&["in another order or number"])),
    case("worker-console", "console=tty0 console=tty0 console=ttyS0,115200n8", Err(&["in another order or number"])),
    case("worker-quotes", "dyndbg=\"file drivers/usb/* +p\"", Ok(V2)),
    case("worker-quotes", "", Err(&["cannot wait for the next boot: [\"dyndbg=\\\"file drivers/usb/* +p\\\"\"]"])),
    case("worker-duplicates", "hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=4", Ok("")),
    case(
        "worker-duplicates",
        "hugepagesz=1G hugepages=4 hugepagesz=2M",
        Err(&["cannot wait for the next boot: [\"hugepages=4\"]"]),
    ),
    case("worker-duplicates", "hugepagesz=2M hugepages=4 hugepagesz=1G", Err(&["in another order or number"])),
];

#[test]
fn machine_configs() {
    for case in CASES {
        let label = format!("{} with {:?}", case.machine, case.entry);
        let config = machine(case.machine);
        let entry = split(&format!("rw $ignition_firstboot root=UUID=1 {} quiet", case.entry));
        let cmdline = entry.join(" ");
        let fips = Node::is_fips(&cmdline);
        let node = Node { image: case.image, entry: &entry, cmdline: &cmdline, fips, force: false };
        let decision = decide(&config, &node);
        match case.expected {
            Ok(added) => {
                assert!(!decision.reboot, "{label}: {decision:?}");
                assert_eq!(decision.kargs_to_add, split(added), "{label}");
                assert!(mco_is_content(&config, &decision.kargs), "{label}: {decision:?}");
                assert_eq!(decision.kargs.len(), entry.len() + decision.kargs_to_add.len(), "{label}");
            }
            Err(reasons) => {
                assert!(decision.reboot, "{label}: {decision:?}");
                assert_eq!(decision.reasons.len(), reasons.len(), "{label}: {decision:?}");
                for (reason, part) in decision.reasons.iter().zip(reasons) {
                    assert!(reason.contains(part), "{label}: {reason}");
                }
                assert_eq!(decision.kargs, entry, "{label}");
            }
        }
        let Decision { reboot, reasons, .. } = decide(&config, &Node { force: true, ..node });
        assert!(reboot && reasons.iter().any(|reason| reason.contains("machine-config-daemon-force")), "{label}");
    }
}

/// Every file of the corpus is in a table.
#[test]
fn no_config_is_left_out() {
    let text = include_str!("main.rs");
    for directory in ["machine-configs", "ignition"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco").join(directory);
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is no JSON"));
            assert!(text.contains(&format!("\"{name}\"")), "{directory}/{name} is in no table");
        }
    }
}

#[test]
fn files_of_ignition_configs() {
    let packed = "packed text\n".repeat(100);
    for (name, path, expected) in [
        (
            "3.0-percent",
            "/etc/containers/registries.conf",
            Ok("unqualified-search-registries = [\"registry.example.com\"]\n"),
        ),
        ("3.0-percent", "/etc/slipstream.conf", Ok("[slipstream]\nimage = auto\n")),
        ("3.1-base64-gzip", "/etc/plain", Ok("plain text\n")),
        ("3.1-base64-gzip", "/etc/packed", Ok(packed.as_str())),
        ("3.1-base64-gzip", "/etc/packed-wrong", Err("/etc/packed-wrong of the Ignition config: sha512 mismatch")),
        ("3.4-append", "/etc/hosts.d/list", Ok("first\nsecond\nthird\n")),
        ("3.4-append", "/etc/only-appended", Ok("more\nand more\n")),
        ("3.5-remote", "/etc/slipstream.conf", Err("it has a remote source (https)")),
        ("3.5-remote", "/var/lib/kubelet/config.json", Err("it has a remote source (s3)")),
        ("3.5-remote", "/etc/ignition-machine-config-encapsulated.json", Err("it has a remote source (http)")),
        ("3.6-experimental", "/etc/empty", Ok("")),
        ("2.2", "/etc/x", Err("Ignition config has version \"2.2.0\", not 3.x")),
    ] {
        match (ignition(name).and_then(|config| config.file(path)), expected) {
            (Ok(Some(bytes)), Ok(text)) => assert_eq!(String::from_utf8_lossy(&bytes), text, "{name} {path}"),
            (Err(error), Err(text)) => {
                let error = format!("{error:#}");
                assert!(error.contains(text) && !error.contains("hunter2"), "{name} {path}: {error}");
            }
            (got, _) => panic!("{name} {path}: {got:?}"),
        }
    }
}

#[test]
fn requests_of_ignition_configs() {
    const AUTO: &str = "slipstream.image=auto slipstream.source=oci:/x";
    for (name, cmdline, expected) in [
        ("3.2-machine-config-server", "", Ok(Some(IMAGE))),
        ("3.2-machine-config-server", "slipstream.image=none", Ok(None)),
        ("3.3-kernel-arguments", "", Ok(None)),
        ("3.3-kernel-arguments", AUTO, Ok(Some(IMAGE))),
        ("3.5-other-annotation", AUTO, Ok(Some(IMAGE))),
        // It wants image=auto, and is not a node of OpenShift.
        ("3.0-percent", "", Ok(None)),
        ("3.5-remote", "", Err("reading file /etc/slipstream.conf of the Ignition config")),
    ] {
        let config = ignition(name).unwrap();
        let request = Settings::read(cmdline, Path::new("/nonexistent"), &config)
            .and_then(|settings| settings.request(&config))
            .map(|request| request.map(|request| request.image.to_string()));
        match (request, expected) {
            (Ok(image), Ok(expected)) => assert_eq!(image.as_deref(), expected, "{name} {cmdline}"),
            (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{name}: {error:#}"),
            (got, _) => panic!("{name} {cmdline}: {got:?}"),
        }
    }
}

#[test]
fn another_image_in_the_annotations_is_another_reboot() {
    for (name, expected) in [
        ("3.2-machine-config-server", None),
        ("3.3-kernel-arguments", None),
        ("3.5-other-annotation", Some("the node's annotations have image \"image-registry.")),
    ] {
        let config = ignition(name).unwrap();
        let machine = MachineConfig::of(&config).unwrap().unwrap_or_else(|| panic!("{name} has no MachineConfig"));
        assert_eq!(machine.name, "rendered-worker-5c0ffee5c0ffee5c0ffee5c0ffee5c0f", "{name}");
        let decision = decide(&machine, &Node { image: IMAGE, entry: &[], cmdline: "", fips: false, force: false });
        assert_eq!(decision.reboot, expected.is_some(), "{name}: {decision:?}");
        let first = decision.reasons.first().map(String::as_str).unwrap_or_default();
        assert!(first.contains(expected.unwrap_or_default()), "{name}: {first}");
    }
    let config = ignition("3.3-kernel-arguments").unwrap();
    assert_eq!(config.kargs(split("rw quiet")), ["rw", "mitigations=auto,nosmt"]);
}
