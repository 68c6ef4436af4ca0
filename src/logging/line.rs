//! The text of a line, whatever the message contains: a peer must not be able to write lines of its own into the log.

use std::time::SystemTime;

use log::{Level, Record};
use serde::Serialize;

use crate::{
    config::settings::LogFormat,
    system::clock::{log_time, rfc3339},
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
            let line = format!("{} {level}: {scope} {message}", log_time(now));
            shortened(without_controls(line)) + "\n"
        }
        LogFormat::Json => {
            let tags: Vec<&str> = scope.trim_start_matches('[').trim_end_matches(']').split("] [").collect();
            let (timestamp, message) = (rfc3339(now).to_string(), shortened(message.to_string()));
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

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        let cut = text.len() - LONGEST;
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(&format!("… ({cut} more bytes)"));
    }
    text
}

/// Every control character by its escape.
fn without_controls(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
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
