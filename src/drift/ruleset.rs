//! Whether the rules that lie on a node are those that its analysis program applies.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::short;
use crate::{
    config::{Home, settings::RULESET_KEYS},
    system::{clock::iso_utc, processes},
};

/// Who applies the rules.
const PROGRAM: &str = "wazuh-analysisd";

/// What that program makes of the lists while it loads them.
const COMPILED: &str = ".cdb";

/// Files that are looked at.
const MOST: usize = 200_000;

/// The ruleset of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// Whether it is applied.
    pub verdict: RulesetState,
    /// When its newest file was changed, UTC; none without files.
    pub changed: Option<String>,
    /// That file, or the directory from which one was removed, relative to the home.
    pub newest: Option<String>,
    /// When it was loaded, UTC: when the analysis program started, or this daemon had it load the rules anew.
    pub loaded: Option<String>,
}

/// Whether the ruleset of a node is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesetState {
    /// Nothing has changed since it was loaded.
    Loaded,
    /// Something has changed since. If another program than this daemon had it loaded again, that is not known.
    OnlyCopied,
    /// The analysis program does not run.
    NotRunning,
}

impl Ruleset {
    /// Of the node in `home`; `reloaded` is when this daemon last had it loaded.
    pub(super) fn of(home: &Home, reloaded: Option<SystemTime>, now: SystemTime) -> Self {
        let newest = newest(home.path());
        let started = started(&home.run_dir(), now);
        let loaded = started.map(|started| reloaded.map_or(started, |reloaded| reloaded.max(started)));
        let verdict = match (&newest, loaded) {
            (_, None) => RulesetState::NotRunning,
            (Some((changed, _)), Some(loaded)) if *changed > loaded => RulesetState::OnlyCopied,
            _ => RulesetState::Loaded,
        };
        let (changed, newest) = newest.map(|(changed, path)| (iso_utc(changed), path)).unzip();
        Self { verdict, changed, newest, loaded: loaded.map(iso_utc) }
    }

    /// Of another node, without what is longer than anything that is told.
    pub(super) fn bounded(self) -> Self {
        let Self { verdict, changed, newest, loaded } = self;
        Self { verdict, changed: changed.map(short), newest: newest.map(short), loaded: loaded.map(short) }
    }
}

/// What has changed last in the ruleset, and when.
fn newest(home: &Path) -> Option<(SystemTime, String)> {
    let (mut newest, mut left): (Option<(SystemTime, PathBuf)>, _) = (None, MOST);
    let mut note = |path: PathBuf, when: SystemTime| {
        if newest.as_ref().is_none_or(|(latest, _)| *latest <= when) {
            newest = Some((when, path));
        }
    };
    for key in RULESET_KEYS {
        // Lists are compiled beside themselves while they are loaded, so their directories change without anybody.
        let counts = !key.contains("lists");
        let mut directories = vec![home.join(key)];
        while let Some(directory) = directories.pop() {
            if let Ok(metadata) = directory.symlink_metadata()
                && counts
                && metadata.is_dir()
            {
                note(directory.clone(), time(metadata.mtime(), metadata.mtime_nsec()));
            }
            // A directory that is not there holds no rules.
            let entries = directory.read_dir().into_iter().flatten().flatten();
            for entry in entries.take(left) {
                left -= 1;
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if !entry.file_name().as_encoded_bytes().ends_with(COMPILED.as_bytes()) {
                    // A file that was moved here keeps its content's time.
                    note(entry.path(), time(metadata.ctime(), metadata.ctime_nsec()));
                }
            }
        }
    }
    newest.map(|(when, path)| (when, path.strip_prefix(home).unwrap_or(&path).to_string_lossy().into_owned()))
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let (seconds, nanoseconds) =
        (u64::try_from(seconds).unwrap_or_default(), u32::try_from(nanoseconds).unwrap_or_default());
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

/// When the analysis program started, by its pid file; none if it does not run.
fn started(run_dir: &Path, now: SystemTime) -> Option<SystemTime> {
    let entries = run_dir.read_dir().ok()?.flatten();
    let of_program = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let pid = name.strip_prefix(PROGRAM)?.strip_prefix('-')?.strip_suffix(".pid")?.parse().ok()?;
        match processes::started(pid, now) {
            Some((program, started)) => (program == PROGRAM).then_some(started),
            // It runs as somebody of whom this process sees nothing but that. It writes the file when it starts.
            None if processes::lives(pid) => entry.metadata().ok()?.modified().ok(),
            None => None,
        }
    };
    entries.filter_map(of_program).max()
}
