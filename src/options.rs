//! The options of a program: one table feeds its parser and its help. The man pages and the completions stand in `etc/`,
//! where a test compares them with the help (`tests/programs/documents.rs`).

use std::fmt::Write;

use crate::system::spelling;

/// An option as people type it, and its line in the help.
pub struct Flag<Id> {
    /// What it means to the program.
    pub id: Id,
    /// Without its dash; empty if there is none.
    pub short: &'static str,
    /// Without its dashes; empty if there is none.
    pub long: &'static str,
    /// What follows it.
    pub value: &'static str,
    /// A sentence.
    pub help: &'static str,
}

/// One line of a table.
pub const fn flag<Id>(
    id: Id,
    short: &'static str,
    long: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag<Id> {
    Flag { id, short, long, value, help }
}

impl<Id> Flag<Id> {
    /// Whether it is typed as `-short`.
    pub fn is_short(&self, short: &str) -> bool {
        !short.is_empty() && self.short == short
    }

    /// Whether it is typed as `--long`.
    pub fn is_long(&self, long: &str) -> bool {
        !long.is_empty() && self.long == long
    }

    /// What a message calls it: `-short`, or else `--long`.
    pub fn name(&self) -> String {
        if self.short.is_empty() { format!("--{}", self.long) } else { format!("-{}", self.short) }
    }

    fn head(&self) -> String {
        let head = match (self.short, self.long) {
            (short, "") => format!("-{short} {}", self.value),
            ("", long) => format!("     --{long} {}", self.value),
            (short, long) => format!("{:<4} --{long} {}", format!("-{short},"), self.value),
        };
        head.trim_end().to_owned()
    }
}

/// What is told of an option that is in no table, such as `--verison`.
pub fn unknown<Id>(typed: &str, flags: &[Flag<Id>]) -> String {
    let short = flags.iter().filter(|flag| !flag.short.is_empty()).map(|flag| format!("-{}", flag.short));
    let long = flags.iter().filter(|flag| !flag.long.is_empty()).map(|flag| format!("--{}", flag.long));
    let known: Vec<_> = long.chain(short).collect();
    match spelling::did_you_mean(typed, known.iter().map(String::as_str)) {
        Some(question) => format!("the option {typed} is not known; {question}"),
        None => format!("the option {typed} is not known"),
    }
}

/// The lines of the help, the texts one below the other.
pub fn help<Id>(flags: &[Flag<Id>]) -> String {
    let width = flags.iter().map(|flag| flag.head().len()).max().unwrap_or_default();
    let mut text = String::new();
    for flag in flags {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<width$}  {}", flag.head(), flag.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_one_below_the_other() {
        let flags = [
            flag((), "c", "", "FILE", "Read it."),
            flag((), "", "json", "", "Print it."),
            flag((), "V", "version", "", "Show it."),
            flag((), "fn", "filter-node", "NODE...", "Only these."),
        ];
        let expected = [
            "  -c FILE                     Read it.\n",
            "       --json                 Print it.\n",
            "  -V,  --version              Show it.\n",
            "  -fn, --filter-node NODE...  Only these.\n",
        ];
        assert_eq!(help(&flags), expected.concat());
    }

    #[test]
    fn what_has_no_name_is_not_found_by_it() {
        let flag = flag((), "c", "", "FILE", "Read it.");
        assert!(flag.is_short("c") && !flag.is_long("") && !flag.is_short(""));
    }

    #[test]
    fn messages_name_an_option_and_what_resembles_it() {
        let flags = [flag((), "l", "list-nodes", "", ""), flag((), "", "ip", "", ""), flag((), "V", "", "", "")];
        assert_eq!(flags.each_ref().map(Flag::name), ["-l", "--ip", "-V"]);
        assert_eq!(unknown("--list-node", &flags), "the option --list-node is not known; did you mean --list-nodes?");
        assert_eq!(unknown("-v", &flags), "the option -v is not known; did you mean -V?");
        assert_eq!(unknown("-x", &flags), "the option -x is not known");
        assert_eq!(unknown("--", &flags), "the option -- is not known");
    }
}
