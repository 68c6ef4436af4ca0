//! One process for one request.
//!
//! Its standard input, output and error are files without a name: nobody has to read while it writes, and what it writes
//! costs no memory.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, select};

use super::refusal::{Refusal, no_executor};
use crate::{
    node::Node,
    system::{process_group::ProcessGroup, shutdown::Never, thread::spawn},
    wire::ErrorObject,
};

/// The longest answer, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// How much a program may write to its standard error, and how much of its end is told.
const COMPLAINTS: (u64, usize) = (1024 * 1024, 1024);

/// Where it finds other programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How often it is looked how much it has written.
const LOOK: Duration = Duration::from_millis(200);

/// Has `command` execute `request`; gives the length of the answer and the answer. Ends it when `gone` closes.
///
/// # Errors
/// What whoever asked is told: the program's own words on its standard error, or what became of it.
pub fn execute(
    node: &Node,
    command: &[String],
    request: File,
    gone: &Receiver<Never>,
) -> Result<(usize, File), Refusal> {
    let [program, arguments @ ..] = command else { return Err(no_executor().into()) };
    let internal = |error: io::Error| {
        let error = ErrorObject::unexpected(format!("the executor {program} cannot be run: {error}"));
        error.with_remedy("see distributed_api.executor in etc/cluster.json")
    };
    let scratch = || tempfile::tempfile_in(node.home.cluster_dir()).map_err(internal);
    let (output, complaints) = (scratch()?, scratch()?);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(request)
        .stdout(output.try_clone().map_err(internal)?)
        .stderr(complaints.try_clone().map_err(internal)?)
        .current_dir(node.home.path());
    let environment = [("PATH", OsStr::new(PATH)), ("WAZUH_HOME", node.home.path().as_os_str())];
    // Its time runs from before it can have done anything.
    let late = node.clock.after(node.settings.communication.timeout_dapi_request);
    let group = ProcessGroup::start(&mut command, &environment).map_err(internal)?;
    let status = supervise(node, group, (gone, &late), &output, &complaints)?;
    let length = output.metadata().map_err(internal)?.len();
    if !status.success() || length == 0 {
        let said = tail(complaints).map_err(internal)?;
        if said.is_empty() {
            let text = format!("the executor {program} ended with {status} and without an answer");
            return Err(ErrorObject::unexpected(text).into());
        }
        return Err(Refusal::Words(said));
    }
    let mut output = output;
    output.rewind().map_err(internal)?;
    Ok((usize::try_from(length).unwrap_or(usize::MAX), output))
}

/// Waits for the end of the program, and brings it about when its time is over, which `late` tells.
fn supervise(
    node: &Node,
    mut group: ProcessGroup,
    (gone, late): (&Receiver<Never>, &Receiver<Instant>),
    output: &File,
    complaints: &File,
) -> Result<ExitStatus, ErrorObject> {
    let (tell, ended) = bounded(1);
    let wait = group.waits();
    let waiting = spawn("dapi-wait", move || {
        wait();
        let _ = tell.send(());
    });
    let limit = node.settings.communication.timeout_dapi_request;
    let verdict = loop {
        if waiting.is_err() {
            break Err(ErrorObject::unexpected("no thread can be started for the executor"));
        }
        select! {
            recv(ended) -> _ => break Ok(()),
            recv(late) -> _ => {
                let text = format!("the executor did not answer within {} s", limit.as_secs_f64());
                break Err(ErrorObject::cluster(3021, text));
            }
            recv(gone) -> _ => break Err(ErrorObject::cluster(3018, "the asking program has disconnected")),
            recv(node.shutdown.channel()) -> _ => break Err(ErrorObject::cluster(3018, "this node stops")),
            recv(crossbeam_channel::after(LOOK)) -> _ => {
                let length = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
                if length(output) > LONGEST || length(complaints) > COMPLAINTS.0 {
                    break Err(ErrorObject::unexpected(format!("the executor wrote more than {LONGEST} bytes")));
                }
            }
        }
    };
    // What it started may still run, even when it has ended itself.
    group.kill();
    if let Ok(waiting) = waiting {
        let _ = waiting.join();
    }
    let waited = |error| ErrorObject::unexpected(format!("the executor cannot be waited for: {error}"));
    let status = group.end().map_err(waited)?;
    verdict.and_then(|()| {
        let length = output.metadata().map_or(0, |metadata| metadata.len());
        let text = || format!("the answer has more than {LONGEST} bytes");
        if length > LONGEST { Err(ErrorObject::unexpected(text())) } else { Ok(status) }
    })
}

/// The end of what a program complained of, in one line.
fn tail(mut complaints: File) -> io::Result<String> {
    let length = complaints.metadata()?.len();
    let start = length.saturating_sub(COMPLAINTS.1 as u64);
    complaints.seek(io::SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    complaints.take(COMPLAINTS.1 as u64).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned())
}
