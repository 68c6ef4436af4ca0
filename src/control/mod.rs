//! The program `cluster_control`.
//!
//! ```text
//! arguments ──► Request ──► nodes / health / agents / keys / drift / deletions / forget / registration ─► LocalClient ─► daemon
//!                  │             │
//!                  ▼             ▼
//!                watch ◄── Output: text or JSON, remarks, exit code ──► stdout, stderr, the shell
//! ```
//! It asks the daemon of this machine and shows what it says, in the tables of the stock daemon or as JSON. Nothing is
//! written before all is known, so an error never follows half a table.

mod agents;
mod arguments;
mod deletions;
mod drift;
mod exit;
mod failover;
mod failure;
mod forget;
mod health;
mod help;
mod keys;
mod moment;
mod nodes;
mod not_running;
mod output;
mod paint;
mod promote;
mod registration;
mod report;
mod screen;
mod status;
mod switch_master;
mod table;
mod trace;
mod watch;

#[cfg(test)]
use std::ffi::OsString;
use std::{
    io::{self, Write},
    process::ExitCode,
};

use arguments::{Action, Fault, Request};
pub use exit::Exit;
pub use output::Output;
use paint::Paint;
use registration::Registrar;

use crate::{config::Home, local::client::LocalClient};

/// The program: reads the arguments of this process, writes the output and gives the exit code.
pub fn main() -> ExitCode {
    let paint = Paint::of_stdout();
    let painted = |request| Request { paint, ..request };
    let output = match arguments::parse(std::env::args_os().skip(1)).map(painted) {
        Ok(request @ Request { watch: Some(period), .. }) => return watch::watch(request, period, obey).into(),
        parsed => answer(parsed),
    };
    // Where standard error is closed, there is nobody to tell.
    let _ = io::stderr().write_all(output.err.as_bytes());
    match io::stdout().write_all(output.out.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "ERROR: the output could not be written: {error}");
            Exit::CannotAsk.into()
        }
        _ => output.exit.into(),
    }
}

/// Does what `arguments`, without the program's name, ask for.
#[cfg(test)]
fn run(arguments: impl IntoIterator<Item = OsString>) -> Output {
    answer(arguments::parse(arguments))
}

fn answer(parsed: Result<Request, Fault>) -> Output {
    match parsed {
        Ok(request) => obey(&request),
        Err(fault) => Output {
            out: String::new(),
            err: format!("ERROR: {fault}\nTry 'cluster_control -h'.\n"),
            exit: Exit::WrongUsage,
        },
    }
}

fn obey(request: &Request) -> Output {
    let outcome = match &request.action {
        Action::Help => return Output::text(help::help()),
        Action::Usage => return Output::text(help::examples()),
        Action::Version => return Output::text(help::version()),
        Action::Nodes => nodes::show(&client(request), request),
        Action::Agents => agents::show(&client(request), &request.nodes, &request.statuses, request.json),
        Action::Keys => keys::show(&client(request), request),
        Action::ConfigDiff => drift::show(&client(request), &request.nodes, request.json),
        Action::ConfirmDeletions => deletions::confirm(&client(request), &request.nodes, request.json),
        Action::Forget(name) => forget::forget(&client(request), name, request.json),
        Action::FailoverStatus => failover::show(&client(request), request.json),
        Action::Promote => promote::promote(client(request), request.force, request.json),
        Action::SwitchMaster(to) => switch_master::switch(&client(request), to, request.json),
        Action::AddAgent(name) => registrar(request).add(name, request),
        Action::RemoveAgent(id) => registrar(request).remove(id, request.purge, request.json),
        Action::AgentKey(id) => registrar(request).key(id, request.json),
        Action::Health { more } => health::show(&client(request), request, *more),
    };
    outcome.unwrap_or_else(|failure| failure.output(request, &home(request)))
}

fn registrar(request: &Request) -> Registrar {
    Registrar::new(client(request), home(request))
}

fn home(request: &Request) -> Home {
    Home::find(request.home.as_deref())
}

fn client(request: &Request) -> LocalClient {
    let client = LocalClient::new(home(request).control_socket());
    if request.debug { client.with_watch(trace::show) } else { client }
}

#[cfg(test)]
mod tests;
