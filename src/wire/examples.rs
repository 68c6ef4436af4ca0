//! The page of frames in the documentation of this room shows what there is, as it is.

use std::collections::BTreeSet;

use super::{
    CommandField, Deframer, Limits, Message, Request,
    frame::{self, HEADER},
};
use crate::crypto::Fernet;

const PAGE: &str = include_str!("frames.md");

/// A row: `<direction>  <counter> <size> <command>  <payload>`.
struct Example {
    header: [u8; HEADER],
    command: CommandField,
    payload: &'static str,
}

impl Example {
    /// Of a line of the page; none if it shows no frame.
    fn of(line: &'static str) -> Option<Self> {
        // A direction has three letters, and an arrow more bytes than one.
        let at = line.char_indices().nth(5)?.0;
        let (counter, rest) = line[at..].split_at_checked(8)?;
        let (size, rest) = (rest.get(1..9)?, rest.get(10..)?);
        let (field, payload) = rest.split_at_checked(12)?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        let command = CommandField::received(field.as_bytes().try_into().ok()?);
        let header = frame::header(number(counter)?, number(size)? as usize, command);
        Some(Self { header, command, payload: payload.strip_prefix("  ").unwrap_or(payload) })
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
    for Example { header, command, payload } in &plain[..plain.len() - 1] {
        let mut made = [&[0; HEADER], payload.as_bytes()].concat();
        let counter = u32::from_be_bytes(header[..4].try_into().unwrap());
        frame::complete(&mut made, counter, *command, payload.len());
        assert_eq!(made, [&header[..], payload.as_bytes()].concat(), "{command} {payload}");
        let message = read(&made);
        let request = Request::parse(message.command, &message.body);
        let known = matches!(&request, Ok(request) if *request != Request::Unknown);
        assert!(known || command.is_answer() || only_to_programs(*command), "{command}: {request:?}");
    }
}

/// A daemon sends it and takes it from nobody.
fn only_to_programs(command: CommandField) -> bool {
    matches!(command.name(), b"control_res" | b"send_f_res" | b"dapi_res")
}

#[test]
fn no_command_is_missing() {
    let quoted = |source: &'static str, before: &'static str, after: &'static str| {
        let ends = move |rest: &'static str| rest.split_once(after).map(|(name, _)| name);
        source.split(before).skip(1).filter_map(ends)
    };
    let sent = quoted(include_str!("command.rs"), "=> \"", "\",");
    let taken = quoted(include_str!("request.rs"), "            b\"", "\" =>");
    let fields = |name: &str| format!("{name} {:-<12}", "").chars().take(12).collect::<String>();
    let wanted: BTreeSet<String> = sent.chain(taken).map(fields).collect();
    let shown: BTreeSet<String> =
        examples().map(|example| String::from_utf8_lossy(example.command.bytes()).into_owned()).collect();
    assert_eq!(wanted, shown);
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
