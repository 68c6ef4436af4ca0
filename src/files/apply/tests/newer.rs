//! A master whose files change between its scan and its archive.

use super::*;

/// An archive with these contents, under the checksums of what the master's files were at its scan.
fn later(scanned: &Files, worker: &Path, contents: &Files) -> File {
    let master = home();
    put(master.path(), scanned);
    let items = Arc::new(Items::standard());
    let scan = |home: &Path| Scanner::new(home, items.clone()).scan(true).manifest;
    let kind = ChecksumKind::Blake2b;
    let (ours, theirs) = (scan(master.path()), scan(worker));
    let mut json = Vec::new();
    theirs.to_json(&theirs.within(Buckets::ALL), kind, &mut json).unwrap();
    let theirs = RemoteManifest::parse(&json, kind).unwrap();
    let difference = compare(&ours, &theirs, kind, Buckets::ALL).unwrap();
    put(master.path(), contents);
    let mut writer = ArchiveWriter::new(BufWriter::new(tempfile::tempfile().unwrap()), LEVEL, MOST_INFLATED);
    for entry in difference.create.iter().chain(&difference.update) {
        writer.add(&entry.path, &fs::read(master.path().join(&*entry.path)).unwrap()).unwrap();
    }
    let mut metadata = Vec::new();
    difference.write_json(|_| false, &Made::default(), &mut metadata).unwrap();
    writer.finish(&metadata).unwrap().into_inner().unwrap()
}

/// Case 4.1: as a master of the stock daemon does it while agents register, and while somebody writes a file.
#[test]
fn a_newer_content_is_taken_when_it_is_whole_and_only_from_an_original_master() {
    let old = files(&[
        ("etc/client.keys", "001 a any 1\n"),
        ("etc/rules/whole.xml", "<group/>\n"),
        ("etc/rules/torn.xml", "<group/>\n"),
    ]);
    let scanned = files(&[
        ("etc/client.keys", "001 a any 1\n002 b any 2\n"),
        ("etc/rules/whole.xml", "<group></group>\n"),
        ("etc/rules/torn.xml", "<group></group>\n"),
        ("etc/lists/torn", "key:value\n"),
    ]);
    let sent = files(&[
        ("etc/client.keys", "001 a any 1\n002 b any 2\n003 c any 3\n"),
        ("etc/rules/whole.xml", "<group><rule/></group>\n"),
        ("etc/rules/torn.xml", "<group><rule/>\n"),
        ("etc/lists/torn", ""),
    ]);
    for newer in [false, true] {
        let worker = home();
        put(worker.path(), &old);
        let archive = later(&scanned, worker.path(), &sent);
        let contents = if newer { Contents::OrNewer { home: worker.path() } } else { Contents::AsScanned };
        let items = Arc::new(Items::standard());
        let update = Update::open(archive, &items, ChecksumKind::Blake2b, contents, MOST_INFLATED).unwrap();
        let outcome = update.apply(&Target { home: worker.path(), owner: None, disk: &Disk::new(), outlines: None });
        let mut wanted = old.clone();
        if newer {
            assert_eq!((outcome.failures, outcome.updated), (vec![], 2));
            assert_eq!(outcome.unsettled, ["etc/lists/torn", "etc/rules/torn.xml"]);
            for path in ["etc/client.keys", "etc/rules/whole.xml"] {
                wanted.insert(path.to_owned(), sent[path].clone());
            }
        } else {
            assert_eq!((outcome.failures.len(), outcome.updated, outcome.unsettled), (4, 0, vec![]));
        }
        assert_eq!(only_files(worker.path()), wanted);
    }
}
