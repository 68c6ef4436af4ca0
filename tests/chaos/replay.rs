//! Trials one after the other, each with a seed of its own, and how one that fails is run again.
//!
//! | variable | meaning |
//! |---|---|
//! | `CHAOS_SECONDS` | trials begin for so long; 1, which is one trial |
//! | `CHAOS_SEED` | of the first trial, each next has one more; 1 |
//! | `CHAOS_NODES` | nodes of a cluster, master included; 4 |
//! | `CHAOS_KEEP` | where the directories of a trial that fails are moved to |

use std::time::{Duration, Instant};

use crate::trial::Outcome;

/// A whole number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// How many workers a cluster has.
pub fn workers() -> usize {
    setting("CHAOS_NODES", 4).max(2) as usize - 1
}

/// Says on a panic how to come to it again.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nTo run this trial again: {}\n", self.0);
        }
    }
}

/// Runs trials for as long as is wanted, and tells what they came to.
pub fn trials(kind: &str, run: impl Fn(u64) -> Outcome) {
    let (begun, lasting) = (Instant::now(), Duration::from_secs(setting("CHAOS_SECONDS", 1)));
    let mut outcomes = Vec::new();
    for seed in setting("CHAOS_SEED", 1).. {
        let replay = Replay(format!("make chaos {kind}SEED={seed} SECONDS=1 NODES={}", workers() + 1));
        let outcome = run(seed);
        drop(replay);
        println!("{kind}SEED={seed}: {outcome}");
        outcomes.push(outcome);
        if begun.elapsed() >= lasting {
            break;
        }
    }
    let worst = |time: fn(&Outcome) -> Duration| outcomes.iter().map(time).max().unwrap_or_default().as_secs_f64();
    let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum::<usize>();
    println!(
        "{} trials in {:.0} s: {} actions, {} kills, {} registrations answered, {} reads. Equal after at most {:.1} s \
         (files) and {:.1} s (agents).",
        outcomes.len(),
        begun.elapsed().as_secs_f64(),
        sum(|outcome| outcome.actions),
        sum(|outcome| outcome.kills),
        sum(|outcome| outcome.registrations),
        sum(|outcome| outcome.reads),
        worst(|outcome| outcome.files),
        worst(|outcome| outcome.agents),
    );
}
