//! The files that are synchronised: 10 000 of 1 KB, in 100 groups, each with a content of its own.

use std::{fs, io, path::Path};

/// How many.
pub const COUNT: usize = 10_000;
/// How long each is, in bytes.
pub const SIZE: usize = 1024;
const PER_GROUP: usize = 100;

/// Where they stand in a home.
pub fn paths() -> impl Iterator<Item = String> {
    (0..COUNT).map(|at| format!("etc/shared/group{:03}/file{:02}.conf", at / PER_GROUP, at % PER_GROUP))
}

/// The directories of [`paths`].
pub fn directories() -> impl Iterator<Item = String> {
    (0..COUNT / PER_GROUP).map(|group| format!("etc/shared/group{group:03}"))
}

/// The content of the file with this number: text as it stands in rules, which deflate makes about half as long.
pub fn content(number: usize) -> Vec<u8> {
    let mut random = Random(number as u64);
    let mut text = String::with_capacity(SIZE + 100);
    while text.len() < SIZE {
        let (id, level, value) = (random.next() % 900_000, random.next() % 16, random.next());
        text += &format!("<rule id=\"{id}\" level=\"{level}\"><match>{value:016x}</match></rule>\n");
    }
    text.truncate(SIZE);
    text.into_bytes()
}

/// Makes all of them in `home`.
pub fn create(home: &Path) -> io::Result<()> {
    for directory in directories() {
        fs::create_dir_all(home.join(directory))?;
    }
    paths().enumerate().try_for_each(|(at, path)| fs::write(home.join(path), content(at)))
}

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
