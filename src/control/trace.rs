//! What `-d` shows.

use std::io::{self, Write};

use crate::system::visible::visible;
use crate::{local::client::Passed, wire::Command};

/// Of a payload so much is shown, in characters.
const SHOWN: usize = 4000;

/// Writes a message to standard error as it passes.
pub(super) fn show(passed: Passed<'_>) {
    // Where standard error is closed, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", line(passed));
}

fn line(Passed { asked, sent, command, payload }: Passed<'_>) -> String {
    let arrow = if sent { "sent    " } else { "received" };
    let text = match asked {
        Command::Config if !sent => "(the configuration holds the key of the cluster and is not shown)".to_owned(),
        _ => visible(&String::from_utf8_lossy(payload).chars().take(SHOWN).collect::<String>()),
    };
    format!("DEBUG: {arrow} {command}, {} bytes: {text}", payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CommandField;

    #[test]
    fn messages_are_shown_without_the_key_of_the_cluster() {
        let passed =
            |asked, sent| Passed { asked, sent, command: CommandField::new(asked), payload: b"{\"key\": 1}\n" };
        assert_eq!(line(passed(Command::Nodes, true)), "DEBUG: sent     get_nodes, 11 bytes: {\"key\": 1}\\n");
        assert!(!line(passed(Command::Config, false)).contains("key\""));
    }
}
