//! A program of this daemon that runs on the framework, as a process of its own.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use serde_json::Value;

use super::{Framework, Kind, send};

/// What every program begins with: its end of the line.
const LINE: &str = include_str!("line.py");

/// Reads the source from the line and executes it. It is all that `ps` shows.
const LOADER: &str = include_str!("loader.py");

/// How much of the end of its standard error is read, in bytes.
const COMPLAINTS: u64 = 4096;

/// A process group whose first process runs a program. It ends when this is dropped.
pub struct Program {
    line: UnixStream,
    process: Child,
    complaints: File,
    ended: bool,
}

impl Framework {
    /// Runs the Python text `source` with `settings`, which the program finds under that name; it may use what `line.py`
    /// defines. The program has the user of this process, a process group of its own and `WAZUH_HOME` as its whole
    /// environment, and is the first to go when memory runs out. Its standard error goes to a file without a name in
    /// `scratch`, its standard output nowhere.
    ///
    /// # Errors
    /// When there can be no process.
    pub fn launch(&self, source: &str, settings: &Value, scratch: &Path) -> io::Result<Program> {
        let (mut line, its) = UnixStream::pair()?;
        let complaints = tempfile::tempfile_in(scratch)?;
        let process = Command::new(&self.interpreter)
            .args(["-W", "ignore", "-I", "-c", LOADER])
            .stdin(OwnedFd::from(its))
            .stdout(File::options().write(true).open("/dev/null")?)
            .stderr(complaints.try_clone()?)
            .env_clear()
            .env("WAZUH_HOME", &self.home)
            .current_dir(&self.home)
            .process_group(0)
            .spawn()?;
        // From here on it is ended on every way out.
        let program = Program { line: line.try_clone()?, process, complaints, ended: false };
        // An interpreter that has ended already is found out by whoever waits for the first frame, and can say why.
        let _ = send(&mut line, Kind::Request, format!("{LINE}\n{source}").as_bytes())
            .and_then(|()| send(&mut line, Kind::Request, settings.to_string().as_bytes()));
        Ok(program)
    }
}

impl Program {
    /// This end of the line; see [`header`](super::header).
    pub fn line(&self) -> &UnixStream {
        &self.line
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The last line of its standard error; empty if there is none.
    pub fn complaint(&self) -> String {
        let text = last_bytes(&self.complaints).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty())
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the first process runs.
    pub fn runs(&mut self) -> bool {
        // Looked at, but not waited for: its number stays taken until the group is ended.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !self.ended && waitid(Id::Pid(self.group()), flags) == Ok(WaitStatus::StillAlive)
    }

    /// Ends it and all that it started; gives how its first process ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.ended {
            // It fails only if nobody of the group is left.
            let _ = killpg(self.group(), Signal::SIGKILL);
            self.ended = true;
        }
        self.process.wait()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}

fn last_bytes(mut file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(COMPLAINTS)))?;
    let mut bytes = Vec::new();
    file.take(COMPLAINTS).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::{
        super::{header, tests::home},
        *,
    };

    fn launch(source: &str) -> (tempfile::TempDir, Program) {
        let home = home();
        let framework = Framework::find(home.path()).unwrap();
        let settings = json!({"home": home.path(), "word": "a word"});
        let program = framework.launch(source, &settings, home.path()).unwrap();
        program.line().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (home, program)
    }

    fn frame(program: &Program) -> io::Result<(Kind, String)> {
        let mut line = program.line();
        let (kind, length) = header(&mut line)?;
        let mut payload = vec![0; length];
        line.read_exact(&mut payload)?;
        Ok((kind, String::from_utf8(payload).unwrap()))
    }

    #[test]
    fn a_program_has_its_settings_the_framework_and_nothing_else() {
        let (home, mut program) = launch(
            "import wazuh\n\
             line.send(READY, json.dumps([settings['word'], sorted(os.environ), wazuh.__file__, sys.argv]).encode())\n\
             logging.getLogger('wazuh').addHandler(DaemonLog(line))\n\
             logging.getLogger('wazuh').error('no %s', 'luck')\n\
             line.receive()",
        );
        let package = home.path().join("framework/wazuh/__init__.py");
        let (kind, said) = frame(&program).unwrap();
        assert_eq!(kind, Kind::Ready);
        let said: Value = serde_json::from_str(&said).unwrap();
        // The interpreter itself may add the locale that it takes for none.
        let variables: Vec<_> =
            said[1].as_array().unwrap().iter().filter(|name| *name != "LC_CTYPE").cloned().collect();
        assert_eq!((&said[0], variables), (&json!("a word"), vec![json!("WAZUH_HOME")]));
        assert_eq!((&said[2], &said[3]), (&json!(package), &json!(["-c"])));
        assert_eq!(frame(&program).unwrap(), (Kind::Log, "Eno luck".to_owned()));
        assert!(program.runs());
        program.line().shutdown(std::net::Shutdown::Both).unwrap();
        let begun = Instant::now();
        while program.runs() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it ends with the line");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(program.end().unwrap().code(), Some(0));
    }

    #[test]
    fn a_program_that_fails_says_why_and_what_it_started_ends_with_it() {
        let (_home, program) = launch("import nothing_of_this_name");
        assert_eq!(frame(&program).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(program.complaint().contains("No module named 'nothing_of_this_name'"), "{}", program.complaint());

        let (_home, mut program) = launch("os.fork()\nline.send(READY, str(os.getpid()).encode())\nline.receive()");
        let pids = [(); 2].map(|()| frame(&program).unwrap().1);
        program.end().unwrap();
        // One that was not its child is a zombie until the first process has waited for it.
        let runs = |pid: &String| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        let begun = Instant::now();
        while pids.iter().any(runs) {
            assert!(begun.elapsed() < Duration::from_secs(60), "all of the group end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
