use std::{
    collections::HashMap,
    io::Read,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use std::path::Path;

use super::*;
use crate::{
    logging::LogFormat,
    system::disk::faults::{ERRORS, HARMLESS, at_each},
};

const DAY: Duration = Duration::from_secs(86_400);

impl LogFile {
    /// Appends a line like most.
    fn put(&self, line: &str, now: SystemTime) -> Vec<String> {
        self.append(line, false, now)
    }
}

fn settings(max_size: u64) -> LogSettings {
    LogSettings { format: LogFormat::Plain, max_size }
}

fn log(max_size: u64) -> (tempfile::TempDir, LogFile) {
    let logs = tempfile::tempdir().unwrap();
    let log = LogFile::new(logs.path().to_path_buf(), settings(max_size), None);
    log.open().unwrap();
    (logs, log)
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).unwrap();
    match path.extension().is_some_and(|ending| ending == "gz") {
        true => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
        false => { file }.read_to_string(&mut text),
    }
    .unwrap();
    text
}

/// All files below `logs`, by their path in it, when nothing waits to be archived.
fn files(logs: &Path) -> Vec<(String, String)> {
    let end = Instant::now() + Duration::from_secs(60);
    while !Closed::all(logs).unwrap().is_empty() {
        assert!(Instant::now() < end, "not archived in time");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut found, mut folders) = (Vec::new(), vec![logs.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(logs).unwrap().to_str().unwrap().to_owned(), text(&path)));
            }
        }
    }
    found.sort();
    found
}

fn archive_of(day: SystemTime, number: &str) -> String {
    let date = local_day(day);
    let month = &date.month().to_string()[..3];
    format!("cluster/{}/{month}/cluster.log-{:02}{number}.gz", date.year(), date.day())
}

#[test]
fn who_moves_or_removes_the_file_is_followed_at_once() {
    let (logs, log) = log(0);
    let (path, moved, now) = (logs.path().join(LOG), logs.path().join("cluster.log.1"), SystemTime::now());
    assert!(log.put("one\n", now).is_empty());
    fs::rename(&path, &moved).unwrap();
    assert!(log.put("two\n", now).is_empty());
    assert_eq!((text(&moved), text(&path)), ("one\n".into(), "two\n".into()));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "of another\n").unwrap();
    assert!(log.put("three\n", now).is_empty());
    assert_eq!(text(&path), "of another\nthree\n");
    fs::write(&path, "").unwrap();
    assert!(log.put("four\n", now).is_empty());
    assert_eq!(text(&path), "four\n", "truncated in place");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
}

#[test]
fn nothing_is_rotated_before_the_home_is_locked() {
    let (logs, log) = log(1);
    let now = SystemTime::now();
    for line in ["one\n", "two\n"] {
        log.put(line, now + DAY);
    }
    assert_eq!(files(logs.path()), [(LOG.to_owned(), "one\ntwo\n".to_owned())]);
}

#[test]
fn each_day_has_its_archive() {
    let (logs, log) = log(0);
    let _archiver = log.rotate(|| false).unwrap();
    let now = SystemTime::now();
    for day in 0..3 {
        for line in ["first\n", "second\n"] {
            assert!(log.put(&format!("{day} {line}"), now + day * DAY).is_empty());
        }
    }
    let lines = |day: u32| format!("{day} first\n{day} second\n");
    let mut expected =
        vec![(LOG.to_owned(), lines(2)), (archive_of(now, ""), lines(0)), (archive_of(now + DAY, ""), lines(1))];
    expected.sort();
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn a_clock_that_is_set_back_over_midnight_overwrites_nothing_and_does_not_rotate_again() {
    let (logs, log) = log(0);
    let _archiver = log.rotate(|| false).unwrap();
    let now = SystemTime::now();
    for (line, day) in [("a\n", 0), ("b\n", 1), ("c\n", 0), ("d\n", 1), ("e\n", 0), ("f\n", 1)] {
        assert!(log.put(line, now + day * DAY).is_empty());
    }
    let expected = [(LOG.to_owned(), "b\nc\nd\ne\nf\n".to_owned()), (archive_of(now, ""), "a\n".to_owned())];
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn a_clock_that_was_wrong_by_days_does_not_end_the_rotation() {
    let (logs, log) = log(0);
    let _archiver = log.rotate(|| false).unwrap();
    let (now, wrong) = (SystemTime::now(), SystemTime::now() + 900 * DAY);
    // The archive of today is taken when the second one comes.
    for (line, moment) in [("a\n", now), ("b\n", wrong), ("c\n", now), ("d\n", now + DAY)] {
        assert!(log.put(line, moment).is_empty());
    }
    let mut expected = vec![
        (LOG.to_owned(), "d\n".to_owned()),
        (archive_of(now, ""), "a\n".to_owned()),
        (archive_of(now, "_1"), "b\nc\n".to_owned()),
    ];
    expected.sort();
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn no_line_is_lost_or_torn_while_many_threads_write_and_files_are_rotated_and_moved() {
    const THREADS: u64 = 8;
    const LINES: u64 = 4000;
    let (logs, log) = log(64 * 1024);
    let archiver = log.rotate(|| false).unwrap();
    let (written, done, now) = (AtomicU64::new(0), AtomicBool::new(false), SystemTime::now());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (log, written) = (log.clone(), &written);
                scope.spawn(move || {
                    for n in 0..LINES {
                        let days = written.fetch_add(1, Ordering::Relaxed) / 5000;
                        let line = format!("{thread} {n} {}\n", "x".repeat(60 + n as usize % 40));
                        let news = log.put(&line, now + days as u32 * DAY);
                        assert!(news.is_empty(), "{news:?}");
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            // Another program that moves the file away while all this happens.
            for n in 0.. {
                let before = written.load(Ordering::Relaxed);
                let _ = fs::rename(logs.path().join(LOG), logs.path().join(format!("{LOG}.{n}")));
                while written.load(Ordering::Relaxed) < before + 3000 {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let files = files(logs.path());
    drop(archiver);
    let mut seen: HashMap<(u64, u64), u32> = HashMap::new();
    for line in files.iter().flat_map(|(_, text)| text.lines()) {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (thread, n) = (number(), number());
        assert_eq!(words.next().unwrap(), "x".repeat(60 + n as usize % 40), "torn: {line}");
        *seen.entry((thread, n)).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "a line is there twice");
    assert_eq!(seen.len() as u64, THREADS * LINES);
    let archives = files.iter().filter(|(name, _)| name.ends_with(".gz")).count();
    assert!(archives > 20 && files.len() > archives + 5, "{archives} archives, {} files", files.len());
    assert!(files.iter().all(|(name, text)| text.len() <= 64 * 1024 || name.starts_with("cluster.log.")), "too long");
}

#[test]
fn a_limit_that_is_set_while_it_is_written_counts_from_the_next_line_on() {
    let (logs, log) = log(0);
    let _archiver = log.rotate(|| false).unwrap();
    let now = SystemTime::now();
    assert!(log.put("one\n", now).is_empty());
    log.change(settings(6));
    assert!(log.put("two\n", now).is_empty());
    log.change(settings(0));
    assert!(log.put("three\n", now).is_empty());
    let expected = [(LOG.to_owned(), "two\nthree\n".to_owned()), (archive_of(now, "_1"), "one\n".to_owned())];
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn what_a_crash_left_is_archived_by_the_next_start() {
    let (logs, log) = log(0);
    let day = local_day(SystemTime::now() - 3 * DAY);
    let closed = Closed::next(logs.path(), day, 0).unwrap();
    drop(log);
    // It went down between the two steps of a rotation.
    fs::rename(logs.path().join(LOG), logs.path().join(closed.name())).unwrap();
    fs::write(logs.path().join(closed.name()), "of that day\n").unwrap();
    let log = LogFile::new(logs.path().to_path_buf(), settings(0), None);
    log.open().unwrap();
    let _archiver = log.rotate(|| false).unwrap();
    let expected =
        [(LOG.to_owned(), String::new()), (closed.archive().to_str().unwrap().to_owned(), "of that day\n".to_owned())];
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn lines_of_an_earlier_day_are_not_mixed_with_those_of_today() {
    let logs = tempfile::tempdir().unwrap();
    let (path, yesterday) = (logs.path().join(LOG), SystemTime::now() - DAY);
    fs::write(&path, "yesterday\n").unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(yesterday).unwrap();
    let log = LogFile::new(logs.path().to_path_buf(), settings(0), None);
    log.open().unwrap();
    let _archiver = log.rotate(|| false).unwrap();
    assert!(log.put("today\n", SystemTime::now()).is_empty());
    let expected = [(LOG.to_owned(), "today\n".to_owned()), (archive_of(yesterday, ""), "yesterday\n".to_owned())];
    assert_eq!(files(logs.path()), expected);
}

#[test]
fn a_log_that_cannot_be_rotated_goes_on_and_says_so_once() {
    let (logs, log) = log(0);
    let _archiver = log.rotate(|| false).unwrap();
    // A file stands where the directory of the archives belongs.
    fs::write(logs.path().join("cluster"), "").unwrap();
    let now = SystemTime::now();
    assert!(log.put("a\n", now).is_empty());
    let news = log.put("b\n", now + DAY);
    assert!(news.len() == 1 && news[0].contains("cannot be rotated: Not a directory"), "{news:?}");
    for _ in 0..3 {
        assert!(log.put("c\n", now + DAY).is_empty());
    }
    assert_eq!(text(&logs.path().join(LOG)), "a\nb\nc\nc\nc\n");
    // It is not tried at every line, but it is tried again.
    log.0.state.lock().rotating.again = Some(Instant::now());
    fs::remove_file(logs.path().join("cluster")).unwrap();
    assert!(log.put("d\n", now + DAY).is_empty());
    assert_eq!(files(logs.path())[1], (archive_of(now, ""), "a\nb\nc\nc\nc\n".to_owned()));
}

#[test]
fn lost_lines_are_told_once_and_counted() {
    let logs = tempfile::tempdir().unwrap();
    let (path, now) = (logs.path().join(LOG), SystemTime::now());
    fs::create_dir(&path).unwrap();
    let log = LogFile::new(logs.path().to_path_buf(), settings(0), None);
    let news = log.put("a\n", now);
    assert!(news.len() == 1 && news[0].contains("cannot be opened") && news[0].contains("without it"), "{news:?}");
    assert!(log.put("b\n", now).is_empty());
    fs::remove_dir(&path).unwrap();
    log.0.state.lock().opening.again = Some(Instant::now());
    assert_eq!(log.put("c\n", now), ["2 lines before this could not be written."]);
    assert_eq!(text(&path), "c\n");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(log.open().is_err());
    assert!(log.put("d\n", now).is_empty(), "whoever opened it has told it");
}

/// All lines of the log, in the open file and in the closed ones.
fn all_lines(logs: &Path) -> Vec<String> {
    let paths = logs.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn whatever_fails_each_line_is_there_once_or_counted_as_lost() {
    for fault in ERRORS.into_iter().chain(HARMLESS) {
        let mut all_lost = 0;
        let operations = at_each(fault, |disk, context| {
            let logs = tempfile::tempdir().unwrap();
            let log = LogFile::on(disk.clone(), logs.path().to_owned(), settings(60), None);
            let _archiver_is_not_started = log.0.wakeup.set(Wakeup::default());
            let (now, count) = (SystemTime::now(), 10);
            let news: Vec<String> = (0..count).flat_map(|n| log.put(&format!("this is line {n}\n"), now)).collect();
            let lines = all_lines(logs.path());
            let lost = (0..count).filter(|n| !lines.contains(&format!("this is line {n}"))).count();
            all_lost += lost;
            // A line that was written in part stands there as far as it got.
            assert!(lines.len() + lost <= count + 1, "{context}: {lines:?}");
            let counted = news.iter().any(|one| one.contains("could not be written")) || log.0.state.lock().lost > 0;
            assert_eq!(counted, lost > 0, "{context}: {news:?} {lines:?}");
            assert!(news.is_empty() || !HARMLESS.contains(&fault), "{context}: {news:?}");
        });
        assert!(operations > 20, "{operations}");
        assert!(all_lost == 0 || !HARMLESS.contains(&fault), "{fault:?}");
    }
}
