//! Programs at the control socket, and the programs of a manager that answer them.

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use clusterd::wire::frame;

use super::{
    Node,
    database::{read_frame, write_frame},
};

/// A local program, which sees every frame.
pub struct LocalProgram(UnixStream);

/// A frame that a program got.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    /// The number of the request, ours or the daemon's.
    pub counter: u32,
    /// All twelve bytes.
    pub field: String,
    /// The payload.
    pub body: String,
}

impl LocalProgram {
    /// Connects to the daemon of a node.
    pub fn of(node: &Node) -> Self {
        let stream = UnixStream::connect(node.home.path("queue/cluster/c-internal.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    /// Sends a request with the counter 7.
    pub fn send(&mut self, command: &str, payload: &[u8]) {
        self.write(7, &format!("{command} -----------")[..12], payload);
    }

    /// Sends a request and gives the next frame.
    pub fn ask(&mut self, command: &str, payload: impl AsRef<[u8]>) -> Got {
        self.send(command, payload.as_ref());
        self.next()
    }

    /// The next frame.
    #[track_caller]
    pub fn next(&mut self) -> Got {
        self.try_next().expect("a frame")
    }

    /// The next frame, unless the daemon closes.
    pub fn try_next(&mut self) -> io::Result<Got> {
        let mut header = [0; frame::HEADER];
        self.0.read_exact(&mut header)?;
        let mut body = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
        self.0.read_exact(&mut body)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let counter = u32::from_be_bytes(header[..4].try_into().unwrap());
        Ok(Got { counter, field: text(&header[8..]), body: text(&body) })
    }

    /// Acknowledges strings as a program of the original does, and gives the request that follows them with their content.
    pub fn string(&mut self) -> (Got, String) {
        let mut content = String::new();
        loop {
            let got = self.next();
            match got.field.split(' ').next().unwrap() {
                "new_str" => self.write(got.counter, "ok ---------", b"11"),
                "str_upd" => {
                    content.push_str(got.body.strip_prefix("11 ").unwrap());
                    self.write(got.counter, "ok ---------", b"String updated");
                }
                _ => {
                    self.write(got.counter, "ok ---------", b"Distributed api response received");
                    return (got, content);
                }
            }
        }
    }

    /// Says that nothing more comes, and waits until the daemon has closed the connection.
    pub fn leave(mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
        while self.try_next().is_ok() {}
    }

    fn write(&mut self, counter: u32, field: &str, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = [&counter.to_be_bytes()[..], &length.to_be_bytes(), field.as_bytes()].concat();
        self.0.write_all(&[&header[..], payload].concat()).unwrap();
    }
}

/// A program of a manager: answers each request at `path` with what `answer` says, or closes. It ends with the test.
pub fn manager_program(path: &Path, answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let Some(request) = read_frame(&mut stream) else { return };
                if let Some(answer) = answer(&String::from_utf8(request).unwrap()) {
                    write_frame(&mut stream, answer.as_bytes());
                }
            });
        }
    });
}
