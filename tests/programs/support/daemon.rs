//! The programs as child processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Home, until};

/// A daemon in the foreground; it is killed when this is dropped.
pub struct Daemon(Child);

/// The daemon's command line for this home, without options; nothing of the environment can lead it elsewhere.
pub fn clusterd(home: &Home) -> Command {
    program(env!("CARGO_BIN_EXE_wazuh-clusterd"), home)
}

/// The same of cluster_control.
pub fn control_command(home: &Home) -> Command {
    program(env!("CARGO_BIN_EXE_cluster_control"), home)
}

/// A program that was built with the tests, or the one of that name in `TEST_BIN_DIR`, if that is set.
fn program(built: &str, home: &Home) -> Command {
    let other = std::env::var_os("TEST_BIN_DIR").zip(Path::new(built).file_name());
    let path = other.map_or_else(|| PathBuf::from(built), |(directory, name)| Path::new(&directory).join(name));
    let mut command = Command::new(path);
    command.arg("--home").arg(home.path("")).env_remove("WAZUH_HOME").stdin(Stdio::null());
    command
}

/// What cluster_control says with these arguments.
pub fn control(home: &Home, arguments: &[&str]) -> Output {
    let mut command = control_command(home);
    command.args(arguments);
    finish(command)
}

/// Runs a command that is to end by itself.
pub fn finish(mut command: Command) -> Output {
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut daemon = Daemon(command.spawn().unwrap());
    let status = daemon.wait();
    Output { status, stdout: content(out), stderr: content(err) }
}

/// What the daemon of a home has said on standard error since its start.
fn said(home: &Home) -> String {
    std::fs::read_to_string(home.beside("stderr")).unwrap_or_default()
}

fn content(mut file: File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut content = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut content)).unwrap();
    content
}

impl Daemon {
    /// Starts it with `-f -r` and waits until it serves.
    pub fn start(home: &Home) -> Self {
        Self::start_as(home, clusterd(home))
    }

    /// As [`Daemon::start`], with a command line that begins in another way.
    pub fn start_as(home: &Home, command: Command) -> Self {
        Self::start_with(home, command, &["-f", "-r"])
    }

    /// As [`Daemon::start_as`], with other options, of which one is `-f`.
    pub fn start_with(home: &Home, command: Command, options: &[&str]) -> Self {
        Self::begin(home, command, options, |_| ())
    }

    /// As [`Daemon::start`]; `meanwhile` is called with its process as soon as there is one.
    pub fn start_and(home: &Home, meanwhile: impl FnOnce(u32)) -> Self {
        Self::begin(home, clusterd(home), &["-f", "-r"], meanwhile)
    }

    /// As [`Daemon::start_with`], without waiting for anything.
    pub fn spawn(home: &Home, mut command: Command, options: &[&str]) -> Self {
        command.args(options).stdin(Stdio::null());
        command.stdout(File::create(home.beside("stdout")).unwrap());
        command.stderr(File::create(home.beside("stderr")).unwrap());
        Self(command.spawn().unwrap())
    }

    fn begin(home: &Home, command: Command, options: &[&str], meanwhile: impl FnOnce(u32)) -> Self {
        let mut daemon = Self::spawn(home, command, options);
        meanwhile(daemon.pid());
        until("a daemon that serves", || {
            let serves = daemon.serves(home);
            assert!(daemon.is_running(), "the daemon does not start:\n{}", said(home));
            serves.then_some(())
        });
        daemon
    }

    /// Whether it has begun to serve.
    pub fn serves(&self, home: &Home) -> bool {
        said(home).contains("Serving on ")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the program", || self.0.try_wait().unwrap())
    }

    /// Orders it to stop and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
