//! The page of frames in the documentation of this module shows what there is, as it is.

use super::{
    Asker, Command, CommandField, Deframer, Limits, Message, NotTaken, Request,
    frame::{self, HEADER},
};
use crate::crypto::Fernet;

const PAGE: &str = include_str!("frames.md");

/// A row: `<direction>  <counter> <size> <command>  <payload>`.
struct Example {
    direction: &'static str,
    header: [u8; HEADER],
    command: CommandField,
    payload: &'static str,
}

impl Example {
    /// Of a line of the page; none if it shows no frame.
    fn of(line: &'static str) -> Option<Self> {
        // A direction has three letters, and an arrow more bytes than one.
        let at = line.char_indices().nth(5)?.0;
        let direction = line[..at].trim();
        let (counter, rest) = line[at..].split_at_checked(8)?;
        let (size, rest) = (rest.get(1..9)?, rest.get(10..)?);
        let (field, payload) = rest.split_at_checked(12)?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        let command = CommandField::received(field.as_bytes().try_into().ok()?);
        let header = frame::header(number(counter)?, number(size)? as usize, command);
        Some(Self { direction, header, command, payload: payload.strip_prefix("  ").unwrap_or(payload) })
    }
}

fn examples() -> impl Iterator<Item = Example> {
    PAGE.lines().filter_map(Example::of)
}

fn read(frame: &[u8]) -> Message {
    let (mut deframer, mut rest) = (Deframer::new(Limits::FULL), frame);
    loop {
        let space = deframer.space();
        let count = space.len().min(rest.len());
        assert!(count > 0, "a frame is incomplete");
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        if let Some(message) = deframer.arrived(count).unwrap() {
            assert!(rest.is_empty());
            return message;
        }
    }
}

#[test]
fn each_is_a_frame_as_it_is_made_and_read() {
    // The last one shows a token.
    let plain: Vec<Example> = examples().collect();
    for Example { direction, header, command, payload } in &plain[..plain.len() - 1] {
        let mut made = [&[0; HEADER], payload.as_bytes()].concat();
        let counter = u32::from_be_bytes(header[..4].try_into().unwrap());
        frame::complete(&mut made, counter, *command, payload.len());
        assert_eq!(made, [&header[..], payload.as_bytes()].concat(), "{command} {payload}");
        let message = read(&made);
        let taken = |asker: &Asker| match Request::parse(*asker, message.command, &message.body) {
            Ok(_) => true,
            // A program is told the id or the reason alone.
            Err(NotTaken::Malformed(_)) => *asker == Asker::Daemon,
            Err(_) => false,
        };
        let senders = senders(direction);
        assert!(command.is_answer() || senders.iter().all(taken), "{direction} {command}");
    }
}

/// Who may send what has this direction on the page.
fn senders(direction: &str) -> &'static [Asker] {
    match direction {
        "w→m" => &[Asker::Worker],
        "m→w" => &[Asker::Master],
        "p→d" => &[Asker::Program],
        "d→p" => &[Asker::Daemon],
        "any" => &[Asker::Worker, Asker::Master],
        other => panic!("'{other}' is no direction"),
    }
}

/// Each command, by everybody who may send it.
#[test]
fn no_command_is_missing() {
    let shown: Vec<(CommandField, &[Asker])> =
        examples().filter(|example| !example.direction.is_empty()).map(|e| (e.command, senders(e.direction))).collect();
    let is_shown = |command: Command, asker: Option<&Asker>| {
        let field = CommandField::new(command);
        shown.iter().any(|(shown, senders)| *shown == field && asker.is_none_or(|asker| senders.contains(asker)))
    };
    for command in Command::ALL {
        assert!(is_shown(*command, None), "{command}");
        let askers = command.askers();
        for asker in askers {
            let is_elsewhere = match asker {
                // A stranger says what a worker says.
                Asker::Stranger => askers.contains(&Asker::Worker),
                // A worker passes questions on as they are.
                Asker::Worker => is_shown(*command, Some(&Asker::Program)),
                // What any peer may say is the same at the control socket.
                Asker::Program | Asker::Daemon => is_shown(*command, Some(&Asker::Worker)),
                Asker::Master => false,
            };
            assert!(is_elsewhere || is_shown(*command, Some(asker)), "{command} of {asker:?}");
        }
    }
}

#[test]
fn the_token_is_opened_by_the_key_that_is_named() {
    let (last, more) = PAGE.trim_end().trim_end_matches("\n```").rsplit_once('\n').unwrap();
    let Example { header, payload, .. } = Example::of(last.lines().last().unwrap()).unwrap();
    let token = [payload, more.trim()].concat();
    assert_eq!(frame::size(&header), token.len());
    let quoted: Vec<&str> = PAGE.rsplit_once("between nodes, under").unwrap().1.split('`').collect();
    let plain = Fernet::new(quoted[1].as_bytes().try_into().unwrap()).open(token.into_bytes()).unwrap();
    assert_eq!(String::from_utf8(plain).unwrap(), quoted[3]);
}

#[test]
fn the_specification_names_no_other_commands() {
    let (_, rest) = include_str!("../../spec/protocol.md").split_once("### 4.6 ").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix('|')?.split(" |").next());
    // What stands between two marks. No node sends `syn_e_w_m` (section 10.8).
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names.into_iter().filter(|name| !name.starts_with("syn_e_w_m")) {
        assert!(Command::named(name.as_bytes()).is_some(), "{name}");
    }
}
