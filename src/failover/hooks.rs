//! The programs `failover.on_master` and `failover.on_standby`, run one at a time by a thread of their own. It lasts as long
//! as the process, because a node runs anew when its role changes.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek},
    path::PathBuf,
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::log_scope;
use crate::{
    config::Config,
    logging::{error, info},
    system::{process_group::ProcessGroup, shutdown::Never, thread::spawn},
};

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked whether it still does.
const LOOK: Duration = Duration::from_millis(50);

/// How many bytes it may write.
const MOST: u64 = 1024 * 1024;

/// How many lines of that the log gets, and how many characters of each.
const TOLD: (usize, usize) = (20, 300);

/// Where it finds other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The thread that runs them. Dropping it ends the program that runs.
pub struct Hooks {
    /// Without the first the thread ends, without the second the program that it runs.
    wanted: Option<(Sender<Wanted>, Sender<Never>)>,
    thread: Option<JoinHandle<()>>,
}

/// The role of this node, which a program is told.
#[derive(Clone, Copy)]
struct Wanted {
    is_master: bool,
    term: u64,
}

/// What the thread goes by.
struct Runner {
    on_master: Vec<String>,
    on_standby: Vec<String>,
    node: String,
    /// Where what a program says is kept, in a file without a name.
    scratch: PathBuf,
    limit: Duration,
}

impl Hooks {
    /// Starts the thread, if any program is configured.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn start(config: &Config) -> io::Result<Option<Self>> {
        let Some(failover) = &config.settings.failover else { return Ok(None) };
        if failover.on_master.is_empty() && failover.on_standby.is_empty() {
            return Ok(None);
        }
        let runner = Runner {
            on_master: failover.on_master.clone(),
            on_standby: failover.on_standby.clone(),
            node: config.cluster.node_name.clone(),
            scratch: config.home.cluster_dir(),
            limit: LIMIT,
        };
        runner.start().map(Some)
    }

    /// This node runs in this role now, in the `term` of that master. That it starts as a worker is told, too: a master that was
    /// killed comes back as that.
    pub fn tell(&self, is_master: bool, term: u64) {
        if let Some((wanted, _)) = &self.wanted {
            // The thread lasts as long as the sender.
            let _ = wanted.send(Wanted { is_master, term });
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        drop(self.wanted.take());
        // A panic of it has ended the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Runner {
    fn start(self) -> io::Result<Hooks> {
        let ((sender, roles), (keep, stop)) = (unbounded(), bounded(0));
        let thread = spawn("hooks", move || self.serve(&roles, &stop))?;
        Ok(Hooks { wanted: Some((sender, keep)), thread: Some(thread) })
    }

    /// Runs programs until the sender is gone. Of roles that came while one ran, the last counts.
    fn serve(&self, roles: &Receiver<Wanted>, stop: &Receiver<Never>) {
        while let Ok(role) = roles.recv() {
            let last = roles.try_iter().last().unwrap_or(role);
            let command = if last.is_master { &self.on_master } else { &self.on_standby };
            if let [program, arguments @ ..] = command.as_slice()
                && let Err(why) = self.run(program, arguments, last, stop)
            {
                error!(log_scope(), "{}: {program} has failed: {why}.", last.hook());
            }
        }
    }

    fn run(&self, program: &str, arguments: &[String], role: Wanted, stop: &Receiver<Never>) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let output = tempfile::tempfile_in(&self.scratch).map_err(text)?;
        let same = || output.try_clone().map(Stdio::from);
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(same().map_err(text)?).stderr(same().map_err(text)?);
        command.current_dir("/");
        let (name, term) = (role.name(), role.term.to_string());
        let environment: [(&str, &OsStr); 4] = [
            ("PATH", PATH.as_ref()),
            ("THREATLOCKDOWN_ROLE", name.as_ref()),
            ("THREATLOCKDOWN_NODE", self.node.as_ref()),
            ("THREATLOCKDOWN_TERM", term.as_ref()),
        ];
        let begun = Instant::now();
        let mut group = ProcessGroup::start(&mut command, &environment).map_err(text)?;
        let fault = self.wait(&group, begun, &output, stop);
        // What it has left behind in its group ends too.
        let status = group.end().map_err(text)?;
        tell_output(role.hook(), output).map_err(text)?;
        match fault {
            Some(fault) => Err(fault),
            None if status.success() => {
                info!(
                    log_scope(),
                    "{}: {program} has ended after {:.1} s.",
                    role.hook(),
                    begun.elapsed().as_secs_f64()
                );
                Ok(())
            }
            None => Err(status.to_string()),
        }
    }

    /// Waits for the end of a program; gives why it is to be brought about, if it is.
    fn wait(&self, group: &ProcessGroup, begun: Instant, output: &File, stop: &Receiver<Never>) -> Option<String> {
        while group.runs() {
            if begun.elapsed() >= self.limit {
                return Some(format!("it was killed after {} s", self.limit.as_secs_f64()));
            }
            if output.metadata().is_ok_and(|file| file.len() > MOST) {
                return Some(format!("it was killed, because it has written more than {MOST} bytes"));
            }
            if matches!(stop.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
                return Some("it was killed, because this daemon stops".to_owned());
            }
        }
        None
    }
}

impl Wanted {
    fn name(self) -> &'static str {
        if self.is_master { "master" } else { "standby" }
    }

    fn hook(self) -> &'static str {
        if self.is_master { "failover.on_master" } else { "failover.on_standby" }
    }
}

/// Has the log tell the first lines of what a program has said.
fn tell_output(hook: &str, mut output: File) -> io::Result<()> {
    let mut bytes = Vec::new();
    output.rewind()?;
    output.take(MOST).read_to_end(&mut bytes)?;
    let (lines, characters) = TOLD;
    for line in String::from_utf8_lossy(&bytes).lines().take(lines) {
        let line: String = line.chars().take(characters).map(|one| if one.is_control() { ' ' } else { one }).collect();
        info!(log_scope(), "{hook}: {line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A program in `home` that appends what it was told, after `more`.
    fn hooks(home: &Path, more: &str, limit: Duration) -> Hooks {
        let line = "echo begin >>told; echo $THREATLOCKDOWN_ROLE $THREATLOCKDOWN_NODE $THREATLOCKDOWN_TERM >>told";
        let script = format!("cd {}; {line}; {more}; echo end >>told", home.display());
        let command = || vec!["/bin/sh".to_owned(), "-c".to_owned(), script.clone()];
        let (on_master, on_standby, node) = (command(), command(), "a".to_owned());
        Runner { on_master, on_standby, node, scratch: home.to_owned(), limit }.start().unwrap()
    }

    /// Waits until so many programs have begun and ended, and gives what they were told.
    fn told(home: &Path, begun: usize, ended: usize) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(home.join("told")).unwrap_or_default();
            let count = |word| text.lines().filter(|line| *line == word).count();
            if count("begin") >= begun && count("end") >= ended && text.ends_with('\n') {
                return text;
            }
            assert!(Instant::now() < until, "{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn each_role_is_told_from_the_start() {
        let home = tempfile::tempdir().unwrap();
        let hooks = hooks(home.path(), "true", LIMIT);
        hooks.tell(false, 6);
        assert_eq!(told(home.path(), 1, 1), "begin\nstandby a 6\nend\n");
        hooks.tell(true, 7);
        assert_eq!(told(home.path(), 2, 2), "begin\nstandby a 6\nend\nbegin\nmaster a 7\nend\n");
    }

    #[test]
    fn never_two_run_and_the_last_role_counts() {
        let home = tempfile::tempdir().unwrap();
        let hooks = hooks(home.path(), "while ! test -e go; do sleep 0.02; done", Duration::from_secs(60));
        hooks.tell(true, 1);
        told(home.path(), 1, 0);
        hooks.tell(false, 2);
        hooks.tell(true, 3);
        hooks.tell(false, 4);
        fs::write(home.path().join("go"), "").unwrap();
        assert_eq!(told(home.path(), 2, 2), "begin\nmaster a 1\nend\nbegin\nstandby a 4\nend\n");
    }

    #[test]
    fn one_that_does_not_end_is_killed_and_the_next_runs() {
        let home = tempfile::tempdir().unwrap();
        let hooks = hooks(home.path(), "test -e go || { sleep 600 & sleep 600; }", Duration::from_secs(2));
        hooks.tell(true, 1);
        told(home.path(), 1, 0);
        fs::write(home.path().join("go"), "").unwrap();
        hooks.tell(false, 2);
        assert_eq!(told(home.path(), 2, 1), "begin\nmaster a 1\nbegin\nstandby a 2\nend\n");
    }

    #[test]
    fn the_end_of_the_daemon_ends_it() {
        let home = tempfile::tempdir().unwrap();
        let hooks = hooks(home.path(), "sleep 600", Duration::from_secs(600));
        hooks.tell(true, 1);
        told(home.path(), 1, 0);
        let begun = Instant::now();
        drop(hooks);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
