//! What the machine itself needs for the bare work: the same files, system calls and volumes without a daemon, one
//! after the other on one thread.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

use clusterd::crypto::Fernet;
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::{
    Failure,
    bare::{pack, unpack},
    files::Files,
    table::{Table, number},
    timing::{Samples, timed},
};

/// Requests and answers of one check that finds a difference.
const ROUND_TRIPS: usize = 8;
/// The content of one message of a file transfer, bytes.
const CHUNK: usize = 512 * 1024;

/// The pieces of bare work, each with its name in the table, in the order of [`Limits::measure`].
const PIECES: [&str; 11] = [
    "stat of all files, by path",
    "open and read",
    "MD5 and BLAKE2b",
    "deflate, level 1",
    "seal (Fernet), 512 KiB each",
    "open (Fernet) and SHA-256",
    "inflate",
    "create and write, mode 0660",
    "syncfs after the files",
    "rename",
    "syncfs after the renames",
];
const STAT: usize = 0;
const READ: usize = 1;
const HASH: usize = 2;
const SEND: std::ops::Range<usize> = 3..6;
const APPLY: std::ops::Range<usize> = 6..11;

/// The measurements of one file system.
pub struct Limits {
    files: Files,
    pieces: [Samples; PIECES.len()],
    round_trips: Samples,
    /// Bytes of all files after deflate.
    packed: usize,
}

impl Limits {
    /// Nothing measured yet.
    pub fn new(files: Files) -> Self {
        Self { files, pieces: Default::default(), round_trips: Samples::default(), packed: 0 }
    }

    /// Does the bare work once: reads from `home`, where the files stand, and writes to the new directory `copy`.
    pub fn measure(&mut self, home: &Path, copy: &Path) -> Result<(), Failure> {
        let files = self.files;
        let paths: Vec<String> = files.paths().collect();
        let (stat, looked) = timed(|| paths.iter().try_for_each(|path| fs::metadata(home.join(path)).map(drop)));
        looked?;
        let (read, plain) = timed(|| paths.iter().map(|path| fs::read(home.join(path))).collect());
        let plain: Vec<Vec<u8>> = io::Result::from(plain)?;
        let hash = |plain: &Vec<u8>| (Md5::digest(plain), blake2b_simd::blake2b(plain));
        let (hash, _) = timed(|| plain.iter().map(hash).collect::<Vec<_>>());
        let (deflate, packed) = timed(|| plain.iter().map(|plain| pack(plain)).collect::<Result<Vec<_>, _>>());
        let (packed, stream) = packed.map(|packed| (packed.concat(), packed))?;
        self.packed = packed.len();
        let cipher = Fernet::new(&[7; 32]);
        let (seal, tokens) = timed(|| packed.chunks(CHUNK).map(|chunk| seal(&cipher, chunk)).collect::<Vec<_>>());
        let (open, opened) = timed(|| open(&cipher, tokens));
        opened?;
        let (inflate, unpacked) = timed(|| stream.iter().try_for_each(|packed| unpack(packed, files.size)));
        unpacked?;
        let [create, sync, rename, sync_again] = write(copy, files, &paths, &plain)?;
        let all = [stat, read, hash, deflate, seal, open, inflate, create, sync, rename, sync_again];
        self.pieces.iter_mut().zip(all).for_each(|(samples, seconds)| samples.push(seconds));
        self.round_trips.push(round_trips()?);
        Ok(())
    }

    /// For the master's first local integrity run: every file found, read and hashed.
    pub fn local_integrity(&self) -> f64 {
        [STAT, READ, HASH].iter().map(|piece| self.pieces[*piece].median()).sum()
    }

    /// For a check of an empty worker: its messages.
    pub fn check(&self) -> f64 {
        self.round_trips.median()
    }

    /// For the sending: read, compress, encrypt, decrypt.
    pub fn sending(&self) -> f64 {
        self.pieces[READ].median() + self.sum(SEND)
    }

    /// For the applying: decompress, write, rename, and have all of it on the disk.
    pub fn applying(&self) -> f64 {
        self.sum(APPLY)
    }

    fn sum(&self, pieces: std::ops::Range<usize>) -> f64 {
        self.pieces[pieces].iter().map(Samples::median).sum()
    }

    /// Prints every piece.
    pub fn print(&self, place: &str) {
        let title = format!(
            "{place}: the bare work of {} files of {} bytes ({} bytes after deflate), one thread, seconds",
            self.files.count, self.files.size, self.packed
        );
        let mut table = Table::new(title, ["piece", "median", "best", "worst"]);
        let name = format!("{ROUND_TRIPS} round trips over the loopback");
        let pieces = PIECES.iter().copied().zip(&self.pieces).chain([(name.as_str(), &self.round_trips)]);
        for (name, samples) in pieces {
            let samples = [samples.median(), samples.best(), samples.worst()].map(number);
            let [median, best, worst] = samples;
            table.row([name.to_owned(), median, best, worst]);
        }
        table.print();
    }
}

fn seal(cipher: &Fernet, chunk: &[u8]) -> Vec<u8> {
    let mut token = Vec::new();
    cipher.seal(chunk, 0, [3; 16], &mut token);
    token
}

fn open(cipher: &Fernet, tokens: Vec<Vec<u8>>) -> Result<(), Failure> {
    let mut sum = Sha256::new();
    for token in tokens {
        sum.update(cipher.open(token)?);
    }
    std::hint::black_box(sum.finalize());
    Ok(())
}

/// Creates, syncs, renames and syncs; gives the seconds of each.
fn write(copy: &Path, files: Files, paths: &[String], plain: &[Vec<u8>]) -> Result<[f64; 4], Failure> {
    for directory in files.directories() {
        fs::create_dir_all(copy.join(directory))?;
    }
    let place = File::open(copy)?;
    nix::unistd::syncfs(&place)?;
    let staged = |path: &String| copy.join(format!("{path}.new"));
    let (create, done) = timed(|| {
        paths.iter().zip(plain).try_for_each(|(path, plain)| {
            let mut file = File::create_new(staged(path))?;
            file.write_all(plain)?;
            file.set_permissions(fs::Permissions::from_mode(0o660))
        })
    });
    done?;
    let (sync, done) = timed(|| nix::unistd::syncfs(&place));
    done?;
    let (rename, done) = timed(|| paths.iter().try_for_each(|path| fs::rename(staged(path), copy.join(path))));
    done?;
    let (sync_again, done) = timed(|| nix::unistd::syncfs(&place));
    done?;
    Ok([create, sync, rename, sync_again])
}

/// The seconds of some small requests and answers.
fn round_trips() -> Result<f64, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut message = [0; 200];
        while server.read_exact(&mut message).is_ok() && server.write_all(&message).is_ok() {}
    });
    let (seconds, done) = timed(|| {
        let mut message = [0; 200];
        (0..ROUND_TRIPS).try_for_each(|_| {
            client.write_all(&message)?;
            client.read_exact(&mut message)
        })
    });
    drop(client);
    let _ = echo.join();
    done?;
    Ok(seconds)
}
