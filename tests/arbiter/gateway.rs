//! A gateway that says what a test wants.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub body: String,
}

/// What is said to it.
pub enum Say {
    /// An answer as etcd frames it.
    Json(u16, String),
    /// These bytes, and then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, each after a pause.
    Slowly(Vec<u8>, Duration),
    /// The first bytes, and then the second ones until the client goes.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, and then nothing until the client goes.
    Hold(Vec<u8>),
}

/// It serves until it is dropped.
pub struct Gateway {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<()>>,
}

/// An answer with status 200.
pub fn good(body: &str) -> Say {
    Say::Json(200, body.to_owned())
}

impl Gateway {
    /// `script` gets each request, with the number of those before it.
    pub fn start(script: impl Fn(&Asked, usize) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, script) = (asked.clone(), Arc::new(script));
        let thread = std::thread::spawn(move || {
            let mut clients = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let first = log.lock().unwrap().last().is_some_and(|last| last.path == "stop");
                if first {
                    break;
                }
                let (log, script) = (log.clone(), script.clone());
                clients.push(std::thread::spawn(move || serve(stream, &log, &*script)));
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
        Self { address, asked, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Its clients have to be gone by then.
impl Drop for Gateway {
    fn drop(&mut self) {
        let stop = Asked { path: "stop".into(), authorization: None, body: String::new() };
        self.asked.lock().unwrap().push(stop);
        let _ = TcpStream::connect(self.address);
        if std::thread::panicking() {
            return;
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, script: &dyn Fn(&Asked, usize) -> Say) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = request(&mut reader) {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        if !say(&stream, script(&asked, number)) {
            return;
        }
    }
}

/// False if the connection is over. A client that has enough of it goes.
fn say(mut stream: &TcpStream, say: Say) -> bool {
    match say {
        Say::Json(status, body) => {
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).is_ok()
        }
        Say::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
            false
        }
        Say::Slowly(bytes, pause) => {
            for byte in bytes {
                std::thread::sleep(pause);
                if stream.write_all(&[byte]).is_err() {
                    return false;
                }
            }
            true
        }
        Say::Endless(first, again) => {
            let mut outcome = stream.write_all(&first);
            while outcome.is_ok() {
                outcome = stream.write_all(&again);
            }
            false
        }
        Say::Hold(bytes) => {
            let _ = stream.write_all(&bytes).and_then(|()| stream.read(&mut [0]).map(|_| ()));
            false
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0).map(|_| line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1).unwrap().to_owned();
    let (mut authorization, mut length) = (None, 0);
    loop {
        let header = line()?;
        match header.split_once(": ") {
            Some(("Authorization", value)) => authorization = Some(value.to_owned()),
            Some(("Content-Length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, authorization, body: String::from_utf8(body).unwrap() })
}
