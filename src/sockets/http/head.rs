//! The part of an HTTP message before its body, alike for server and client.

use std::io::{self, BufRead, Read};

use httparse::Header;

/// The longest head, in bytes.
pub const LONGEST: usize = 16 * 1024;

/// The most header lines.
pub const HEADERS: usize = 64;

/// Reads up to and including the empty line; `None` if the stream ends before anything has come. Empty lines in front
/// are passed over, as the standard asks.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when it is too long, [`io::ErrorKind::UnexpectedEof`] for half a head, and those of the
/// reader.
pub fn read(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let (mut head, mut left) = (Vec::new(), LONGEST);
    loop {
        let before = head.len();
        let count = from.by_ref().take(left as u64).read_until(b'\n', &mut head)?;
        left -= count;
        if left == 0 {
            let text = format!("its head is longer than {LONGEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let ended = count == 0 || !head.ends_with(b"\n");
        if ended && head.is_empty() {
            return Ok(None);
        }
        if ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if matches!(&head[before..], b"\n" | b"\r\n") {
            if before > 0 {
                return Ok(Some(head));
            }
            head.clear();
        }
    }
}

/// The values of a header, in lower case.
pub fn values(headers: &[Header<'_>], name: &str) -> Vec<String> {
    let of_name = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    of_name.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase()).collect()
}

/// Whether a header holds this word, in lower case, in a list.
pub fn lists(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    values(headers, name).iter().any(|value| value.split(',').any(|one| one.trim() == word))
}

/// The declared length of the body, if one is; `Err` if it is no number or declared twice.
pub fn content_length(headers: &[Header<'_>]) -> Result<Option<u64>, ()> {
    match &values(headers, "content-length")[..] {
        [] => Ok(None),
        [one] if one.bytes().all(|byte| byte.is_ascii_digit()) => one.parse().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        let mut bytes = &b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nbody"[..];
        assert_eq!(read(&mut bytes).unwrap().unwrap(), b"GET / HTTP/1.1\r\nA: b\r\n\r\n");
        assert_eq!(bytes, b"body");
        assert_eq!(read(&mut &b""[..]).unwrap(), None);
        assert_eq!(read(&mut &b"GET /"[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut &b"GET /\r\n"[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut &vec![b'x'; LONGEST + 9][..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut &vec![b'\n'; LONGEST + 9][..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_length_is_one_number() {
        let length = |values: &[&str]| {
            let header = |value: &&'static str| Header { name: "Content-length", value: value.as_bytes() };
            let values: Vec<&'static str> = values.iter().map(|value| &*value.to_string().leak()).collect();
            content_length(&values.iter().map(header).collect::<Vec<_>>())
        };
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["12"]), Ok(Some(12)));
        for bad in [&["+1"][..], &["-1"], &[""], &["1, 1"], &["1", "1"], &["99999999999999999999999"]] {
            assert_eq!(length(bad), Err(()), "{bad:?}");
        }
    }
}
