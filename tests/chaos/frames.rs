//! Where frames begin and end in a stream between two nodes.

/// Counter, size, command (`spec/protocol.md` 2.1).
const HEADER: usize = 20;

/// Follows one direction of a connection.
#[derive(Default)]
pub struct Frames {
    header: Vec<u8>,
    left: usize,
}

impl Frames {
    /// Takes what has passed; gives how much of it brings the stream to the middle of a body, if it comes to one.
    pub fn middle(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut at, mut middle) = (0, None);
        while at < bytes.len() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len() - at);
                (self.left, at) = (self.left - taken, at + taken);
                continue;
            }
            self.header.push(bytes[at]);
            at += 1;
            if self.header.len() == HEADER {
                self.left = u32::from_be_bytes(self.header[4..8].try_into().unwrap()) as usize;
                self.header.clear();
                if at < bytes.len() && self.left > 1 {
                    middle = middle.or(Some(at + (self.left / 2).min(bytes.len() - at)));
                }
            }
        }
        middle
    }
}

#[test]
fn the_middle_of_a_body_is_found_however_a_stream_is_cut() {
    let frame = [&7_u32.to_be_bytes()[..], &10_u32.to_be_bytes(), b"hello ------", &[1; 10]].concat();
    assert_eq!(Frames::default().middle(&frame), Some(25));
    let stream = frame.repeat(3);
    for cut in 1..stream.len() {
        let mut frames = Frames::default();
        frames.middle(&stream[..cut]);
        frames.middle(&stream[cut..]);
        assert_eq!((frames.header.len(), frames.left), (0, 0), "{cut}");
    }
}
