//! A master's update, from its archive to the files of a worker (`spec/protocol.md` 10.7): whatever it holds, nothing
//! outside the synchronised directories is touched.

use std::io::{Seek, SeekFrom, Write};

use clusterd::{
    files::{Checksum, ChecksumKind, Contents, Outlines, Target, Update, md5_of},
    system::disk::Disk,
};
use serde_json::{Map, Value, json};

use super::{
    home::{FILE_SEP, Home, items, member},
    input::Input,
};

/// The most content that is taken here.
const MOST: u64 = 1 << 20;

/// The first byte chooses whether the rest is an archive or files of which one is made, and whether newer contents are
/// taken.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let how = input.byte();
    let (archive, contents) = match how & 1 {
        0 => (input.0.to_vec(), None),
        _ => {
            let (archive, contents) = built(input);
            (archive, Some(contents))
        }
    };
    let home = Home::new();
    let before = home.tree();
    let mut file = tempfile::tempfile_in(home.path()).expect("a file");
    file.write_all(&archive).and_then(|()| file.seek(SeekFrom::Start(0))).expect("it is written");
    let taken = if how & 2 == 0 { Contents::AsScanned } else { Contents::OrNewer { home: home.path() } };
    let Ok(update) = Update::open(file, &items(), ChecksumKind::Md5, taken, MOST) else { return };
    let counts = update.counts();
    let disk = Disk::new();
    let outcome =
        update.apply(&Target { home: home.path(), owner: None, disk: &disk, outlines: Some(&Outlines::new(1)) });
    assert!(outcome.created + outcome.updated + outcome.deleted <= counts.sum());
    if let Some(contents) = contents {
        home.check(&before, &contents);
    }
}

/// An archive of files: each is a byte that says in which list it stands and what of it is right, then its key, its path
/// and its content.
fn built(mut input: Input<'_>) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut lists = [Map::new(), Map::new(), Map::new()];
    let (mut archive, mut contents) = (Vec::new(), Vec::new());
    while !input.is_over() && contents.len() < 30 {
        let how = input.byte();
        let (key, path, content) = (input.text(), input.text(), input.part().to_vec());
        let sum = if how & 8 == 0 { Checksum::Md5(md5_of(&content)).to_string() } else { "00".repeat(16) };
        let entry = json!({"mod_time": 1.5, "cluster_item_key": key, "merged": how & 16 != 0, "hash": sum});
        lists[usize::from(how & 3) % 3].insert(path.clone(), entry);
        if how & 4 == 0 {
            archive.extend_from_slice(&member(&path, &content));
            archive.extend_from_slice(FILE_SEP);
        }
        contents.push((path, content));
    }
    let [missing, shared, extra] = lists.map(Value::Object);
    let metadata = json!({"missing": missing, "shared": shared, "extra": extra}).to_string();
    archive.extend_from_slice(&member("files_metadata.json", metadata.as_bytes()));
    (archive, contents)
}
