//! The process: from the command line to the last thread.
//!
//! Order of a start: command line · log · configuration · user · control socket (which is also what keeps a second daemon
//! off the same home) · recovery of an interrupted update · cleaning of `queue/cluster` · listener · background · pid
//! file · threads. Everything that can fail is done before the first thread starts and, in the background, before the
//! starting process ends: whoever starts the daemon learns whether it runs.

mod arguments;
mod pid_file;
mod running;
mod version;

use std::{ffi::OsString, io, path::Path, process::ExitCode};

use log::{error, info, warn};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::{
    config::{Config, Home, NoteLevel, debug_level},
    logging::{self, LogFile, Scope, scope},
    system::{clock::Clock, memory, process, user},
};
use arguments::{Arguments, Order};
use pid_file::PidFile;
pub use running::{Prepared, Running};

/// The configuration is at fault, or the daemon could not start.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

/// What `main` does.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    memory::keep_small();
    match Arguments::parse(arguments) {
        Ok(Order::Help) => print!("{}", arguments::HELP),
        Ok(Order::Version) => print!("{}", version::text()),
        Ok(Order::Run(arguments)) => return run(&arguments),
        Err(error) => {
            eprintln!("wazuh-clusterd: {error}\nTry 'wazuh-clusterd -h'.");
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Arguments) -> ExitCode {
    let home = Home::find(arguments.home.as_deref());
    let scope = scope("Cluster", "Main");
    let log = match open_log(&home) {
        Ok(log) => log,
        Err(error) => {
            eprintln!(
                "wazuh-clusterd: {} cannot be written: {error}. Is {home} the installation (--home), and may this user \
                 write there?",
                home.log_file().display()
            );
            return ExitCode::from(FAILED);
        }
    };
    let level = logging::level(debug_level(&home, arguments.debug));
    logging::install(log.clone(), level, arguments.foreground || arguments.test);
    match start(arguments, home, &log, &scope) {
        Ok(code) => code,
        Err(failure) => {
            // With -f the log has told it already.
            if !arguments.foreground && !arguments.test {
                eprintln!("wazuh-clusterd: {failure}");
            }
            for line in failure.lines() {
                error!(target: &*scope, "{line}");
            }
            ExitCode::from(FAILED)
        }
    }
}

fn open_log(home: &Home) -> io::Result<LogFile> {
    let log = LogFile::open(home.log_file())?;
    if let Some(owner) = user::owner().filter(|_| user::is_root()) {
        log.give_to(owner.uid, owner.gid)?;
    }
    Ok(log)
}

fn start(arguments: &Arguments, home: Home, log: &LogFile, scope: &Scope) -> Result<ExitCode, String> {
    let loaded = Config::load(home, arguments.config.as_deref()).map_err(|faults| faults.to_string())?;
    let config = loaded.config;
    for note in &loaded.notes {
        match note.level {
            NoteLevel::Warning => warn!(target: &**scope, "{}", note.text),
            NoteLevel::Info => info!(target: &**scope, "{}", note.text),
        }
    }
    if config.cluster.disabled {
        info!(target: &**scope, "The cluster is disabled: <cluster> is missing, or says <disabled>yes</disabled>.");
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.test {
        println!("The configuration is good: {} '{}'.", config.cluster.node_type, config.cluster.node_name);
        return Ok(ExitCode::SUCCESS);
    }
    if user::is_root() && !arguments.stay_root {
        let owner = user::owner().ok_or_else(|| {
            format!("the user and the group '{}' do not exist; create them, or start with -r to stay root", user::NAME)
        })?;
        user::become_user(owner).map_err(|error| format!("the user '{}' cannot be taken: {error}", user::NAME))?;
    }
    process::raise_file_limit();
    let run_dir = config.home.run_dir();
    let prepared = Prepared::new(config, Clock::real())?;
    let starter = match arguments.foreground {
        true => {
            println!("Starting cluster in foreground (pid: {})", std::process::id());
            None
        }
        false => Some(process::detach().map_err(|error| format!("the background cannot be reached: {error}"))?),
    };
    // From here on a signal ends the daemon in order: what was written to the disk is removed again.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| error.to_string())?;
    let pid_file = PidFile::write(&run_dir)?;
    let running = prepared.start().map_err(|error| format!("a thread cannot be started: {error}"))?;
    if let Some(starter) = starter {
        starter.ready();
    }
    let signal = wait_for_end(&mut signals, log, scope);
    let left = running.stop();
    if left > 0 {
        warn!(target: &**scope, "{left} threads have not ended in time.");
    }
    drop(pid_file);
    if signal == SIGTERM {
        // The service manager is to see that the signal was what ended it.
        let _ = emulate_default_handler(SIGTERM);
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves signals until one orders to stop; gives that one.
fn wait_for_end(signals: &mut Signals, log: &LogFile, scope: &Scope) -> i32 {
    for signal in signals.forever() {
        match signal {
            SIGHUP => match log.reopen() {
                Ok(()) => info!(target: &**scope, "SIGNAL [(1)-(SIGHUP)] received. The log goes on in this file."),
                Err(error) => error!(target: &**scope, "The log cannot be opened again and goes on as it was: {error}"),
            },
            SIGTERM => {
                info!(target: &**scope, "SIGNAL [(15)-(SIGTERM)] received. Exit...");
                return signal;
            }
            _ => {
                info!(target: &**scope, "SIGINT received. Bye!");
                return signal;
            }
        }
    }
    SIGTERM
}

/// A sentence for a step of the start that failed at a path.
fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("{what} {}: {error}", path.display())
}
