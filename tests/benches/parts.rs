//! `make bench`: the parts that a synchronisation is made of, each by itself through the library.
//!
//! Beside each stands, where there is one, what the machine needs for the work that cannot be avoided, measured in the
//! same run. `BENCH_RUNS` sets the repetitions (15), `BENCH_DIR` where the files are made (`target/tmp`).

mod bare;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod files;
mod link;
mod machine;
mod program;
mod table;
mod timing;

use std::{
    fs,
    hint::black_box,
    io::Cursor,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use aes::{
    Aes128,
    cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, typenum::U16},
};
use clusterd::{
    crypto::Fernet,
    files::{
        Added, ArchiveWriter, Buckets, ChecksumKind, Items, Manifest, MemberCache, RemoteManifest, Scanner, compare,
        sum_of, survey,
    },
    wire::{Command, CommandField, Deframer, Limits, frame},
};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use program::Failure;
use table::{Table, number, ratio};
use timing::{Samples, setting, timed};

const MIB: usize = 1024 * 1024;
/// The content of one message of a file transfer, bytes.
const CHUNK: usize = 512 * 1024;
const LARGEST: u64 = 1 << 30;

fn main() -> ExitCode {
    program::measure("parts-", run)
}

fn run(home: &Path) -> Result<(), Failure> {
    let kind = machine::file_system(home);
    files::SMALL.create(home)?;
    // A file that was changed within the last two seconds is read again by every scan.
    thread::sleep(Duration::from_millis(2500));

    let mut report = Report::new(format!("{} files of {} bytes on {kind}", files::SMALL.count, files::SMALL.size));
    cipher(&mut report)?;
    deframer(&mut report)?;
    link::measure(&mut report, home)?;
    let manifest = scans(&mut report, home);
    manifests(&mut report, &manifest)?;
    archives(&mut report, home, &manifest)?;
    report.table.print();
    Ok(())
}

struct Report {
    table: Table,
    runs: usize,
}

impl Report {
    fn new(title: String) -> Self {
        let runs = setting("BENCH_RUNS", 15);
        let title = format!("{title}, medians of {runs}, milliseconds");
        Self {
            table: Table::new(title, ["part", "median", "best", "worst", "MB/s", "limit", "ratio", "what limits"]),
            runs,
        }
    }

    /// Measures `work` and, in turns with it, `limit`. `bytes` is the volume of one repetition.
    fn measure<A, B>(
        &mut self,
        name: &str,
        bytes: usize,
        mut work: impl FnMut() -> A,
        what: &str,
        mut limit: impl FnMut() -> B,
    ) {
        let (mut samples, mut limits) = (Samples::default(), Samples::default());
        for _ in 0..self.runs {
            samples.push(1000.0 * timed(|| black_box(work())).0);
            limits.push(1000.0 * timed(|| black_box(limit())).0);
        }
        let limit = if what.is_empty() { f64::NAN } else { limits.median() };
        let speed =
            if bytes == 0 { "-".to_owned() } else { format!("{:.0}", bytes as f64 / samples.median() / 1000.0) };
        self.table.row([
            name.to_owned(),
            number(samples.median()),
            number(samples.best()),
            number(samples.worst()),
            speed,
            number(limit),
            ratio(samples.median(), limit),
            what.to_owned(),
        ]);
    }
}

fn cipher(report: &mut Report) -> Result<(), Failure> {
    let fernet = Fernet::new(&[7; 32]);
    let volume = 8 * MIB;
    let plain: Vec<u8> = (0..volume).map(|at| (at * 31 % 251) as u8).collect();
    let (key, sign) =
        ([7; 16], |data: &[u8]| Hmac::<Sha256>::new_from_slice(&[7; 16]).map(|mac| mac.chain_update(data).finalize()));
    let encrypt = || {
        let mut copy = plain.clone();
        let mut cipher = cbc::Encryptor::<Aes128>::new(&key.into(), &key.into());
        cipher.encrypt_blocks(Array::<u8, U16>::slice_as_chunks_mut(&mut copy).0);
        sign(&copy).is_ok()
    };
    let decrypt = || {
        let mut copy = plain.clone();
        let mut cipher = cbc::Decryptor::<Aes128>::new(&key.into(), &key.into());
        cipher.decrypt_blocks(Array::<u8, U16>::slice_as_chunks_mut(&mut copy).0);
        sign(&copy).is_ok()
    };
    for (name, length) in [("Fernet seal, 512 KiB each", CHUNK), ("Fernet seal, 256 bytes each", 256)] {
        let work = || {
            plain.chunks(length).for_each(|chunk| {
                let mut token = Vec::new();
                fernet.seal(chunk, 0, [3; 16], &mut token);
                black_box(&token);
            });
        };
        report.measure(name, volume, work, "AES-128-CBC, HMAC-SHA-256", encrypt);
    }
    for (name, length) in [("Fernet open, 512 KiB each", CHUNK), ("Fernet open, 256 bytes each", 256)] {
        let mut tokens = Vec::new();
        for chunk in plain.chunks(length) {
            let mut token = Vec::new();
            fernet.seal(chunk, 0, [3; 16], &mut token);
            fernet.open(token.clone())?;
            tokens.push(token);
        }
        let work = || {
            tokens.iter().filter_map(|token| fernet.open(token.clone()).ok()).map(|plain| plain.len()).sum::<usize>()
        };
        report.measure(name, volume, work, "AES-128-CBC, HMAC-SHA-256", decrypt);
    }
    Ok(())
}

fn deframer(report: &mut Report) -> Result<(), Failure> {
    for (name, length) in [("deframer, 512 KiB each", CHUNK), ("deframer, 100 bytes each", 100)] {
        let mut stream = Vec::new();
        while stream.len() < 8 * MIB {
            let mut message = vec![0; frame::HEADER + length];
            frame::complete(&mut message, 1, CommandField::new(Command::Echo), length);
            stream.append(&mut message);
        }
        deframe(&stream)?;
        let copy = || stream.clone();
        report.measure(name, stream.len(), || deframe(&stream).unwrap_or_default(), "one copy", copy);
    }
    Ok(())
}

/// Reads a stream as it comes from a socket, 64 KiB at a time.
fn deframe(stream: &[u8]) -> Result<usize, Failure> {
    let mut deframer = Deframer::new(Limits::FULL);
    let mut count = 0;
    for mut received in stream.chunks(64 * 1024) {
        while !received.is_empty() {
            let space = deframer.space();
            let length = space.len().min(received.len());
            space[..length].copy_from_slice(&received[..length]);
            received = &received[length..];
            count += usize::from(deframer.arrived(length)?.is_some());
        }
    }
    Ok(count)
}

/// Gives a manifest with both checksums.
fn scans(report: &mut Report, home: &Path) -> Arc<Manifest> {
    let items = Arc::new(Items::standard());
    let paths: Vec<PathBuf> = files::SMALL.paths().map(|path| home.join(path)).collect();
    let volume = files::SMALL.count * files::SMALL.size;
    let hash = |content: Vec<u8>| (Md5::digest(&content), blake2b_simd::blake2b(&content));
    let read_all = || paths.iter().filter_map(|path| fs::read(path).ok().map(hash)).count();
    let stat_all = || paths.iter().filter(|path| fs::metadata(path).is_ok()).count();
    let work = || Scanner::new(home, items.clone()).scan(true).hashed;
    report.measure("first scan", volume, work, "read + MD5 + BLAKE2b, one thread", read_all);
    let mut scanner = Scanner::new(home, items.clone());
    scanner.scan(true);
    report.measure("scan when nothing changed", 0, || scanner.scan(true).hashed, "stat by path", stat_all);
    scanner.scan(true).manifest
}

fn manifests(report: &mut Report, manifest: &Manifest) -> Result<(), Failure> {
    for (name, kind) in [("MD5+BLAKE2b", ChecksumKind::Md5Blake2b), ("BLAKE2b", ChecksumKind::Blake2b)] {
        let mut json = Vec::new();
        manifest.to_json(&manifest.within(Buckets::ALL), kind, &mut json)?;
        let write = || {
            let mut json = Vec::new();
            manifest.to_json(&manifest.within(Buckets::ALL), kind, &mut json).map(|()| json)
        };
        let copy = || json.clone();
        report.measure(&format!("manifest to JSON, {name}"), json.len(), write, "", copy);
        let parse = || RemoteManifest::parse(&json, kind).map_or(0, |remote| remote.entries().len());
        let any = || serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok();
        report.measure(&format!("manifest from JSON, {name}"), json.len(), parse, "serde_json that keeps nothing", any);
        let remote = RemoteManifest::parse(&json, kind)?;
        let same = || compare(manifest, &remote, kind, Buckets::ALL).is_ok_and(|difference| difference.is_empty());
        report.measure(&format!("compare equal manifests, {name}"), 0, same, "", || ());
        let pack = || ArchiveWriter::new(Vec::new(), 1, u64::MAX).finish(&json);
        let packed = pack()?;
        println!("The archive of a check, {name}: {} bytes ({} of JSON).", packed.len(), json.len());
        report.measure(&format!("archive of a check, {name}"), json.len(), pack, "", || ());
    }
    Ok(())
}

/// A list of a manager: lines that are alike.
fn long_file(report: &mut Report, home: &Path) -> Result<(), Failure> {
    let content: String = (0..1_000_000).map(|number| format!("10.{}.{}:blocked\n", number % 251, number)).collect();
    let path = home.join("long");
    fs::write(&path, &content)?;
    let sum = sum_of(content.as_bytes());
    let write = || -> Result<Added, Failure> {
        Ok(ArchiveWriter::new(std::io::sink(), 1, LARGEST).add_file(
            "long",
            &mut fs::File::open(&path)?,
            &sum,
            false,
            None,
        )?)
    };
    let bare = || fs::read(&path).is_ok_and(|content| bare::pack(&content).is_ok());
    let limit = "open, read, deflate";
    report.measure("archive of a long text file, written", content.len(), || write().is_ok(), limit, bare);
    Ok(())
}

fn archives(report: &mut Report, home: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let volume = files::SMALL.count * files::SMALL.size;
    let write = |cache: Option<&MemberCache>| -> Result<Vec<u8>, Failure> {
        let mut writer = ArchiveWriter::new(Vec::new(), 1, LARGEST);
        for entry in manifest.entries() {
            if let Some(cache) = cache
                && writer.add_cached(&entry.path, &entry.sum, cache)?.is_some()
            {
                continue;
            }
            let mut file = fs::File::open(home.join(&*entry.path))?;
            writer.add_file(&entry.path, &mut file, &entry.sum, false, cache)?;
        }
        Ok(writer.finish(b"{}")?)
    };
    let read_all = || manifest.entries().iter().filter_map(|entry| fs::read(home.join(&*entry.path)).ok());
    let packed = read_all().map(|content| bare::pack(&content)).collect::<Result<Vec<_>, _>>()?;
    let pack_all = || read_all().filter_map(|content| bare::pack(&content).ok()).count();
    let unpack_all = || packed.iter().filter(|packed| bare::unpack(packed, files::SMALL.size).is_ok()).count();
    let archive = write(None)?;
    println!("The archive of all files: {} bytes.", archive.len());
    report.measure("archive of all files, written", volume, || write(None).is_ok(), "open, read, deflate", pack_all);
    let cache = MemberCache::new(64 * MIB);
    write(Some(&cache))?;
    let cached = || write(Some(&cache)).is_ok();
    report.measure("the same from the cache of members", volume, cached, "one copy", || archive.clone());
    long_file(report, home)?;
    for (name, kind) in [("MD5+BLAKE2b", ChecksumKind::Md5Blake2b), ("BLAKE2b", ChecksumKind::Blake2b)] {
        let look = || survey(&mut Cursor::new(&archive), kind, LARGEST).map_or(0, |found| found.members.len());
        report.measure(&format!("archive of all files, surveyed, {name}"), volume, look, "inflate", unpack_all);
    }
    Ok(())
}
