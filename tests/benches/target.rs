//! What ours is to reach.

/// The verdict on a target that is an upper bound.
pub fn verdict(value: f64, target: f64) -> String {
    match value <= target {
        true => "met".to_owned(),
        false => format!("MISSED ({:.2} of it)", value / target),
    }
}
