//! A block as its options: how each block of `ossec.conf` is asked for one by name.

use crate::config::xml::Element;

/// The text of an option, without the blanks around it, and its line.
pub(super) type Written<'a> = (&'a str, usize);

impl Element {
    /// The text without the blanks around it.
    pub(super) fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// This element as an option.
    pub(super) fn written(&self) -> Written<'_> {
        (self.trimmed(), self.line)
    }

    /// All options of this name, empty ones too, in the order of the block.
    pub(super) fn options(&self, name: &str) -> impl DoubleEndedIterator<Item = &Self> {
        self.children.iter().filter(move |option| option.name == name)
    }

    /// The option of this name, if it is there and not empty. The last one counts, as in the stock daemon.
    pub(super) fn option(&self, name: &str) -> Option<Written<'_>> {
        self.options(name).map(Self::written).rfind(|(text, _)| !text.is_empty())
    }

    /// Where the option stands, empty or not, or else the block.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.options(name).next_back().map_or(self.line, |option| option.line)
    }
}
