//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use super::{BOUNDS, Histogram};

/// How the values of a family behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Durations by how long they were.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A text in the making: families, and their samples after them.
#[derive(Default)]
pub struct Text {
    out: String,
    family: &'static str,
}

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, value);
    }

    /// A family with one sample and no label.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let (counts, all) = (histogram.cumulative(), BOUNDS.len());
        for (bound, count) in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(counts) {
            self.line("_bucket", &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.line("_sum", labels, histogram.seconds());
        self.line("_count", labels, counts[all]);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let (out, family) = (&mut self.out, self.family);
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{family}{suffix}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn families_and_samples_have_the_documented_form() {
        let mut text = Text::default();
        text.single("up", Kind::Gauge, "Whether\nit \\ runs.", 1);
        text.family("x_total", Kind::Counter, "X.");
        text.sample(&[("name", "a\"b\\c\nd"), ("type", "é")], 0.25);
        assert_eq!(
            text.finish(),
            "# HELP up Whether\\nit \\\\ runs.\n# TYPE up gauge\nup 1\n# HELP x_total X.\n# TYPE x_total counter\n\
             x_total{name=\"a\\\"b\\\\c\\nd\",type=\"é\"} 0.25\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_its_durations() {
        let (mut text, histogram) = (Text::default(), Histogram::default());
        histogram.observe(Duration::from_secs(2));
        text.family("t_seconds", Kind::Histogram, "T.");
        text.histogram(&[("task", "a")], &histogram);
        let text = text.finish();
        assert!(text.contains("t_seconds_bucket{task=\"a\",le=\"1\"} 0\n"), "{text}");
        assert!(text.contains("t_seconds_bucket{task=\"a\",le=\"5\"} 1\n"), "{text}");
        assert!(
            text.contains("le=\"+Inf\"} 1\nt_seconds_sum{task=\"a\"} 2\nt_seconds_count{task=\"a\"} 1\n"),
            "{text}"
        );
    }
}
