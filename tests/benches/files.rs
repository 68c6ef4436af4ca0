//! The files that are synchronised, each with a content of its own.

use std::{fs, io, path::Path};

/// Files of one kind.
#[derive(Clone, Copy)]
pub struct Files {
    /// How many.
    pub count: usize,
    /// How long each is, in bytes.
    pub size: usize,
    /// How many stand in each directory.
    per_group: usize,
    /// Seconds that the original needs for check, sending and applying on a machine like ours; not a number where only the
    /// whole is known.
    pub original: ([f64; 3], f64),
    content: fn(&mut Random, usize) -> Vec<u8>,
}

/// 10 000 of 1 KB, in 100 groups: text as it stands in rules, which deflate makes about half as long.
pub const SMALL: Files =
    Files { count: 10_000, size: 1024, per_group: 100, original: ([0.5, 0.6, 2.3], 3.4), content: rules };
/// 100 of 1 MiB, in 10 groups: what deflate makes no shorter.
pub const LARGE: Files =
    Files { count: 100, size: 1024 * 1024, per_group: 10, original: ([f64::NAN; 3], 3.3), content: noise };

impl Files {
    /// The same, but so many.
    pub const fn so_many(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// Where they stand in a home.
    pub fn paths(self) -> impl Iterator<Item = String> {
        let group = self.per_group;
        (0..self.count).map(move |at| format!("etc/shared/group{:03}/file{:02}.conf", at / group, at % group))
    }

    /// The directories of [`Files::paths`].
    pub fn directories(self) -> impl Iterator<Item = String> {
        (0..self.count / self.per_group).map(|group| format!("etc/shared/group{group:03}"))
    }

    /// Makes all of them in `home`.
    pub fn create(self, home: &Path) -> io::Result<()> {
        for directory in self.directories() {
            fs::create_dir_all(home.join(directory))?;
        }
        let content = |at: usize| (self.content)(&mut Random(at as u64), self.size);
        self.paths().enumerate().try_for_each(|(at, path)| fs::write(home.join(path), content(at)))
    }
}

fn rules(random: &mut Random, size: usize) -> Vec<u8> {
    let mut text = String::with_capacity(size + 100);
    while text.len() < size {
        let (id, level, value) = (random.next() % 900_000, random.next() % 16, random.next());
        text += &format!("<rule id=\"{id}\" level=\"{level}\"><match>{value:016x}</match></rule>\n");
    }
    text.truncate(size);
    text.into_bytes()
}

fn noise(random: &mut Random, size: usize) -> Vec<u8> {
    (0..size / 8).flat_map(|_| random.next().to_le_bytes()).collect()
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
