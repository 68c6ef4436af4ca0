//! The text of a line, whatever the message contains: a peer must not be able to write lines of its own into the log.

use std::{
    fmt::{self, Write},
    time::SystemTime,
};

use log::{Level, Record};
use serde::Serialize;

use super::LogFormat;
use crate::system::{
    clock::{log_time, rfc3339},
    visible,
};

/// The longest text, in bytes: those of peers may be of any length.
const LONGEST: usize = 8 * 1024;

/// The line of `record`, with its end.
pub fn line(format: LogFormat, record: &Record<'_>, now: SystemTime) -> String {
    let level = match record.level() {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "DEBUG2",
    };
    // A record of another crate has its module path for a target.
    let scope = if record.target().starts_with('[') { record.target() } else { "[Cluster] [Main]" };
    let message = record.args();
    match format {
        LogFormat::Plain => {
            let mut text = Text::new(true);
            text.put(format_args!("{} {level}: {scope} {message}", log_time(now)));
            text.finish() + "\n"
        }
        LogFormat::Json => {
            let tags: Vec<&str> = scope.trim_start_matches('[').trim_end_matches(']').split("] [").collect();
            let mut text = Text::new(false);
            text.put(*message);
            let (timestamp, message) = (rfc3339(now).to_string(), text.finish());
            // Texts can always be written as JSON.
            serde_json::to_string(&Object { timestamp, level, tags, message }).unwrap_or_default() + "\n"
        }
    }
}

/// The members of a JSON line, in their order.
#[derive(Serialize)]
struct Object<'a> {
    timestamp: String,
    level: &'a str,
    tags: Vec<&'a str>,
    message: String,
}

/// Text that takes no more memory than it may have bytes, whatever is written to it.
struct Text {
    text: String,
    /// Whether what a terminal would obey becomes its escape.
    escapes: bool,
    /// Bytes that had no room.
    cut: usize,
}

impl Text {
    fn new(escapes: bool) -> Self {
        Self { text: String::new(), escapes, cut: 0 }
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to this cannot fail; what is shown may, and then ends where it does.
        let _ = self.write_fmt(arguments);
    }

    fn finish(mut self) -> String {
        if self.cut > 0 {
            self.text.push_str(&format!("… ({} more bytes)", self.cut));
        }
        self.text
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for (at, character) in more.char_indices() {
            if self.cut > 0 || self.text.len() + character.len_utf8() > LONGEST {
                self.cut += more.len() - at;
                return Ok(());
            }
            if self.escapes {
                visible::push(&mut self.text, character);
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn make(format: LogFormat, text: &str) -> String {
        let (target, args) = ("[Worker w1] [Integrity check]", format_args!("{text}"));
        line(format, &Record::builder().level(Level::Warn).target(target).args(args).build(), SystemTime::now())
    }

    #[test]
    fn a_message_is_one_line_whatever_it_contains() {
        assert!(make(LogFormat::Plain, "Grüße.").ends_with(" WARNING: [Worker w1] [Integrity check] Grüße.\n"));
        for format in [LogFormat::Plain, LogFormat::Json] {
            let forged = make(format, "x\n2026/11/23 10:29:25 ERROR: [Master] [Main] forged\x1b[2J");
            assert_eq!(forged.matches('\n').count(), 1);
            assert!(!forged.contains('\x1b'));
            let long = make(format, &"ä".repeat(LONGEST));
            assert!(long.len() < LONGEST + 300 && long.contains(" more bytes)"), "{}", long.len());
            let controls = make(format, &"\n".repeat(1 << 20));
            assert!(controls.len() < 2 * LONGEST + 300 && controls.contains(" more bytes)"), "{}", controls.len());
        }
    }

    #[test]
    fn a_json_line_is_an_object_of_four_members() {
        let text = make(LogFormat::Json, "two\n\"lines\"");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "WARNING");
        assert_eq!(value["tags"], json!(["Worker w1", "Integrity check"]));
        assert_eq!(value["message"], "two\n\"lines\"");
        assert_eq!(value["timestamp"].as_str().unwrap().len(), "2026-11-23T10:29:25.123+01:00".len());
        assert_eq!(value.as_object().unwrap().len(), 4);
        assert!(text.starts_with("{\"timestamp\":\"20"), "{text}");
    }
}
