//! The files of the master, and how they change.

use std::{fs, path::Path, sync::Arc};

use crate::{content, history::History, random::Random};

/// Below so many nothing is deleted: a master that has just started holds back the deletion of most of a worker's files.
const FEW: usize = 40;
/// Above so many none is added.
const MANY: usize = 80;

const DIRECTORIES: [&str; 7] = [
    "etc/rules",
    "etc/rules/deep/down",
    "etc/decoders",
    "etc/lists",
    "etc/shared/default",
    "etc/shared/web",
    "etc/shared/db",
];

/// What a trial knows of the files.
pub struct Files {
    /// Of the master.
    pub history: Arc<History>,
    random: Random,
    generation: u64,
}

impl Files {
    /// Of an empty master; what happens is decided by `random`.
    pub fn new(random: Random) -> Self {
        Self { history: Arc::default(), random, generation: 0 }
    }

    /// Fills the home of a master.
    pub fn fill(&mut self, home: &Path) {
        while self.history.present().len() < FEW + 10 {
            self.create(home);
        }
    }

    /// A new file, at a path that is free: one that never was, or one that has been.
    pub fn create(&mut self, home: &Path) {
        let present = self.history.present();
        let path = format!("{}/f{}", DIRECTORIES[self.random.below(DIRECTORIES.len())], self.random.below(30));
        if present.len() < MANY && !present.contains_key(&path) {
            self.put(home, &path);
        }
    }

    /// Another content.
    pub fn edit(&mut self, home: &Path) {
        let path = self.any();
        self.put(home, &path);
    }

    /// One less.
    pub fn delete(&mut self, home: &Path) {
        if self.history.present().len() > FEW {
            let path = self.any();
            self.history.enter(&path, None);
            fs::remove_file(home.join(&path)).unwrap();
        }
    }

    /// A file gets the name of another one, or a new name in its place.
    pub fn rename(&mut self, home: &Path) {
        let (from, mut to) = (self.any(), self.any());
        if self.history.present().len() <= FEW || self.random.below(2) == 0 {
            to = format!("{from}-renamed");
        }
        if from != to {
            let generation = self.history.present()[&from];
            self.history.enter(&to, Some(generation));
            self.history.enter(&from, None);
            fs::rename(home.join(&from), home.join(&to)).unwrap();
        }
    }

    /// Somebody on a worker writes one of the files there.
    pub fn write_on(&mut self, worker: usize, home: &Path) {
        let path = self.any();
        self.generation += 1;
        self.history.enter_foreign(worker, &path, Some(self.generation));
        self.write(home, &path, self.generation);
    }

    /// Somebody on a worker deletes one of the files there.
    pub fn delete_on(&mut self, worker: usize, home: &Path) {
        let path = self.any();
        self.history.enter_foreign(worker, &path, None);
        // It may not have come yet.
        let _ = fs::remove_file(home.join(path));
    }

    /// Somebody on a worker adds a file of their own.
    pub fn add_on(&mut self, home: &Path) {
        let path = format!("{}/own{}", DIRECTORIES[self.random.below(4)], self.random.below(10));
        self.generation += 1;
        self.write(home, &path, self.generation);
    }

    fn any(&mut self) -> String {
        let present = self.history.present();
        present.keys().nth(self.random.below(present.len())).unwrap().clone()
    }

    fn put(&mut self, home: &Path, path: &str) {
        self.generation += 1;
        self.history.enter(path, Some(self.generation));
        self.write(home, path, self.generation);
    }

    /// As a whole: what a master's file is while somebody writes it in place is not the daemon's doing.
    fn write(&mut self, home: &Path, path: &str, generation: u64) {
        let length = self.random.magnitude(1..1 << 20) as usize;
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("tmp");
        fs::write(&beside, content::of(generation, length)).unwrap();
        fs::rename(beside, path).unwrap();
    }
}
