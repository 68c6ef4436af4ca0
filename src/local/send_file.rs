//! `send_file`: sends a file of this installation to another node (`spec/protocol.md` 8, 13.10).
//!
//! The stock daemon never tells the program what became of it; here it gets the number of bytes, or an error, as a
//! string and then `send_f_res`.

use std::{io, path::Path, sync::Arc};

use crate::{
    connection::{Connection, FileSender, Reply, send_string},
    files::path,
    logging::{debug, warn},
    node::Node,
    system::directory::open_beneath,
    wire::{Command, ErrorObject},
};

/// Takes the request; the file is sent by a thread of its own.
pub fn begin(node: &Node, reply: Reply, absolute: &str, receiver: Connection) {
    let relative = match relative(node.home.path(), absolute) {
        Ok(relative) => relative.to_owned(),
        Err(error) => return reply.refuse(&error),
    };
    let (home, program) = (node.home.path().to_owned(), reply.connection().clone());
    reply.ok("Forwarding file to master node");
    let busy = program.work();
    let run = move |program: Connection| {
        let text = match send(&home, &relative, &receiver) {
            Ok(bytes) => bytes.to_string(),
            Err(error) => error.to_json(),
        };
        tell(&program, &text);
        drop(busy);
    };
    if let Err((error, program)) = node.local_requests.spawn_with("request", program, run) {
        warn!("[Cluster] [Main]", "A file cannot be sent: {error}");
        program.close("its file cannot be sent");
    }
}

/// The path below the home, as the wire spells it but for the slash in front.
fn relative<'a>(home: &Path, absolute: &'a str) -> Result<&'a str, ErrorObject> {
    let below = Path::new(absolute).strip_prefix(home).ok().and_then(Path::to_str);
    below
        .filter(|below| path::check(below).is_ok())
        .ok_or_else(|| ErrorObject::request(3022, format!("'{absolute}' is not a file below {}", home.display())))
}

fn send(home: &Path, relative: &str, receiver: &Connection) -> Result<u64, ErrorObject> {
    let unreadable = |error: io::Error| ErrorObject::cluster(3003, format!("'{relative}' cannot be sent: {error}"));
    let mut file = open_beneath(home, relative).map_err(unreadable)?;
    let mut sender = FileSender::begin(receiver, relative, Arc::default()).map_err(|error| error.to_object())?;
    io::copy(&mut file, &mut sender).map_err(unreadable)?;
    sender.finish().map_err(|error| error.to_object())
}

fn tell(program: &Connection, text: &str) {
    let told = send_string(program, text.len(), text.as_bytes()).and_then(|id| program.request(Command::FileSent, id));
    if let Err(error) = told {
        debug!("[Cluster] [Main]", "{} did not take what became of its file: {error}", program.peer());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_home_are_sent() {
        let home = Path::new("/var/ossec");
        assert_eq!(relative(home, "/var/ossec/queue/cluster/a"), Ok("queue/cluster/a"));
        for bad in ["/etc/passwd", "/var/ossec", "/var/ossec/../x", "etc/a", "/var/ossec/a/../../b", ""] {
            assert_eq!(relative(home, bad).map_err(|error| error.code), Err(3022), "{bad}");
        }
    }
}
