//! Reading what a node tells those who watch it, and insisting on its form.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::Node;

/// The setting with which a node can be watched, and where.
pub const LISTEN: &str = "queue/sockets/metrics.sock";

/// Status, head and body of the answer to a request for `path`.
pub fn fetch(node: &Node, path: &str) -> (u16, String, String) {
    let mut stream = UnixStream::connect(node.home.path(LISTEN)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}

/// The samples of `/metrics`: `name{label="value"}` and the value. Panics at everything that the text format of
/// Prometheus, version 0.0.4, does not allow.
pub fn metrics(node: &Node) -> BTreeMap<String, f64> {
    let (status, head, body) = fetch(node, "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    parse(&body)
}

fn parse(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'), "the last line has an end");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind, mut helped) = (String::new(), String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a help text").0.to_owned();
            assert!(families.insert(helped.clone()), "{helped} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, its) = rest.split_once(' ').expect("a type");
            assert_eq!(name, helped, "the type follows the help");
            assert!(["gauge", "counter", "histogram"].contains(&its), "{line}");
            assert_eq!(its == "counter", name.ends_with("_total"), "{line}");
            (family, kind) = (name.to_owned(), its.to_owned());
            assert!(is_name(&family), "{family}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').map_or((series, None), |(name, rest)| {
                (name, Some(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))))
            });
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            match kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            let names = label_names(labels.unwrap_or_default());
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{line}");
            assert_eq!(names.contains(&"le".to_owned()), suffix == "_bucket", "{line}");
            let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert_eq!(samples.insert(series.to_owned(), value), None, "{series} comes twice");
        }
    }
    check_histograms(&samples);
    samples
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names in `a="b",c="d"`; values may have escaped quotation marks.
fn label_names(mut text: &str) -> Vec<String> {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name}");
        names.push(name.to_owned());
        let mut end = None;
        let mut escaped = false;
        for (at, character) in rest.char_indices() {
            match character {
                _ if escaped => {
                    assert!(['\\', '"', 'n'].contains(&character), "{rest}");
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let after = &rest[end.expect("the value of a label ends") + 1..];
        text = after.strip_prefix(',').unwrap_or(after);
        assert!(text.len() < after.len() || after.is_empty(), "{after}");
    }
    names
}

/// Buckets grow with their bounds, and the last has everything.
fn check_histograms(samples: &BTreeMap<String, f64>) {
    let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, count) in samples.iter().filter(|(series, _)| series.contains("_bucket{")) {
        let (before, rest) = series.split_once("le=\"").unwrap();
        let bound: f64 = rest.trim_end_matches("\"}").replace("+Inf", "inf").parse().unwrap();
        histograms.entry(before.trim_end_matches(',').to_owned()).or_default().push((bound, *count));
    }
    for (series, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{series}: {buckets:?}");
        let (bound, all) = *buckets.last().unwrap();
        assert!(bound.is_infinite(), "{series}");
        let whole = series.replace("_bucket", "_count");
        let whole = if whole.ends_with('{') { whole.trim_end_matches('{').to_owned() } else { whole + "}" };
        assert_eq!(samples.get(&whole), Some(&all), "{whole}");
        assert!(samples.contains_key(&whole.replace("_count", "_sum")), "{whole}");
    }
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"\\\"\\\\\\n}\",c=\"\"} 1\n";
    assert_eq!(parse(good).len(), 1);
    for bad in [
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE b gauge\nb 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\"d=\"e\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"\\c\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=c} 1\n",
        "# HELP a A.\n# TYPE a gauge\nab 1\n",
        "# HELP a A.\n# TYPE a gauge\na NaN\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    ] {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let outcome = std::panic::catch_unwind(|| parse(bad));
        std::panic::set_hook(hook);
        assert!(outcome.is_err(), "{bad}");
    }
}
