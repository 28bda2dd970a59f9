// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account as metrics, for node-exporter's textfile collector: the text format of Prometheus, which with its last line
//! is OpenMetrics as well (<https://github.com/prometheus/OpenMetrics>).

use std::fmt::Write;

use serde_json::Value;

use crate::handoff::status::Outcome;

/// Name of the file in the run directory. The collector reads files that end in `.prom`.
pub const METRICS_FILE: &str = "slipstream.prom";

/// The metrics of an account.
pub(super) fn metrics(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (node, kernel) = (&status["node_image"], &status["kernel"]);
    let mut page = Page::default();
    page.family("slipstream_info", "What was asked for, and by which version.");
    let info = [("version", text(&status["slipstream"])), ("image", text(&node["image"]))];
    page.sample("slipstream_info", &info, 1.0);
    page.family("slipstream_outcome", "How the request of this boot ended: 1 for the outcome that it had.");
    for outcome in Outcome::ALL {
        let is = status["outcome"] == outcome.name();
        page.sample("slipstream_outcome", &[("outcome", outcome.name().to_owned())], f64::from(u8::from(is)));
    }
    page.family("slipstream_reboot_avoided", "Whether this boot runs the node image without a reboot.");
    let avoided = status["reboot"]["avoided"].as_bool().unwrap_or_default();
    page.sample("slipstream_reboot_avoided", &[], f64::from(u8::from(avoided)));
    if kernel["own"].is_string() {
        page.family("slipstream_kernel_differs", "Whether the node image runs on another kernel than its own.");
        let differs = kernel["differs"].as_bool().unwrap_or_default();
        page.sample("slipstream_kernel_differs", &[], f64::from(u8::from(differs)));
    }
    let stages = status["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, key, help) in [
        ("slipstream_stage_seconds", "seconds", "Time that each stage took."),
        ("slipstream_stage_bytes", "bytes", "Bytes that each stage moved."),
    ] {
        let samples: Vec<_> =
            stages.iter().filter_map(|stage| Some((text(&stage["name"]), stage[key].as_f64()?))).collect();
        if !samples.is_empty() {
            page.family(name, help);
        }
        for (stage, value) in samples {
            page.sample(name, &[("stage", stage)], value);
        }
    }
    page.0 + "# EOF\n"
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} gauge"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, String)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes what there is memory for");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_swap() {
        let status = json!({
            "slipstream": "1.0", "outcome": "swapped", "reboot": {"avoided": true},
            "kernel": {"running": "6.1", "own": "6.2", "differs": true}, "node_image": {"image": "a\"b\\c\nd"},
            "stages": [{"name": "import", "seconds": 1.5, "bytes": 1024}, {"name": "swap", "seconds": 0.25, "bytes": null}],
        });
        let page = metrics(&status);
        for line in [
            r#"slipstream_info{version="1.0",image="a\"b\\c\nd"} 1"#,
            r#"slipstream_outcome{outcome="swapped"} 1"#,
            r#"slipstream_outcome{outcome="failed"} 0"#,
            "slipstream_reboot_avoided 1",
            "slipstream_kernel_differs 1",
            r#"slipstream_stage_seconds{stage="swap"} 0.25"#,
            r#"slipstream_stage_bytes{stage="import"} 1024"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in {page}");
        }
        assert!(page.ends_with("\n# EOF\n") && !page.contains(r#"slipstream_stage_bytes{stage="swap"}"#), "{page}");
    }

    #[test]
    fn an_early_failure() {
        let status = json!({"outcome": "failed", "reboot": {"avoided": false}, "stages": [], "node_image": null});
        let page = metrics(&status);
        assert!(page.contains("slipstream_outcome{outcome=\"failed\"} 1\n"), "{page}");
        assert!(!page.contains("kernel_differs") && !page.contains("stage_"), "{page}");
    }
}
