//! Contents that show whether they are whole, and which they are.

use crate::random::Random;

/// The content of a generation: a line with its number, its length and its checksum, and then that many bytes.
pub fn of(generation: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(generation);
    let mut body = Vec::with_capacity(length + 8);
    while body.len() < length {
        // Half of it can be compressed.
        body.extend_from_slice(&random.next().to_le_bytes()[..4]);
        body.extend_from_slice(b"rule");
    }
    body.truncate(length);
    let mut content = format!("{generation} {length} {}\n", sum(&body)).into_bytes();
    content.append(&mut body);
    content
}

/// The generation of a content.
///
/// # Errors
///
/// It is not whole.
pub fn generation(content: &[u8]) -> Result<u64, String> {
    let whole = || {
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let head = str::from_utf8(&content[..end]).ok()?;
        let mut words = head.split(' ');
        let (generation, length, found) = (words.next()?, words.next()?, words.next()?);
        let body = &content[end + 1..];
        (body.len().to_string() == length && sum(body) == found).then(|| generation.parse().ok())?
    };
    whole().ok_or_else(|| {
        let begin = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        format!("{} bytes that are no whole content, beginning with {begin:?}", content.len())
    })
}

fn sum(body: &[u8]) -> String {
    blake2b_simd::blake2b(body).to_hex()[..16].to_owned()
}

#[test]
fn what_is_not_whole_is_seen() {
    let content = of(7, 1000);
    assert_eq!(generation(&content), Ok(7));
    for length in 0..content.len() {
        assert!(generation(&content[..length]).is_err(), "{length}");
    }
    for at in 0..content.len() {
        let mut other = content.clone();
        other[at] ^= 1;
        assert_ne!(generation(&other), Ok(7), "{at}");
    }
}
