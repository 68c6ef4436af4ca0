//! A program of this daemon that runs on the framework, as a process of its own.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::Value;

use super::{Framework, Kind, send};
use crate::system::process_group::ProcessGroup;

/// What every program begins with: its end of the line.
const LINE: &str = include_str!("line.py");

/// Reads the source from the line and executes it. It is all that `ps` shows.
const LOADER: &str = include_str!("loader.py");

/// How much of the end of its standard error is read, in bytes.
const COMPLAINTS: u64 = 4096;

/// A process group whose first process runs a program. It ends when this is dropped.
pub struct Program {
    line: UnixStream,
    group: ProcessGroup,
    complaints: File,
}

impl Framework {
    /// Runs the Python text `source` with `settings`, which the program finds under that name; it may use what `line.py`
    /// defines. An error that ends it comes as [`Kind::Failed`]. The program has the user of this process, a process group of
    /// its own and `WAZUH_HOME` as its whole environment, and is the first to go when memory runs out. What the interpreter
    /// complains of until it executes the text goes to a file without a name in `scratch`, all later output nowhere.
    ///
    /// # Errors
    /// When there can be no process.
    pub fn launch(&self, source: &str, settings: &Value, scratch: &Path) -> io::Result<Program> {
        let (mut line, its) = UnixStream::pair()?;
        let complaints = tempfile::tempfile_in(scratch)?;
        let mut command = Command::new(&self.interpreter);
        command
            .args(["-W", "ignore", "-I", "-c", LOADER])
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(complaints.try_clone()?)
            .current_dir(&self.home);
        let group = ProcessGroup::start(&mut command, &[("WAZUH_HOME", self.home.as_os_str())])?;
        // The other end of the line is the program's alone.
        drop(command);
        // From here on it is ended on every way out.
        let program = Program { line: line.try_clone()?, group, complaints };
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

    /// Sends a short request, together with open files. Never waits.
    ///
    /// # Errors
    /// When the program has ended, or takes nothing any more.
    pub fn send_with(&self, payload: &[u8], files: &[impl AsFd]) -> io::Result<()> {
        let mut frame = Vec::new();
        send(&mut frame, Kind::Request, payload)?;
        let numbers: Vec<_> = files.iter().map(|file| file.as_fd().as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if files.is_empty() { &[][..] } else { &rights };
        // So short a message goes as a whole or not at all.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.line.as_raw_fd(), &[IoSlice::new(&frame)], rights, flags, None)?;
        Ok(())
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// The last line that the interpreter complained of, if it could not even begin; else empty.
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
    pub fn runs(&self) -> bool {
        self.group.runs()
    }

    /// Ends it and all that it started, without waiting for that.
    pub fn kill(&self) {
        self.group.kill();
    }

    /// [`Program::kill`], and waits for it; gives how its first process ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.group.end()
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
        let why = "ModuleNotFoundError: No module named 'nothing_of_this_name'";
        assert_eq!(frame(&program).unwrap(), (Kind::Failed, why.to_owned()));
        assert_eq!(frame(&program).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (_home, program) = launch("this is no Python");
        assert!(frame(&program).is_err());
        assert_eq!(program.complaint(), "SyntaxError: invalid syntax");

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
