//! `--watch`: the same again and again, in place on a terminal, as one line of JSON each time with `--json`.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use serde_json::Value;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH},
    iterator::Signals,
};

use super::{Exit, Output, arguments::Request, obey, report};
use crate::system::{human, terminal};

/// Opens a screen beside what stands on the terminal, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Goes back to what stood there.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Shows what is asked for every `period` until a signal ends it; gives the last verdict.
pub(super) fn watch(request: &Request, period: Duration) -> Exit {
    let stdout = io::stdout();
    if !request.json && !stdout.is_terminal() {
        eprintln!("ERROR: --watch needs a terminal; with --json it writes one line each time, to anywhere");
        return Exit::WrongUsage;
    }
    let signals = match listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("ERROR: signals cannot be heard: {error}");
            return Exit::CannotAsk;
        }
    };
    let screen = (!request.json).then(Screen::enter);
    loop {
        let output = obey(request);
        let text = match &screen {
            Some(_) => frame(&output, period, terminal::window(&stdout)),
            None => line(&output),
        };
        if stdout.lock().write_all(text.as_bytes()).and_then(|()| stdout.lock().flush()).is_err() {
            // Whoever read it has gone.
            return output.exit;
        }
        match signals.recv_timeout(period) {
            Err(RecvTimeoutError::Timeout) | Ok(SIGWINCH) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return output.exit,
        }
    }
}

/// The signals that come from now on.
fn listen() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
    let (tell, told) = bounded(8);
    // It ends with the process.
    std::thread::spawn(move || signals.forever().try_for_each(|signal| tell.send(signal)));
    Ok(told)
}

/// The other screen; dropping it brings back the first.
struct Screen;

impl Screen {
    fn enter() -> Self {
        // A terminal that cannot be written to is noticed with the first frame.
        let _ = io::stdout().write_all(ENTER.as_bytes());
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = io::stdout().write_all(LEAVE.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

/// Draws over the frame before, so that nothing flickers. What is wider or longer than the window is cut.
fn frame(output: &Output, period: Duration, window: Option<(usize, usize)>) -> String {
    let (columns, lines) = window.unwrap_or((usize::MAX, usize::MAX));
    let head = format!("Every {}; Ctrl-C ends it.", human::short(period));
    let all: Vec<&str> = [head.as_str(), ""].into_iter().chain(output.out.lines()).chain(output.err.lines()).collect();
    let hidden = all.len().saturating_sub(lines);
    // The last line of the window tells of those that it has no room for.
    let shown = if hidden > 0 { lines.saturating_sub(1) } else { all.len() };
    let mut rows: Vec<String> = all[..shown].iter().map(|row| row.chars().take(columns).collect()).collect();
    if hidden > 0 {
        rows.push(format!("… {} lines more", hidden + 1).chars().take(columns).collect());
    }
    format!("{HOME}{}{REST_OF_LINE}{REST_OF_SCREEN}", rows.join(&format!("{REST_OF_LINE}\r\n")))
}

/// The document in one line.
fn line(output: &Output) -> String {
    serde_json::from_str::<Value>(&output.out)
        .map_or_else(|_| report::document(&Value::Null), |value| format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_window_and_covers_the_one_before() {
        let output = Output { out: "NAME  \nmaster\n".into(), err: "Not in sync: w1.\n".into(), exit: Exit::NotInSync };
        let drawn = |window| frame(&output, Duration::from_secs(2), window).replace('\x1b', "^");
        assert_eq!(
            drawn(None),
            "^[HEvery 2.00 s; Ctrl-C ends it.^[K\r\n^[K\r\nNAME  ^[K\r\nmaster^[K\r\nNot in sync: w1.^[K^[J"
        );
        assert_eq!(drawn(Some((5, 5))).matches("\r\n").count(), 4);
        assert_eq!(drawn(Some((16, 4))), "^[HEvery 2.00 s; Ct^[K\r\n^[K\r\nNAME  ^[K\r\n… 2 lines more^[K^[J");
    }

    #[test]
    fn a_document_becomes_one_line() {
        let output = Output { out: "{\n  \"a\": [\n    1\n  ]\n}\n".into(), err: String::new(), exit: Exit::InSync };
        assert_eq!(line(&output), "{\"a\":[1]}\n");
    }
}
