//! The lines of all agents in one piece of memory, as they stand in the file: at a hundred thousand agents a little more
//! than the file itself, and ready to be written.

use std::ops::Range;

use super::address::without_prefix;
use crate::agents::client_keys::{Key, number};

/// Where an agent stands in its table, as long as it is there.
pub(super) type Place = usize;

/// Where the parts of a line begin, in bytes; the id is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Starts {
    name: u16,
    ip: u16,
    key: u16,
}

impl Starts {
    fn of(key: Key<'_>) -> Self {
        // No line is longer than what fits.
        let name = key.id.len() as u16 + 1;
        let ip = name + key.name.len() as u16 + 1;
        Self { name, ip, key: ip + key.ip.len() as u16 + 1 }
    }

    fn id(self, line: &str) -> &str {
        &line[..usize::from(self.name) - 1]
    }

    pub(super) fn name(self, line: &str) -> &str {
        &line[usize::from(self.name)..usize::from(self.ip) - 1]
    }

    pub(super) fn ip(self, line: &str) -> &str {
        &line[usize::from(self.ip)..usize::from(self.key) - 1]
    }

    fn key(self, line: &str) -> &str {
        &line[usize::from(self.key)..]
    }

    pub(super) fn number(self, line: &str) -> &str {
        number(self.id(line))
    }

    pub(super) fn address(self, line: &str) -> &str {
        without_prefix(self.ip(line))
    }
}

/// An agent, as its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agent {
    line: Box<str>,
    starts: Starts,
}

impl Agent {
    /// The whole line, without its end.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// As it is written.
    pub(super) fn id(&self) -> &str {
        self.starts.id(&self.line)
    }

    pub(super) fn name(&self) -> &str {
        self.starts.name(&self.line)
    }

    /// As it is written, with a prefix if it has one.
    pub(super) fn ip(&self) -> &str {
        self.starts.ip(&self.line)
    }

    pub(super) fn key(&self) -> &str {
        self.starts.key(&self.line)
    }
}

/// A part of a line.
pub(super) type Part = fn(Starts, &str) -> &str;

/// The lines, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Each with its end. That of an agent that was removed stays, too; it is not shown any more.
    text: String,
    places: Vec<Line>,
    /// All lines that begin before this byte of the text are as they were when it was set.
    settled: usize,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    /// Without its end; 0 if the agent was removed.
    length: u16,
    starts: Starts,
}

impl Line {
    fn is_there(self) -> bool {
        self.length > 0
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + usize::from(self.length)
    }
}

impl Lines {
    /// Adds a line that is not longer than 65 535 bytes.
    pub(super) fn push(&mut self, agent: Key<'_>) -> Place {
        let Key { id, name, ip, key } = agent;
        let start = self.text.len();
        self.settled = self.settled.min(start);
        for part in [id, " ", name, " ", ip, " ", key] {
            self.text.push_str(part);
        }
        let length = (self.text.len() - start) as u16;
        self.text.push('\n');
        self.places.push(Line { start: start as u32, length, starts: Starts::of(agent) });
        self.places.len() - 1
    }

    /// How many places there are, also of those who were removed.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// The agent at a place; none if it was removed.
    pub(super) fn agent(&self, at: Place) -> Option<Agent> {
        let line = self.places.get(at).filter(|line| line.is_there())?;
        Some(Agent { line: self.text[line.range()].into(), starts: line.starts })
    }

    /// Whether an agent is there.
    pub(super) fn agent_is_there(&self, at: Place) -> bool {
        self.places[at].is_there()
    }

    /// A part of a line that is there.
    pub(super) fn part(&self, at: Place, part: Part) -> &str {
        let line = self.places[at];
        part(line.starts, &self.text[line.range()])
    }

    /// Takes an agent out.
    pub(super) fn remove(&mut self, at: Place) -> Option<Agent> {
        let agent = self.agent(at)?;
        self.settled = self.settled.min(self.places[at].start as usize);
        self.places[at].length = 0;
        Some(agent)
    }

    /// What is to be written, in pieces.
    pub(super) fn text(&self) -> impl Iterator<Item = &str> {
        self.runs().map(|run| &self.text[run])
    }

    /// Lines behind each other that are there, with their ends.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let runs = self.places.chunk_by(|one, next| one.is_there() == next.is_there());
        runs.filter(|run| run[0].is_there()).map(|run| run[0].range().start..run[run.len() - 1].range().end + 1)
    }

    /// All of it is written.
    pub(super) fn settle(&mut self) {
        self.settled = self.text.len();
    }

    /// How many bytes at its beginning are those that were written last.
    pub(super) fn settled(&self) -> usize {
        self.runs().map(|run| run.end.min(self.settled).saturating_sub(run.start)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_left_is_one_piece() {
        let mut lines = Lines::default();
        let key = |id, ip| Key { id, name: "n", ip, key: "k k" };
        let places = [key("001", "any"), key("02", "10.0.0.0/8"), key("3", "any")].map(|key| lines.push(key));
        let text = |lines: &Lines| lines.text().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(text(&lines), ["001 n any k k\n02 n 10.0.0.0/8 k k\n3 n any k k\n"]);
        let parts = [Starts::number, Starts::name, Starts::ip, Starts::address].map(|part| lines.part(places[1], part));
        assert_eq!(parts, ["2", "n", "10.0.0.0/8", "10.0.0.0"]);
        let gone = lines.remove(places[1]).unwrap();
        assert_eq!((gone.id(), gone.name(), gone.ip(), gone.key()), ("02", "n", "10.0.0.0/8", "k k"));
        assert_eq!((lines.remove(places[1]), lines.agent(places[1]), lines.places()), (None, None, 3));
        assert_eq!(text(&lines), ["001 n any k k\n", "3 n any k k\n"]);
        assert!(lines.remove(places[0]).is_some() && lines.remove(places[2]).is_some());
        assert!(text(&lines).is_empty());
    }

    #[test]
    fn what_was_written_and_has_not_changed_since_is_known() {
        let mut lines = Lines::default();
        let push = |lines: &mut Lines| lines.push(Key { id: "001", name: "n", ip: "any", key: "k" });
        let length = "001 n any k\n".len();
        let places: Vec<_> = (0..5).map(|_| push(&mut lines)).collect();
        assert_eq!(lines.settled(), 0, "nothing was written");
        lines.settle();
        assert_eq!(lines.settled(), 5 * length);
        push(&mut lines);
        assert_eq!(lines.settled(), 5 * length);
        lines.remove(places[3]).unwrap();
        assert_eq!(lines.settled(), 3 * length);
        lines.settle();
        assert_eq!(lines.settled(), 5 * length);
        lines.remove(places[4]).unwrap();
        assert_eq!(lines.settled(), 3 * length, "what is gone does not count");
    }
}
