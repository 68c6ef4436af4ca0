//! An input that is read from its start, as the parts that a target needs.

use clusterd::wire::CommandField;

/// Stands between two parts. No text in UTF-8 has it, so inputs can be read and written by people.
const END: u8 = 0xff;

/// What is left of an input.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; zero at the end.
    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// One of these, by the next byte.
    pub fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// The bytes before the next end of a part.
    pub fn part(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == END);
        let part = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        part
    }

    /// [`Input::part`] as a text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.part()).into_owned()
    }

    /// A command, by its name: what stands before the first blank, as far as there is room for it in a header.
    pub fn command(&mut self) -> CommandField {
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        let (mut field, length) = ([b'-'; 12], end.min(11));
        field[..length].copy_from_slice(&self.0[..length]);
        field[length] = b' ';
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        CommandField::received(field)
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
