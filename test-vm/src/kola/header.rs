// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header of an external test, as kola reads it: YAML in comments, of which our tests use scalars and lists in
//! brackets. `mantle/kola/harness.go` in coreos-assembler is what kola does, docs/kola/external-tests.md what it means.
//! What kola would refuse or silently not see is refused here.

use anyhow::{Context, Result, bail, ensure};

/// How much of a file kola reads.
const LIMIT: usize = 8192;
/// The line before the header.
const START: &str = "## kola:";
/// The line of the older kind of header, in JSON.
const OLD_START: &str = "# kola:";
/// What kola does with a test that says nothing, in minutes: mantle/harness/harness.go.
const DEFAULT_TIMEOUT: u64 = 10;
/// Keys that kola has and that make no difference here: there is one platform, one architecture and one distribution.
const WITHOUT_EFFECT: &[&str] =
    &["architectures", "conflicts", "creationDate", "distros", "instanceType", "noInstanceCreds"];
/// Keys that kola has and that a machine of ours cannot be given.
const UNSUPPORTED: &[&str] = &[
    "additionalNics",
    "allowConfigWarnings",
    "bindMountHostRO",
    "bootFrom",
    "numaNodes",
    "primaryDisk",
    "requiredHostPorts",
];

/// What a test says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// One sentence.
    pub description: String,
    /// Where it runs; everywhere if empty. With `!` in front of the first: where it does not run.
    pub platforms: Vec<String>,
    /// What it can be chosen by.
    pub tags: Vec<String>,
    /// It runs only when this tag is asked for.
    pub required_tag: Option<String>,
    /// It has a machine to itself, and may reboot it.
    pub exclusive: bool,
    /// Minutes for the whole test.
    pub timeout_min: u64,
    /// Memory in MiB; the machine's own if 0.
    pub min_memory: u64,
    /// Disk in GB; ours has what our small images need.
    pub min_disk: u64,
    /// Sizes of empty disks.
    pub additional_disks: Vec<String>,
    /// The node image is wanted as an archive.
    pub inject_container: bool,
    /// Kernel arguments of every boot.
    pub append_kernel_args: String,
    /// Kernel arguments of the first boot.
    pub append_firstboot_kernel_args: String,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            description: String::new(),
            platforms: Vec::new(),
            tags: Vec::new(),
            required_tag: None,
            exclusive: true,
            timeout_min: DEFAULT_TIMEOUT,
            min_memory: 0,
            min_disk: 0,
            additional_disks: Vec::new(),
            inject_container: false,
            append_kernel_args: String::new(),
            append_firstboot_kernel_args: String::new(),
        }
    }
}

impl Header {
    /// Of the text of a test. Without a header everything has its default.
    pub fn parse(text: &str) -> Result<Self> {
        let mut header = Self::default();
        let Some(lines) = block(text)? else { return Ok(header) };
        let (mut indent, mut seen) = (None, Vec::new());
        for line in lines {
            let content = line.trim_start();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let depth = line.len() - content.len();
            ensure!(
                *indent.get_or_insert(depth) == depth,
                "reading `{content}`: it is not indented like the first key"
            );
            let (key, value) =
                content.split_once(':').with_context(|| format!("reading `{content}`: no `KEY: VALUE`"))?;
            ensure!(!seen.contains(&key), "reading key {key}: it is given twice");
            seen.push(key);
            let value = Value::parse(value).with_context(|| format!("reading key {key}"))?;
            header.set(key, value).with_context(|| format!("reading key {key}"))?;
        }
        header.check()?;
        Ok(header)
    }

    fn set(&mut self, key: &str, value: Value) -> Result<()> {
        match key {
            "description" => self.description = value.text()?,
            "platforms" => self.platforms = value.words()?,
            "tags" => self.tags = value.words()?,
            "requiredTag" => self.required_tag = Some(value.text()?),
            "exclusive" => self.exclusive = value.boolean()?,
            "timeoutMin" => self.timeout_min = value.number()?,
            "minMemory" => self.min_memory = value.number()?,
            "minDisk" => self.min_disk = value.number()?,
            "additionalDisks" => self.additional_disks = value.list()?,
            "injectContainer" => self.inject_container = value.boolean()?,
            "appendKernelArgs" => self.append_kernel_args = value.text()?,
            "appendFirstbootKernelArgs" => self.append_firstboot_kernel_args = value.text()?,
            _ if WITHOUT_EFFECT.contains(&key) => {}
            _ if UNSUPPORTED.contains(&key) => bail!("kola knows it, but the machines of test-vm cannot be made so"),
            _ => bail!("kola does not know it"),
        }
        Ok(())
    }

    /// What kola finds out late, or not at all.
    fn check(&self) -> Result<()> {
        let options = !self.additional_disks.is_empty()
            || !self.append_kernel_args.is_empty()
            || !self.append_firstboot_kernel_args.is_empty()
            || self.inject_container
            || self.min_memory + self.min_disk > 0;
        ensure!(
            self.exclusive || !options,
            "reading the header: a test that shares a machine cannot say what it is like"
        );
        ensure!(self.timeout_min > 0, "reading the header: timeoutMin is 0");
        Ok(())
    }

    /// Whether kola would run it on this platform.
    pub fn runs_on(&self, platform: &str) -> bool {
        match self.platforms.first().and_then(|first| first.strip_prefix('!')) {
            Some(first) => first != platform && !self.platforms[1..].iter().any(|other| other == platform),
            None => self.platforms.is_empty() || self.platforms.iter().any(|other| other == platform),
        }
    }
}

/// The lines of the header, without what makes them comments.
fn block(text: &str) -> Result<Option<Vec<&str>>> {
    let seen = text.get(..LIMIT.min(text.len())).unwrap_or(text);
    let mut lines = seen.lines();
    loop {
        match lines.next() {
            None => {
                ensure!(!text.contains(START), "looking for the header: kola reads only the first {LIMIT} bytes");
                return Ok(None);
            }
            Some(line) if line.starts_with(START) => break,
            Some(line) if line.starts_with(OLD_START) => bail!("reading the header: write it as YAML, after `{START}`"),
            Some(_) => {}
        }
    }
    let mut block = Vec::new();
    for line in lines {
        ensure!(!line.starts_with(START), "reading the header: there are two");
        match line.strip_prefix("## ") {
            Some(line) => block.push(line),
            None => return Ok(Some(block)),
        }
    }
    bail!("reading the header: it does not end within the first {LIMIT} bytes, and kola would not see it")
}

/// A value, as far as it can be told without its key.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// With quotation marks it is a text, whatever is in it.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<String>),
}

impl Value {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(list) = text.strip_prefix('[') {
            return Self::parse_list(list);
        }
        let (text, quoted, rest) = scalar(text, "")?;
        end(rest)?;
        ensure!(quoted || !text.is_empty(), "it has no value on its line");
        Ok(Self::Scalar { text, quoted })
    }

    fn parse_list(mut rest: &str) -> Result<Self> {
        let mut items = Vec::new();
        loop {
            let (item, quoted, after) = scalar(rest.trim_start(), ",]")?;
            ensure!(quoted || !item.is_empty(), "an item of the list is empty");
            items.push(item);
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(']') {
                end(after)?;
                return Ok(Self::List(items));
            }
            rest = after.strip_prefix(',').context("the list is not closed on its line")?;
        }
    }

    fn text(self) -> Result<String> {
        match self {
            Self::Scalar { text, .. } => Ok(text),
            Self::List(_) => bail!("it is a list, not a text"),
        }
    }

    fn words(self) -> Result<Vec<String>> {
        Ok(self.text()?.split_whitespace().map(str::to_owned).collect())
    }

    fn list(self) -> Result<Vec<String>> {
        match self {
            Self::List(items) => Ok(items),
            Self::Scalar { text, .. } => bail!("{text} is not a list: write [\"{text}\"]"),
        }
    }

    fn boolean(self) -> Result<bool> {
        match self {
            Self::Scalar { text, quoted: false } if text == "true" => Ok(true),
            Self::Scalar { text, quoted: false } if text == "false" => Ok(false),
            other => bail!("{other:?} is neither true nor false"),
        }
    }

    fn number(self) -> Result<u64> {
        match self {
            Self::Scalar { text, quoted: false } => text.parse().with_context(|| format!("{text} is not a number")),
            other => bail!("{other:?} is not a number"),
        }
    }
}

/// A scalar at the start of `text`, whether it was quoted, and what follows. A plain one goes up to a comment, to the end,
/// or to one of `ends`.
fn scalar<'a>(text: &'a str, ends: &str) -> Result<(String, bool, &'a str)> {
    let first = text.chars().next();
    if let Some(quote) = first.filter(|first| matches!(first, '"' | '\'')) {
        let (inner, rest) = text[1..].split_once(quote).context("a quotation mark is not closed")?;
        // Both kinds have escapes, and we need none.
        ensure!(!inner.contains('\\') && !rest.starts_with(quote), "escapes in quotation marks are not supported");
        return Ok((inner.to_owned(), true, rest));
    }
    let end = text.find(" #").unwrap_or(text.len());
    let end = text.find(|c| ends.contains(c)).map_or(end, |at| at.min(end));
    let (plain, rest) = text.split_at(if first == Some('#') { 0 } else { end });
    let plain = plain.trim_end();
    // https://yaml.org/spec/1.2.2/#733-plain-style
    let indicator = plain.starts_with(|c| "-?:,[]{}#&*!|>'\"%@`".contains(c));
    ensure!(!indicator && !plain.contains(": ") && !plain.ends_with(':'), "`{plain}` needs quotation marks in YAML");
    Ok((plain.to_owned(), false, rest))
}

/// Nothing but a comment may follow.
fn end(rest: &str) -> Result<()> {
    let trimmed = rest.trim_start();
    let comment = trimmed.starts_with('#') && trimmed.len() < rest.len();
    ensure!(trimmed.is_empty() || comment, "`{trimmed}` follows the value");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Header;

    /// The header of these lines.
    fn parse(lines: &[&str]) -> anyhow::Result<Header> {
        let lines: Vec<_> = lines.iter().map(|line| format!("##   {line}\n")).collect();
        Header::parse(&format!("#!/bin/bash\n## kola:\n{}#\nexit 0\n", lines.concat()))
    }

    #[test]
    fn values() {
        let default = Header::default();
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let table = [
            ("nothing", vec![], default.clone()),
            ("a comment", vec!["# why", "exclusive: false"], Header { exclusive: false, ..default.clone() }),
            ("a comment behind", vec!["exclusive: false  # why"], Header { exclusive: false, ..default.clone() }),
            ("words", vec!["platforms: qemu aws"], Header { platforms: strings(&["qemu", "aws"]), ..default.clone() }),
            ("an exclusion", vec!["platforms: '!aws'"], Header { platforms: strings(&["!aws"]), ..default.clone() }),
            (
                "a list",
                vec!["additionalDisks: [\"5G\", 10G]"],
                Header { additional_disks: strings(&["5G", "10G"]), ..default.clone() },
            ),
            (
                "numbers",
                vec!["minMemory: 4096", "timeoutMin: 3"],
                Header { min_memory: 4096, timeout_min: 3, ..default.clone() },
            ),
            (
                "quotes",
                vec!["description: \"a: b # c\""],
                Header { description: "a: b # c".to_owned(), ..default.clone() },
            ),
            ("a number sign", vec!["description: a#b"], Header { description: "a#b".to_owned(), ..default.clone() }),
            (
                "kernel arguments",
                vec!["appendFirstbootKernelArgs: a=b:c d"],
                Header { append_firstboot_kernel_args: "a=b:c d".to_owned(), ..default.clone() },
            ),
            ("no effect here", vec!["distros: fcos", "creationDate: 2026-01-01"], default.clone()),
        ];
        for (label, lines, expected) in table {
            assert_eq!(parse(&lines).unwrap_or_else(|error| panic!("{label}: {error:#}")), expected, "{label}");
        }
    }

    #[test]
    fn mistakes() {
        let table = [
            ("unknown", vec!["exclusiv: false"], "reading key exclusiv: kola does not know it"),
            ("unsupported", vec!["bootFrom: iso"], "reading key bootFrom: kola knows it, but"),
            ("twice", vec!["tags: a", "tags: b"], "reading key tags: it is given twice"),
            ("no colon", vec!["exclusive"], "reading `exclusive`: no `KEY: VALUE`"),
            ("indentation", vec!["tags: a", "  exclusive: false"], "reading `exclusive: false`: it is not indented"),
            (
                "a block list",
                vec!["additionalDisks:", "  - 5G"],
                "reading key additionalDisks: it has no value on its line",
            ),
            ("no list", vec!["additionalDisks: 5G"], "reading key additionalDisks: 5G is not a list: write [\"5G\"]"),
            ("an open list", vec!["additionalDisks: [\"5G\""], "the list is not closed on its line"),
            ("an empty item", vec!["additionalDisks: [5G, ]"], "an item of the list is empty"),
            ("a list as text", vec!["tags: [a]"], "reading key tags: it is a list, not a text"),
            ("no boolean", vec!["exclusive: no"], "is neither true nor false"),
            ("a quoted boolean", vec!["exclusive: \"true\""], "is neither true nor false"),
            ("no number", vec!["timeoutMin: 5min"], "reading key timeoutMin: 5min is not a number"),
            ("no time", vec!["timeoutMin: 0"], "timeoutMin is 0"),
            ("a tag of YAML", vec!["platforms: !aws"], "`!aws` needs quotation marks in YAML"),
            ("a colon", vec!["description: Verify: it"], "`Verify: it` needs quotation marks in YAML"),
            ("an open quote", vec!["description: \"a"], "a quotation mark is not closed"),
            ("more", vec!["description: \"a\" b"], "`b` follows the value"),
            ("shared and special", vec!["exclusive: false", "minDisk: 5"], "a test that shares a machine"),
        ];
        for (label, lines, expected) in table {
            let error = format!("{:#}", parse(&lines).expect_err(label));
            assert!(error.contains(expected), "{label}: {error}");
        }
    }

    #[test]
    fn blocks() {
        let far = format!("#!/bin/bash\n{}## kola:\n## tags: a\n#\n", "# x\n".repeat(3000));
        let open = format!("## kola:\n{}", "## # x\n".repeat(2000));
        let table = [
            ("none", "#!/bin/bash\nexit 0\n", Ok(true)),
            ("one that ends with code", "## kola:\n##   exclusive: false\nset -e\n## tags: [\n", Ok(false)),
            ("too far", &far, Err("kola reads only the first 8192 bytes")),
            ("no end", &open, Err("it does not end within the first 8192 bytes")),
            ("no end of the file", "## kola:\n## tags: a\n", Err("it does not end")),
            ("two", "## kola:\n## tags: a\n## kola:\n", Err("there are two")),
            ("JSON", "# kola: {\"exclusive\": false}\n", Err("write it as YAML")),
        ];
        for (label, text, expected) in table {
            match (Header::parse(text), expected) {
                (Ok(header), Ok(exclusive)) => assert_eq!(header.exclusive, exclusive, "{label}"),
                (Err(error), Err(expected)) => assert!(format!("{error:#}").contains(expected), "{label}: {error:#}"),
                (other, _) => panic!("{label}: {other:?}"),
            }
        }
    }

    #[test]
    fn platforms() {
        let table = [("", true), ("qemu aws", true), ("aws gcp", false), ("!aws", true), ("!aws qemu", false)];
        for (platforms, expected) in table {
            let platforms = platforms.split_whitespace().map(str::to_owned).collect();
            let header = Header { platforms, ..Header::default() };
            assert_eq!(header.runs_on("qemu"), expected, "{:?}", header.platforms);
        }
    }
}
