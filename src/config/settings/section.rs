//! Taking typed values out of a JSON object, and noting everything that does not fit.
//!
//! A value that does not fit yields some value of its type, so that reading goes on; the faults tell that it must not
//! be used.

use std::{cell::RefCell, collections::HashMap, ops::RangeInclusive, path::Path, time::Duration};

use serde_json::{Map, Value};

use super::{
    super::fault::{Code, Fault, printable},
    lines::{self, SEPARATOR},
};
use crate::system::spelling;

/// Collects the faults of one file.
pub(super) struct Sink<'a> {
    file: &'a Path,
    lines: HashMap<String, usize>,
    faults: RefCell<Vec<Fault>>,
}

impl<'a> Sink<'a> {
    /// `text` is the valid JSON of the file.
    pub(super) fn new(file: &'a Path, text: &str) -> Self {
        Self { file, lines: lines::index(text), faults: RefCell::default() }
    }

    /// Notes that the value at `path` is wrong.
    pub(super) fn fault(&self, path: &str, problem: &str, found: &str, remedy: &str) {
        self.note(path, problem, remedy, |fault| fault.found(found));
    }

    /// [`Sink::fault`] about a value that may be a key, and so is not shown; `detail` may tell what it is like.
    fn hidden_fault(&self, path: &str, problem: &str, detail: Option<String>, remedy: &str) {
        self.note(path, problem, remedy, |fault| match detail {
            Some(detail) => fault.detail(detail),
            None => fault,
        });
    }

    fn note(&self, path: &str, problem: &str, remedy: &str, with_more: impl FnOnce(Fault) -> Fault) {
        // A member that the file leaves out is blamed on the closest one around it.
        let mut known = Some(path);
        let line = loop {
            let Some(path) = known else { break None };
            if let Some(line) = self.lines.get(path) {
                break Some(*line);
            }
            known = path.rsplit_once(SEPARATOR).map(|(around, _)| around);
        };
        let fault = Fault::new(Code::Settings, self.file, format!("{path} {problem}"), remedy).line(line);
        self.faults.borrow_mut().push(with_more(fault));
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }
}

/// One object: its members are taken one by one, and what nobody took is a fault.
pub(super) struct Section<'a> {
    sink: &'a Sink<'a>,
    path: String,
    members: Map<String, Value>,
    taken: Vec<String>,
}

impl<'a> Section<'a> {
    pub(super) fn new(sink: &'a Sink<'a>, path: String, value: Value) -> Self {
        let members = match value {
            Value::Object(members) => members,
            other => {
                let shown = if path.is_empty() { "the file" } else { &path };
                sink.hidden_fault(shown, "is not an object", Some(kind(&other)), "write an object in braces");
                Map::new()
            }
        };
        Self { sink, path, members, taken: Vec::new() }
    }

    /// Where faults go.
    pub(super) fn sink(&self) -> &'a Sink<'a> {
        self.sink
    }

    /// The path of a member.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { [&self.path, name].join(SEPARATOR) }
    }

    /// Notes a fault about a member.
    pub(super) fn fault(&self, name: &str, problem: &str, found: &str, remedy: &str) {
        self.sink.fault(&self.path_of(name), problem, found, remedy);
    }

    /// Notes a fault about a member that may be a key.
    pub(super) fn hidden_fault(&self, name: &str, problem: &str, detail: Option<String>, remedy: &str) {
        self.sink.hidden_fault(&self.path_of(name), problem, detail, remedy);
    }

    /// Names of the members that nobody took so far.
    pub(super) fn names_left(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Whether a member is there, and `null`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(Value::is_null)
    }

    /// Takes a member as it is. It is missing only where its whole section is wrong, which was noted already.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.taken.push(name.to_owned());
        self.members.shift_remove(name)
    }

    pub(super) fn section(&mut self, name: &str) -> Self {
        let value = self.take(name).unwrap_or_else(|| Map::new().into());
        Section::new(self.sink, self.path_of(name), value)
    }

    /// Takes a member that `convert` accepts; `what` describes those.
    pub(super) fn convert<T>(
        &mut self,
        name: &str,
        what: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(name)?;
        let converted = convert(&value);
        if converted.is_none() {
            let found = format!("found {}", printable(&described(&value)));
            self.hidden_fault(name, "is not acceptable", Some(found), &format!("write {what}"));
        }
        converted
    }

    /// A time in seconds, fractions allowed; never so short that a loop of this period would keep a processor busy.
    pub(super) fn seconds(&mut self, name: &str) -> Duration {
        Duration::from_secs_f64(self.fraction(name, "seconds, ", 0.01..=604_800.0))
    }

    pub(super) fn fraction(&mut self, name: &str, unit: &str, range: RangeInclusive<f64>) -> f64 {
        let what = format!("a number ({unit}{} to {})", range.start(), range.end());
        let fallback = *range.start();
        self.convert(name, &what, |value| value.as_f64().filter(|number| range.contains(number))).unwrap_or(fallback)
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let fallback = *range.start();
        self.convert(name, &what, |value| value.as_u64().filter(|number| range.contains(number))).unwrap_or(fallback)
    }

    /// A small number; the range is one of `u32`.
    pub(super) fn count(&mut self, name: &str, range: RangeInclusive<u32>) -> u32 {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        u32::try_from(self.number(name, range)).unwrap_or(u32::MAX)
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.convert(name, "true or false", Value::as_bool).unwrap_or_default()
    }

    /// A list of texts, each of which `fits`; `what` describes the list.
    pub(super) fn texts(&mut self, name: &str, what: &str, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let text = |value: &Value| value.as_str().filter(|text| fits(text)).map(str::to_owned);
        self.convert(name, what, |value| value.as_array()?.iter().map(text).collect()).unwrap_or_default()
    }

    /// Notes every member that nobody took. Their values are not shown: one may be a key at the wrong place.
    pub(super) fn finish(self) {
        let known = || self.taken.iter().map(String::as_str);
        for name in self.members.keys() {
            let remedy = spelling::did_you_mean(name, known())
                .unwrap_or_else(|| format!("remove it; known here are: {}", self.taken.join(", ")));
            self.hidden_fault(name, "is not a setting", None, &remedy);
        }
    }
}

/// A value with its type, where the text alone may be that of another type.
fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {}", Value::from(text.as_str())),
        Value::Number(number) => format!("the number {number}"),
        other => other.to_string(),
    }
}

/// What a value is, without its text.
fn kind(value: &Value) -> String {
    match value {
        Value::String(_) => "found a string".to_owned(),
        Value::Array(_) => "found a list".to_owned(),
        Value::Object(_) => "found an object".to_owned(),
        scalar => format!("found {}", described(scalar)),
    }
}
