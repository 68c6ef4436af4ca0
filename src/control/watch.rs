//! `--watch`: the same again and again, in place on a terminal, as one line of JSON each time with `--json`.
//!
//! ```text
//!  signals ──┐
//!  timer ────┼─► the loop ── ask ──► the thread that asks the daemon
//!            └──────────── ◄─ what came of it ─┘
//! ```
//! The daemon may be slow to answer, and Ctrl-C is not to wait for it.

use std::{
    io::{self, IsTerminal, Write},
    thread,
    time::{Duration, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use serde_json::Value;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{Exit, Output, arguments::Request, report, screen::Screen};
use crate::system::{clock::utc, terminal};

/// Shows what `obey` makes of the request every `period` until a signal ends it; gives the last verdict.
pub(super) fn watch(request: Request, period: Duration, obey: fn(&Request) -> Output) -> Exit {
    if let Some(fault) = fault(&request) {
        eprintln!("ERROR: {fault}");
        return Exit::WrongUsage;
    }
    let signals = match listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("ERROR: signals cannot be heard: {error}");
            return Exit::CannotAsk;
        }
    };
    let mut screen = (!request.json).then(|| Screen::enter(&head(period)));
    let (ask, told) = asker(request, obey);
    let (mut last, mut due) = (None, after(Duration::ZERO));
    loop {
        select! {
            // It has room for the one order: the answer to the one before has come.
            recv(due) -> _ => {
                let _ = ask.try_send(());
                due = never();
            }
            recv(told) -> output => {
                let Ok(output) = output else { return Exit::CannotAsk };
                due = after(period);
                let shown = show(screen.as_mut(), &output, &head(period));
                let exit = output.exit;
                last = Some(output);
                if shown.is_err() {
                    // Whoever read it has gone.
                    return exit;
                }
            }
            recv(signals) -> signal => match (signal, &mut screen) {
                (Ok(SIGWINCH), screen) => _ = screen.as_ref().map(Screen::redraw),
                (Ok(SIGTSTP), screen) => {
                    let stop = || _ = emulate_default_handler(SIGTSTP);
                    match screen {
                        Some(screen) => screen.while_away(stop),
                        None => stop(),
                    }
                }
                _ => return last.map_or(Exit::CannotAsk, |output| output.exit),
            },
        }
    }
}

/// Why it cannot be shown here.
fn fault(request: &Request) -> Option<&'static str> {
    if request.json {
        return None;
    }
    if !terminal::can_draw(&io::stdout()) {
        return Some(
            "--watch needs a terminal on which it can move; with --json it writes one line each time, to anywhere",
        );
    }
    // It would be drawn over.
    (request.debug && io::stderr().is_terminal())
        .then_some("-d writes where --watch draws; send it to a file, with 2>FILE")
}

/// The signals that come from now on.
fn listen() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH])?;
    let (tell, told) = bounded(8);
    // It ends with the process.
    thread::spawn(move || signals.forever().try_for_each(|signal| tell.send(signal)));
    Ok(told)
}

/// Asks whenever it is told to.
fn asker(request: Request, obey: fn(&Request) -> Output) -> (Sender<()>, Receiver<Output>) {
    let (ask, asked) = bounded(1);
    let (tell, told) = bounded(1);
    // It ends with the process.
    thread::spawn(move || asked.iter().try_for_each(|()| tell.send(obey(&request))));
    (ask, told)
}

fn show(screen: Option<&mut Screen>, output: &Output, head: &str) -> io::Result<()> {
    match screen {
        Some(screen) => screen.draw(head, output),
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(line(output).as_bytes())?;
            stdout.flush()
        }
    }
}

/// When it was, how often it comes, how it ends.
fn head(period: Duration) -> String {
    format!("{}, every {} s; Ctrl-C ends it.", utc(SystemTime::now()), period.as_secs_f64())
}

/// The document in one line.
fn line(output: &Output) -> String {
    report::line(&serde_json::from_str(&output.out).unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_one_line() {
        let output = Output { out: "{\n  \"a\": [\n    1\n  ]\n}\n".into(), err: String::new(), exit: Exit::InSync };
        assert_eq!(line(&output), "{\"a\":[1]}\n");
    }

    #[test]
    fn the_head_tells_the_period_as_it_was_given() {
        assert!(head(Duration::from_secs(2)).ends_with(" UTC, every 2 s; Ctrl-C ends it."));
        assert!(head(Duration::from_secs_f64(0.1)).ends_with(", every 0.1 s; Ctrl-C ends it."));
    }
}
