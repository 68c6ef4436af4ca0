//! The order of names in which people count: `w2` before `w10`.

use std::cmp::Ordering;

/// Compares runs of digits by their value, all else by its characters. Names that are alike but for zeroes in front are
/// ordered as text, so that two names are equal only if they are the same.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (a, b) = match (next(&mut left), next(&mut right)) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => return a.is_some().cmp(&b.is_some()).then_with(|| one.cmp(other)),
        };
        let order = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            _ => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The next run of digits, or the next other character.
fn next<'a>(text: &mut &'a str) -> Option<&'a str> {
    let first = text.chars().next()?;
    let end = match first.is_ascii_digit() {
        true => text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()),
        false => first.len_utf8(),
    };
    let (part, rest) = text.split_at(end);
    *text = rest;
    Some(part)
}

/// The digits of a number without zeroes in front, of which the longer is the larger.
fn number(part: &str) -> Option<&str> {
    part.starts_with(|c: char| c.is_ascii_digit()).then(|| part.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_count_by_their_value() {
        let sorted = ["", "7", "10", "W1", "w", "w1", "w01", "w2", "w2-b", "w2b", "w10", "w99999999999999999999", "é"];
        let mut names = sorted;
        names.reverse();
        names.sort_by(|a, b| natural(a, b));
        // Zeroes in front decide only between names that are otherwise the same.
        let expected =
            ["", "7", "10", "W1", "w", "w01", "w1", "w2", "w2-b", "w2b", "w10", "w99999999999999999999", "é"];
        assert_eq!(names, expected);
    }

    proptest! {
        #[test]
        fn it_is_an_order(names in proptest::collection::vec("[w0-3-]{0,5}", 3)) {
            let [a, b, c] = [&names[0], &names[1], &names[2]];
            prop_assert_eq!(natural(a, b), natural(b, a).reverse());
            prop_assert_eq!(natural(a, b).is_eq(), a == b);
            if natural(a, b).is_le() && natural(b, c).is_le() {
                prop_assert!(natural(a, c).is_le(), "{} {} {}", a, b, c);
            }
        }
    }
}
