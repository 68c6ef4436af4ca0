//! Files over a link between two ends of this process, over loopback TCP: in a session, and with the standard protocol
//! beside it.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use clusterd::{
    connection::{
        Connection, Connections, FileLimits, FileSender, Handler, IncomingFiles, Known, Options, Proof, Reply, Socket,
    },
    crypto::{End, Fernet, Session, Terms, Transcript, sealed_length},
    limits::Budget,
    session::Transfers,
    system::clock::Clock,
    wire::{Asker, Command, Link, Message, Request, Transfer},
};

use crate::{Failure, MIB, Report};

/// What is sent at a time, in bytes.
const VOLUME: usize = 128 * MIB;

/// Files of the link, which is classic unless `native` has come.
struct Receiver {
    transfers: Transfers,
}

impl Handler for Receiver {
    fn request(&mut self, reply: Reply, message: Message) {
        match Request::parse(Asker::Worker, message.command, &message.body) {
            Ok(Request::Link(Link::Native(_))) => reply.ok_then_seal("", session(End::Master)),
            Ok(Request::Transfer(transfer)) => {
                let ended = if let Transfer::FileEnd(end) = &transfer { Some(end.path) } else { None };
                self.transfers.request(reply, transfer, Some(Proof::Checksum));
                ended.and_then(|path| self.transfers.files.take(path));
            }
            _ => reply.unknown(),
        }
    }

    fn closed(&mut self, _: &str) {}
}

fn session(end: End) -> Session {
    let terms = Terms {
        master_nonce: [1; 16],
        worker_nonce: [2; 16],
        cluster: "wazuh",
        master: "m",
        worker: "w1",
        transcript: Transcript::default(),
    };
    Session::new(&Fernet::new(&[7; 32]), terms, end)
}

/// Both ends of a link; they end with it.
struct Ends {
    sender: Connection,
    _receiver: Connection,
    connections: Connections,
}

impl Ends {
    fn new(home: &Path, sealed: bool) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (two, _) = listener.accept()?;
        let connections = Connections::new(2);
        let (sender, receiver) = (end(home, &connections, one)?, end(home, &connections, two)?);
        if sealed {
            let (answer, undecided) = sender.request_undecided(Command::Native, "");
            answer?;
            undecided.seal(session(End::Worker));
        }
        Ok(Self { sender, _receiver: receiver, connections })
    }

    fn send(&self, content: &[u8]) -> Result<(), Failure> {
        let mut file = FileSender::begin(&self.sender, "queue/cluster/w1/a.zip", Arc::default())?;
        for _ in 0..VOLUME / content.len() {
            file.write_all(content)?;
        }
        file.finish()?;
        Ok(())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.connections.stop();
    }
}

fn end(home: &Path, connections: &Connections, stream: TcpStream) -> Result<Connection, Failure> {
    stream.set_nodelay(true)?;
    let minute = Duration::from_secs(60);
    let options = Options {
        deadline: None,
        peer: "bench".into(),
        ciphers: vec![Fernet::new(&[7; 32])],
        known: Known::AtOnce,
        handshake_timeout: minute,
        frame_timeout: minute,
        request_timeout: minute,
        traffic: Arc::default(),
        budget: Budget::new(1 << 30, 1 << 30, minute),
        clock: Clock::real(),
    };
    let limits = FileLimits { size: u64::MAX, open: 2 };
    let files = IncomingFiles::new(home.to_owned(), "queue/cluster/w1/".into(), limits);
    let handler = Receiver { transfers: Transfers::new(files) };
    Ok(connections.start(Socket::Tcp(stream), options, |_| handler)?)
}

/// Adds the rows of frames and of files.
pub fn measure(report: &mut Report, home: &Path) -> Result<(), Failure> {
    let plain: Vec<u8> = (0..8 * MIB).map(|at| (at * 31 % 251) as u8).collect();
    let fernet = Fernet::new(&[7; 32]);
    for (name, length) in [("512 KiB", 512 * 1024), ("256 bytes", 256)] {
        let mut sealer = session(End::Master).sealer;
        let seal = || {
            for chunk in plain.chunks(length) {
                let mut out = Vec::new();
                let _ = sealer.seal(&[0; 20], [3; 16], [&[0; 12], chunk], &mut out);
                assert_eq!(out.len(), sealed_length(12 + chunk.len()));
            }
        };
        let token = || {
            for chunk in plain.chunks(length) {
                let mut out = Vec::new();
                fernet.seal(chunk, 0, [3; 16], &mut out);
            }
        };
        report.measure(&format!("session seal, {name} each"), plain.len(), seal, "Fernet seal", token);
        // A frame opens once, in its turn: all of them are made anew.
        let mut ends = [session(End::Master), session(End::Worker)];
        let both = || {
            let [master, worker] = &mut ends;
            for chunk in plain.chunks(length) {
                let mut out = Vec::new();
                let _ = master.sealer.seal(&[0; 20], [3; 16], [&[0; 12], chunk], &mut out);
                assert!(worker.opener.open(&[0; 20], &mut out).is_ok());
            }
        };
        let token = || {
            for chunk in plain.chunks(length) {
                let mut out = Vec::new();
                fernet.seal(chunk, 0, [3; 16], &mut out);
                assert!(fernet.open(out).is_ok());
            }
        };
        report.measure(
            &format!("session seal and open, {name} each"),
            plain.len(),
            both,
            "Fernet seal and open",
            token,
        );
    }
    fs::create_dir_all(home)?;
    let [sealed, classic] = [Ends::new(home, true)?, Ends::new(home, false)?];
    let content = &plain[..MIB];
    let work = || sealed.send(content).is_ok();
    let limit = || classic.send(content).is_ok();
    report.measure("file over a link, in a session", VOLUME, work, "the same, standard protocol", limit);
    assert!(sealed.sender.in_session() && !classic.sender.in_session());
    Ok(())
}
