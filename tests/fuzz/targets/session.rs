//! Frames of a session (`spec/native.md` 2.8): bytes as they come, and those of this daemon, whole, altered, out of order and
//! played back.

use clusterd::{
    crypto::{End, Fernet, Session, Terms, Transcript},
    wire::{CommandField, Deframer, Limits, Message, sealed},
};

use super::input::Input;

/// The first byte chooses what the rest is.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 2 {
        0 => {
            let mut opener = session(End::Master).opener;
            for frame in frames(input.0) {
                assert!(sealed::open(&mut opener, frame).is_err(), "nobody has sealed it");
            }
        }
        _ => sealed_by_a_worker(input),
    }
}

fn session(end: End) -> Session {
    let transcript = Transcript::default();
    let (cluster, master, worker) = ("wazuh", "m", "w1");
    let terms = Terms { master_nonce: [1; 16], worker_nonce: [2; 16], cluster, master, worker, transcript };
    Session::new(&Fernet::new(&[9; 32]), terms, end)
}

/// The messages of a stream, as far as it can be read.
fn frames(mut stream: &[u8]) -> Vec<Message> {
    let (mut deframer, mut messages) = (Deframer::new(Limits::SEALED), Vec::new());
    while !stream.is_empty() {
        let space = deframer.space();
        let count = space.len().min(stream.len());
        space[..count].copy_from_slice(&stream[..count]);
        stream = &stream[count..];
        match deframer.arrived(count) {
            Ok(message) => messages.extend(message),
            Err(_) => break,
        }
    }
    messages
}

/// Each part is a command and its payload. Two bytes say which of the frames does not come as it was sent, and how.
fn sealed_by_a_worker(mut input: Input<'_>) {
    let (which, how) = (usize::from(input.byte()), input.byte());
    let (mut worker, mut master) = (session(End::Worker), session(End::Master));
    let mut sent: Vec<(Vec<u8>, CommandField, &[u8])> = Vec::new();
    while !input.is_over() && sent.len() < 10 {
        let mut message = Input(input.part());
        let (command, mut frame) = (message.command(), Vec::new());
        let iv = [sent.len() as u8; 16];
        sealed::seal(&mut worker.sealer, sent.len() as u32, command, message.0, iv, &mut frame).expect("few were sent");
        sent.push((frame, command, message.0));
    }
    let Some(last) = sent.len().checked_sub(1) else { return };
    let which = which % sent.len();
    let mut open = |frame: &[u8]| {
        let mut frames = frames(frame);
        // A length that does not fit leaves no whole frame.
        let frame = frames.pop().filter(|_| frames.is_empty())?;
        sealed::open(&mut master.opener, frame).ok()
    };
    for (frame, command, payload) in &sent[..which] {
        let message = open(frame).expect("it comes as it was sent");
        assert!(message.command == *command && message.body == *payload);
    }
    let mut frame = sent[which].0.clone();
    match how % 4 {
        0 if which > 0 => frame.clone_from(&sent[which - 1].0),
        1 if which < last => frame.clone_from(&sent[which + 1].0),
        2 => {
            // Reflected: what the master would have sent.
            frame.clear();
            let (_, command, payload) = sent[which];
            sealed::seal(&mut session(End::Master).sealer, which as u32, command, payload, [7; 16], &mut frame)
                .expect("none was sent");
        }
        _ => {
            let at = usize::from(how) * 31 % frame.len();
            frame[at] ^= 1 << (how % 8);
        }
    }
    assert!(open(&frame).is_none(), "frame {which} did not come as it was sent ({how}), and is taken");
}
