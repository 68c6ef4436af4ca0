//! Numbers with units, as people read them.

use std::time::Duration;

/// `12.3 MB`, in powers of 1000.
pub fn bytes(count: u64) -> String {
    let (mut value, mut unit) = (count as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// `1 file`, `2 files`.
pub fn files(count: usize) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

/// `7 s`, `12 min`, `3 h`, `2 d`: whole units, rounded down.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `3 ms`, `1.25 s`: how long something took.
pub fn short(duration: Duration) -> String {
    match duration.as_micros() {
        0..1000 => "under 1 ms".to_owned(),
        1000..1_000_000 => format!("{} ms", duration.as_millis()),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (99_950, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (12_345_678, "12.3 MB"),
            (u64::MAX, "18446744 TB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!([0, 1, 2].map(files), ["0 files", "1 file", "2 files"]);
        let spans = [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")];
        for (seconds, text) in spans {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        for (micros, text) in [(999, "under 1 ms"), (1999, "1 ms"), (999_999, "999 ms"), (1_254_000, "1.25 s")] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }
}
