//! Whether something grows: the slope of Theil and Sen with its interval by Kendall's statistic.
//!
//! It is the median of the slopes between all pairs of samples, so peaks and other than normal distributions do it no harm.
//! What is measured at a process depends on what was measured just before; so samples are the means of a minute. A step
//! that stays counts as growth if it is large beside the noise: whoever looks has to tell the one from the other.

/// Two-sided, one in 10 000. There are about a hundred intervals in a soak: one in a hundred soaks is wrongly alarmed.
const Z: f64 = 3.89;

/// Of fewer samples nothing is said.
const FEW: usize = 15;

/// A slope and its interval, per unit of time of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The middle.
    pub median: f64,
    /// Its least value.
    pub low: f64,
    /// Its greatest.
    pub high: f64,
}

impl Slope {
    /// Of samples, each with its time; none of too few.
    pub fn of(samples: &[(f64, f64)]) -> Option<Self> {
        if samples.len() < FEW {
            return None;
        }
        let count = samples.len() as f64;
        let mut slopes = Vec::new();
        for (at, (then, before)) in samples.iter().enumerate() {
            slopes.extend(samples[at + 1..].iter().map(|(now, after)| (after - before) / (now - then)));
        }
        slopes.sort_by(f64::total_cmp);
        let deviation = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let out = ((slopes.len() as f64 - Z * deviation) / 2.0).floor().max(0.0) as usize;
        let last = slopes.len() - 1;
        Some(Self { median: slopes[last / 2], low: slopes[out], high: slopes[last - out] })
    }

    /// Whether it differs from zero upwards.
    pub fn grows(self) -> bool {
        self.low > 0.0
    }
}

/// The means of all samples of each unit of time.
pub fn means(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let parts = samples.chunk_by(|(one, _), (other, _)| one.floor() == other.floor());
    let mean = |part: &[(f64, f64)]| part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64;
    parts.map(|part| (part[0].0.floor(), mean(part))).collect()
}

#[test]
fn growth_is_told_from_noise() {
    use crate::random::Random;
    let mut random = Random::new(1);
    let mut series = |trend: f64| {
        let value = |at: usize| (at as f64, trend * at as f64 + random.below(1000) as f64 / 1000.0);
        Slope::of(&(0..25).map(value).collect::<Vec<_>>()).unwrap()
    };
    for _ in 0..100 {
        assert!(!series(0.0).grows() && !series(-0.1).grows());
        let growing = series(0.1);
        assert!(growing.grows() && growing.low < 0.1 && growing.high > 0.1, "{growing:?}");
    }
    let constant: Vec<(f64, f64)> = (0..20).map(|at| (f64::from(at), 5.0)).collect();
    assert_eq!(Slope::of(&constant), Some(Slope { median: 0.0, low: 0.0, high: 0.0 }));
    assert_eq!(means(&[(0.1, 1.0), (0.9, 3.0), (1.2, 5.0)]), [(0.0, 2.0), (1.0, 5.0)]);
}
