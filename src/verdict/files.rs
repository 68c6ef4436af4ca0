//! The verdict of a node that is connected, by its files.

use std::time::{Duration, SystemTime};

use super::{State, Verdict};
use crate::{
    system::human,
    tasks::integrity::{
        Applied, FailedFile,
        status::{IntegrityStatus, Sending},
    },
};

/// How long a node may be behind, or without a check, before somebody is to look at it. Large files take their time, but
/// while they are on their way that is the reason that is told.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why a node that was sent files does not count as in sync.
pub const NOT_CONFIRMED: &str = "files were sent to it, and no integrity check has confirmed them yet";
/// Why one does not that has just come.
pub const NOT_CHECKED: &str = "no integrity check has ended yet";
/// Why one does not that had all files.
pub const NOT_SHOWN: &str = "the files of the master have changed, and it has not shown yet that it has them";

/// Of the worker `name`, which joined at `joined`: its checks, and what it could not take. `now` is by the same wall clock.
pub fn of_files(
    name: &str,
    joined: SystemTime,
    status: &IntegrityStatus,
    applied: &Applied,
    now: SystemTime,
) -> Verdict {
    let &IntegrityStatus { standing, sending, behind_since, held, .. } = status;
    let since = behind_since.into_iter().chain(standing.differs_since).min();
    if let Some(held) = held {
        return behind(since, held.to_string()).with_remedy(
            "'cluster_control --confirm-deletions' on the master lets it go; if that is not to be, restore the files of \
             the master",
        );
    }
    if applied.failed > 0 {
        return behind(since, failures(applied))
            .with_remedy(format!("mend that on {name}; the files are sent again by themselves"));
    }
    if let Some(Sending { files, of, bytes }) = sending {
        let progress = format!("{files} of {of} files, {}", human::bytes(bytes));
        return behind(since, format!("files are being sent to it, {progress}"));
    }
    let verdict = match (standing.since, standing.differs_since) {
        (Some(_), _) if behind_since.is_some() => behind(since, NOT_SHOWN),
        (Some(equal), _) => return Verdict::in_sync(Some(equal)),
        (None, Some(_)) if status.sync.end > status.check.start => behind(since, NOT_CONFIRMED),
        (None, Some(_)) => {
            let count = human::files(standing.behind.sum());
            let differ = if standing.behind.sum() == 1 { "differs" } else { "differ" };
            behind(since, format!("{count} {differ} from the master's"))
        }
        (None, None) => Verdict::bad(State::Joining, Some(joined), NOT_CHECKED),
    };
    let waits = verdict.since.and_then(|since| now.duration_since(since).ok()).is_some_and(|waits| waits > PATIENCE);
    match waits {
        true => verdict.with_remedy(format!("logs/cluster.log on {name} and on the master tells what goes wrong")),
        false => verdict,
    }
}

/// Of a node that is behind for this reason.
fn behind(since: Option<SystemTime>, reason: impl Into<String>) -> Verdict {
    Verdict::bad(State::Behind, since, reason)
}

fn failures(applied: &Applied) -> String {
    let first = |FailedFile { path, reason }: &FailedFile| format!(", the first {path}: {reason}");
    let first = applied.failures.first().map(first).unwrap_or_default();
    format!("{} could not be written there{first}", human::files(applied.failed))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        files::Counts,
        tasks::{
            integrity::{Held, status::Standing},
            span::Span,
        },
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn equal(seconds: u64) -> Standing {
        let mut standing = Standing::default();
        standing.equal(Instant::now(), at(seconds));
        standing
    }

    fn differs(files: usize, seconds: u64) -> Standing {
        let mut standing = equal(1);
        standing.differs(Counts { update: files, ..Counts::default() }, at(seconds));
        standing
    }

    fn checked(start: u64) -> Span {
        Span { start: Some(at(start)), end: Some(at(start + 1)) }
    }

    /// Case 2.2 and all else that keeps a worker from being in sync: each has its state, its beginning, a reason, and a
    /// remedy if a person is needed.
    #[test]
    fn each_reason_has_its_words() {
        let status = IntegrityStatus { free: true, check: checked(90), ..IntegrityStatus::default() };
        let equal_status = IntegrityStatus { standing: equal(20), ..status };
        let held = Held { deletions: 37, of: 40, keys: false };
        let lost = Applied {
            failed: 2,
            failures: vec![FailedFile { path: "etc/rules/a.xml".into(), reason: "Permission denied".into() }],
            ..Applied::default()
        };
        let none = Applied::default();
        let cases = [
            (IntegrityStatus::default(), &none, State::Joining, 10, NOT_CHECKED, false),
            (equal_status, &none, State::InSync, 20, "", false),
            (
                IntegrityStatus { behind_since: Some(at(95)), ..equal_status },
                &none,
                State::Behind,
                95,
                NOT_SHOWN,
                false,
            ),
            (
                IntegrityStatus { standing: differs(1, 91), ..status },
                &none,
                State::Behind,
                91,
                "1 file differs from the master's",
                false,
            ),
            (
                IntegrityStatus { standing: differs(3, 91), behind_since: Some(at(89)), ..status },
                &none,
                State::Behind,
                89,
                "3 files differ from the master's",
                false,
            ),
            (
                IntegrityStatus { standing: differs(3, 91), sync: checked(91), ..status },
                &none,
                State::Behind,
                91,
                NOT_CONFIRMED,
                false,
            ),
            (
                IntegrityStatus {
                    standing: differs(3, 91),
                    sending: Some(Sending { files: 1, of: 3, bytes: 5000 }),
                    sync: Span { start: Some(at(92)), end: None },
                    ..status
                },
                &none,
                State::Behind,
                91,
                "files are being sent to it, 1 of 3 files, 5.0 kB",
                false,
            ),
            (
                IntegrityStatus { standing: differs(2, 91), sync: checked(92), ..status },
                &lost,
                State::Behind,
                91,
                "2 files could not be written there, the first etc/rules/a.xml: Permission denied",
                true,
            ),
            (
                IntegrityStatus { standing: differs(37, 91), held: Some(held), ..status },
                &none,
                State::Behind,
                91,
                "the deletion of 37 of its 40 files is held back",
                true,
            ),
        ];
        for (status, applied, state, since, reason, needs_hand) in cases {
            let verdict = of_files("w1", at(10), &status, applied, at(100));
            assert_eq!((verdict.state, verdict.since), (state, Some(at(since))), "{reason}");
            assert_eq!(verdict.reason.unwrap_or_default(), reason);
            assert_eq!(verdict.remedy.is_some(), needs_hand, "{reason}");
        }
    }

    #[test]
    fn who_makes_no_progress_is_to_be_looked_at() {
        let remedy =
            |status: &IntegrityStatus, now| of_files("w1", at(10), status, &Applied::default(), at(now)).remedy;
        let slow = IntegrityStatus { standing: equal(20), behind_since: Some(at(30)), ..IntegrityStatus::default() };
        for (status, since) in [(IntegrityStatus::default(), 10), (slow, 30)] {
            assert_eq!(remedy(&status, since + 300), None);
            assert!(remedy(&status, since + 301).unwrap().starts_with("logs/cluster.log on w1 "));
        }
        let sending = IntegrityStatus { sending: Some(Sending { files: 1, of: 3, bytes: 5000 }), ..slow };
        assert_eq!(remedy(&sending, 5000), None, "it gets on");
    }
}
