// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account as metrics, for node-exporter's textfile collector: the text format of Prometheus, which with its last line
//! is OpenMetrics as well (<https://github.com/prometheus/OpenMetrics>).

use std::fmt::Write;

use crate::handoff::{Outcome, Stage, Status};

/// Name of the file in the run directory. The collector reads files that end in `.prom`.
pub const METRICS_FILE: &str = "slipstream.prom";

/// Returns the metrics of an account.
pub(super) fn metrics(status: &Status) -> String {
    let mut page = Page::default();
    page.family("slipstream_info", "What was asked for, and by which version.");
    let image = status.node_image().map(|node| node.image.as_str()).unwrap_or_default();
    page.sample("slipstream_info", &[("version", status.slipstream()), ("image", image)], 1.0);
    page.family("slipstream_outcome", "How the request of this boot ended: 1 for the outcome that it had.");
    for outcome in Outcome::ALL {
        page.sample("slipstream_outcome", &[("outcome", outcome.name())], truth(status.outcome() == *outcome));
    }
    page.family("slipstream_reboot_avoided", "Whether this boot runs the node image without a reboot.");
    page.sample("slipstream_reboot_avoided", &[], truth(status.reboot().avoided));
    if let (Some(_), Some(differs)) = (&status.kernel().node_image, status.kernel().differs) {
        page.family("slipstream_kernel_differs", "Whether the node image runs on another kernel than its own.");
        page.sample("slipstream_kernel_differs", &[], truth(differs));
    }
    let stages = status.stages();
    page.stages("slipstream_stage_seconds", "Time that each stage took.", stages, |stage| Some(stage.seconds));
    page.stages("slipstream_stage_bytes", "Bytes that each stage moved.", stages, |stage| {
        stage.bytes.map(|bytes| bytes as f64)
    });
    page.0 + "# EOF\n"
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} gauge"));
    }

    /// Adds a family with a sample of each stage that has a value, if there is one.
    fn stages(&mut self, name: &str, help: &str, stages: &[Stage], value: fn(&Stage) -> Option<f64>) {
        let samples: Vec<_> = stages.iter().filter_map(|stage| Some((stage.name.name(), value(stage)?))).collect();
        if !samples.is_empty() {
            self.family(name, help);
        }
        for (stage, value) in samples {
            self.sample(name, &[("stage", stage)], value);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
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
    use std::time::Duration;

    use super::*;
    use crate::VERSION;
    use crate::handoff::{Bootimage, Ending, Facts, NodeImage, StageName, Way};

    #[test]
    fn a_swap() {
        let stage = |name, time, bytes| Stage::new(name, Duration::from_millis(time), bytes);
        let facts = Facts {
            bootimage: Some(Bootimage { kernel: "6.1".to_owned(), ..Default::default() }),
            node_image: Some(NodeImage {
                image: "a\"b\\c\nd".to_owned(),
                kernel: Some("6.2".to_owned()),
                ..Default::default()
            }),
            stages: vec![stage(StageName::Import, 1500, Some(1024)), stage(StageName::Swap, 250, None)],
            ..Facts::default()
        };
        let page = metrics(&Status::new(facts, Ending::Swapped(Way::BootLink)));
        for line in [
            &format!(r#"slipstream_info{{version="{VERSION}",image="a\"b\\c\nd"}} 1"#),
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
        let page = metrics(&Status::new(Facts::default(), Ending::Failed("no network".to_owned())));
        assert!(page.contains("slipstream_outcome{outcome=\"failed\"} 1\n"), "{page}");
        assert!(!page.contains("kernel_differs") && !page.contains("stage_"), "{page}");
    }
}
