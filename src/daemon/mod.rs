//! The process: from the command line to the last thread.
//!
//! Order of a start: command line · protection of the memory · leaving the first process of a container · log ·
//! configuration · directories · user · control socket (which is also what keeps a second daemon off the same home) ·
//! recovery of an interrupted update · cleaning of `queue/cluster` · listener · background · pid file · threads. Everything
//! that can fail is done before the first thread starts and, in the background, before the starting process ends: whoever
//! starts the daemon learns whether it runs.

mod arguments;
mod candidate;
mod executor;
mod notes;
mod own_address;
mod pid_file;
mod places;
mod reload;
mod running;
mod signals;
mod supervision;
mod version;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGTERM},
    low_level::emulate_default_handler,
};

use crate::{
    config::{Cluster, ClusterKey, Config, Home, NodeType, debug_level, logging_settings},
    election::Candidate,
    failover::hooks::Hooks,
    local::Role,
    logging::{self, LogFile, Output, Scope, error, info, scope, warn},
    node::Node,
    system::{clock::Clock, first_process, memory, process, service_manager::ServiceManager, user},
    tasks::haproxy_helper,
};
use arguments::{Arguments, Order};
use notes::tell;
use own_address::OwnAddress;
use pid_file::PidFiles;
use reload::Reload;
pub use running::{Prepared, Running};
use signals::{Inbox, Next};
use supervision::Supervision;

/// The configuration is at fault, or the daemon could not start.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

/// What `main` does.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    memory::keep_small();
    match Arguments::parse(arguments) {
        Ok(Order::Help) => say(&arguments::help()),
        Ok(Order::Version) => say(&version::text()),
        Ok(Order::GenerateKey) => match ClusterKey::random() {
            Ok(key) => say(&format!("{}\n", key.expose())),
            Err(error) => {
                eprintln!("wazuh-clusterd: cannot generate a key: {error}");
                return ExitCode::from(FAILED);
            }
        },
        Ok(Order::Run(arguments)) => return run(&arguments),
        Err(error) => {
            eprintln!("wazuh-clusterd: {error}\nTry 'wazuh-clusterd -h'.");
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Arguments) -> ExitCode {
    let hung_up = match make_ready() {
        Ok(hung_up) => hung_up,
        Err(failure) => {
            eprintln!("wazuh-clusterd: {failure}");
            return ExitCode::from(FAILED);
        }
    };
    let home = Home::find(arguments.home.as_deref());
    let scope = scope("Cluster", "Main");
    let log = open_log(arguments, &home, &scope);
    match start(arguments, home, &log, &scope, &hung_up) {
        Ok(code) => code,
        Err(failure) => {
            // With -f the log has told it already.
            if !arguments.foreground && !arguments.test {
                eprintln!("wazuh-clusterd: {failure}");
            }
            for line in failure.lines() {
                error!(scope, "{line}");
            }
            if !arguments.test {
                ServiceManager::of_this_process().status(failure.lines().next().unwrap_or_default());
            }
            ExitCode::from(FAILED)
        }
    }
}

/// What must be so before anything is read; the result tells whether SIGHUP has come meanwhile.
fn make_ready() -> Result<Arc<AtomicBool>, String> {
    process::protect().map_err(|error| format!("cannot disable core dumps: {error}"))?;
    first_process::leave()
        .map_err(|error| format!("cannot start a process as the first process of a container: {error}"))?;
    signals::note_hangup().map_err(|error| format!("cannot install signal handlers: {error}"))
}

fn open_log(arguments: &Arguments, home: &Home, scope: &Scope) -> Output {
    let (debug, logging) = (debug_level(home, arguments.debug), logging_settings(home));
    let owner = user::owner().filter(|_| user::is_root());
    let log = LogFile::new(home.log_dir(), logging, owner);
    if !arguments.test {
        places::make_first(home, &log);
    }
    if let Err(error) = log.open() {
        // It is opened as soon as that is possible; until then there is only standard error.
        eprintln!(
            "wazuh-clusterd: {} cannot be written: {error}; check that {home} is the Wazuh home (--home) and that this user may \
             write there. The daemon continues without this log.",
            home.log_file().display()
        );
    }
    let log = logging::install(log, debug, arguments.foreground || arguments.test);
    if debug < arguments.debug.min(2) {
        info!(scope, "-d has no effect: wazuh_clusterd.debug of the internal options decides, as it is not 0.");
    }
    log
}

fn start(
    arguments: &Arguments,
    home: Home,
    log: &Output,
    scope: &Scope,
    hung_up: &AtomicBool,
) -> Result<ExitCode, String> {
    let loaded = Config::load(home, arguments.config.as_deref()).map_err(|faults| faults.to_string())?;
    let config = loaded.config;
    tell(&loaded.notes, scope);
    if config.cluster.disabled {
        say_disabled(arguments, scope);
        return Ok(ExitCode::SUCCESS);
    }
    let file = arguments.config.clone().unwrap_or_else(|| config.home.ossec_conf());
    let own_address = OwnAddress::of(&config.cluster, &file);
    if arguments.test {
        let _ = own_address.check(scope);
        judge(&config, arguments, scope)?;
        return Ok(ExitCode::SUCCESS);
    }
    if user::is_root() && !arguments.stay_root {
        become_owner(&config)?;
    }
    tell_of_executor(&config, scope);
    process::raise_file_limit();
    serve(arguments, config, own_address, (log, scope), hung_up)
}

/// The end of a daemon whose node is in no cluster.
fn say_disabled(arguments: &Arguments, scope: &Scope) {
    let reason = "The cluster is disabled: <cluster> says <disabled>yes</disabled>.";
    info!(scope, "{reason}");
    if !arguments.test {
        // One that is never told READY takes the end for a failure, and starts it again.
        let manager = ServiceManager::of_this_process();
        manager.status(reason);
        manager.ready();
        manager.stopping();
    }
}

/// `-t`: says how good the configuration is.
///
/// # Errors
/// What keeps the daemon from starting.
fn judge(config: &Config, arguments: &Arguments, scope: &Scope) -> Result<(), String> {
    places::check(config, arguments.stay_root, scope)?;
    if let Err(problem) = haproxy_helper::wanted(&config.home, &config.cluster, config.settings.version) {
        warn!(scope, "{problem}");
    }
    // The manager's control script starts nothing of the manager where this fails, so it fails only for what keeps
    // the daemon from starting.
    let verdict = match tell_of_executor(config, scope) {
        true => "The configuration is good",
        false => "The daemon starts with this configuration, but requests of the API fail",
    };
    // Not on standard output: that script passes it on as part of its own, which may be JSON.
    eprintln!("{verdict}: {}", summary(&config.cluster));
    Ok(())
}

/// Gives up root for the owner of the installation.
fn become_owner(config: &Config) -> Result<(), String> {
    let owner = user::find_owner(config.home.path())?;
    places::make_as_root(config, owner);
    user::become_owner(owner)?;
    // The change of the user has undone a part of it.
    process::protect().map_err(|error| format!("cannot disable core dumps: {error}"))
}

/// Serves until a signal orders to stop.
fn serve(
    arguments: &Arguments,
    config: Config,
    own_address: OwnAddress,
    (log, scope): (&Output, &Scope),
    hung_up: &AtomicBool,
) -> Result<ExitCode, String> {
    let (run_dir, programs) = (config.home.run_dir(), pid_file::programs(&config));
    let started = without_keys(&config);
    let candidate = candidate::of(&config, &Clock::real())?;
    let prepared = Prepared::of(config, Clock::real(), candidate.clone())?;
    let starter = match arguments.foreground {
        true => {
            say(&format!("Starting cluster in foreground (pid: {})\n", std::process::id()));
            None
        }
        false => Some(process::detach().map_err(|error| format!("cannot daemonise: {error}"))?),
    };
    // From here on a signal ends the daemon in order: what was written to the disk is removed again.
    let signals = Inbox::open(hung_up).map_err(|error| error.to_string())?;
    let pid_files = PidFiles::write(&run_dir, &programs)?;
    let process = logging::scope("Cluster", "Process");
    info!(process, "Starting with pid {}: {}.", std::process::id(), about(prepared.node()));
    let archiver = log.start().map_err(|error| format!("cannot start a thread: {error}"))?;
    let hooks = Hooks::start(&started).map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut run = Run { arguments, log, scope, signals, starter, hooks };
    let (mut next, mut config, mut own_address) = (prepared, started, own_address);
    let signal = loop {
        if let Some(signal) = run.node(next, config, own_address)? {
            break signal;
        }
        // Everything is read again, as by a start: this node has another role now.
        let home = Home::find(arguments.home.as_deref());
        let loaded = Config::load(home, arguments.config.as_deref()).map_err(|faults| faults.to_string())?;
        let file = arguments.config.clone().unwrap_or_else(|| loaded.config.home.ossec_conf());
        own_address = OwnAddress::of(&loaded.config.cluster, &file);
        config = without_keys(&loaded.config);
        next = prepare(loaded.config, candidate.as_ref(), scope)?;
        info!(process, "Going on with pid {}: {}.", std::process::id(), about(next.node()));
    };
    // The role is given back, and another candidate follows at once.
    candidate.iter().for_each(|candidate| candidate.end());
    info!(process, "Stopped.");
    drop(archiver);
    log::logger().flush();
    drop(pid_files);
    if signal == SIGTERM {
        // The service manager is to see that the signal was what ended it.
        let _ = emulate_default_handler(SIGTERM);
    }
    Ok(ExitCode::SUCCESS)
}

/// A node that runs anew. A candidate that cannot be the master, which it should be, is a worker.
fn prepare(config: Config, candidate: Option<&Arc<Candidate>>, scope: &Scope) -> Result<Prepared, String> {
    let Some(candidate) = candidate.filter(|candidate| candidate.acts()) else {
        return Prepared::of(config, Clock::real(), candidate.cloned());
    };
    Prepared::of(config.clone(), Clock::real(), Some(candidate.clone())).or_else(|failure| {
        error!(scope, "This node gives the role of the master back: {failure}");
        candidate.give_back();
        Prepared::of(config, Clock::real(), Some(candidate.clone()))
    })
}

/// A copy that outlasts the keys, which may be changed while the node runs.
fn without_keys(config: &Config) -> Config {
    let mut copy = config.clone();
    drop(copy.take_keys());
    copy
}

/// What stays the same when the node runs anew in another role.
struct Run<'a> {
    arguments: &'a Arguments,
    log: &'a Output,
    scope: &'a Scope,
    signals: Inbox,
    /// The process that waits until the node runs.
    starter: Option<process::Starter>,
    /// Programs that are told of the role of a candidate.
    hooks: Option<Hooks>,
}

impl Run<'_> {
    /// Runs a node with this configuration until a signal orders to stop, and gives that; none if its role has changed.
    fn node(&mut self, prepared: Prepared, config: Config, own_address: OwnAddress) -> Result<Option<i32>, String> {
        let cannot = |error: io::Error| format!("cannot start a thread: {error}");
        let (scope, log) = (self.scope, self.log);
        let reload = Reload::new(self.arguments, config, log.file());
        let running = prepared.start().map_err(cannot)?;
        own_address.check_meanwhile(running.role().node(), scope).map_err(cannot)?;
        if let Some(starter) = self.starter.take() {
            starter.ready();
        }
        if let Some(hooks) = &self.hooks {
            let role = running.role();
            hooks.tell(matches!(role, Role::Master(_)), role.node().term.claim().term);
        }
        let supervision = Supervision::begin(ServiceManager::of_this_process(), running.role());
        let signal = wait_for_end(&self.signals, supervision, &running, scope, || {
            match log.file().open() {
                Ok(()) => info!(scope, "SIGNAL [(1)-(SIGHUP)] received. The log goes on in this file."),
                Err(error) => error!(scope, "The log cannot be opened again and goes on as it was: {error}"),
            }
            reload.run(&running, scope)
        });
        let left = running.stop();
        if left > 0 {
            warn!(scope, "{left} threads have not ended in time.");
        }
        Ok(signal)
    }
}

/// Writes to standard output, where somebody may have stopped to listen: `print!` would end the process.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// What a node is that was configured without a fault, for the person to whom a wrong word is still one.
fn summary(Cluster { node_type, node_name, name, port, nodes, .. }: &Cluster) -> String {
    let master = nodes.first().map_or("", String::as_str);
    let place = if *node_type == NodeType::Master { "which workers find at" } else { "whose master is at" };
    format!("{node_type} '{node_name}' of the cluster '{name}', {place} {master}, port {port}.")
}

/// What a person wants to know who finds the log of a node.
fn about(Node { home, cluster, settings, .. }: &Node) -> String {
    let (program, version) = (env!("CARGO_PKG_VERSION"), settings.version);
    format!(
        "wazuh-clusterd {program} as {} '{}' of the cluster '{}', which speaks version {version}, in {home}",
        cluster.node_type, cluster.node_name, cluster.name
    )
}

/// Whether requests of the API can be executed here, or are not to be; says it if not. A node without still does all else.
fn tell_of_executor(config: &Config, scope: &Scope) -> bool {
    let problem = executor::problem(&config.settings.distributed_api.executor);
    if let Some(problem) = &problem {
        error!(scope, "{problem}");
    }
    problem.is_none()
}

/// Serves signals and the service manager until a signal orders to stop, and gives that one; none if the role of the node
/// has changed. SIGHUP orders `hang_up`, which gives whether nothing was wrong.
fn wait_for_end(
    signals: &Inbox,
    mut supervision: Supervision,
    running: &Running,
    scope: &Scope,
    hang_up: impl Fn() -> bool,
) -> Option<i32> {
    loop {
        match signals.next(supervision.period(), running.changed()) {
            Next::Nothing => {}
            Next::Changed => return None,
            Next::Signal(SIGHUP) => supervision.reload(&hang_up),
            Next::Signal(signal) => {
                supervision.end();
                match signal {
                    SIGTERM => info!(scope, "SIGNAL [(15)-(SIGTERM)] received. Exit..."),
                    _ => info!(scope, "SIGINT received. Bye!"),
                }
                return Some(signal);
            }
        }
        // After a signal, too: whoever reloads all the time is not to keep the signs of life away.
        supervision.turn(running.role());
    }
}
