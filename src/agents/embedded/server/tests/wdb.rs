use std::{io::Write, time::Duration};

use super::super::fake::*;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn each_frame_gets_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.wdb();
    for (request, answer) in [
        ("echo", "ok"),
        ("echo a b", "ok a b"),
        ("echo from C\0", "ok from C"),
        ("echo line\n", "ok line\n"),
        ("due [1]", "due [1]"),
        ("something", "err no something"),
        ("\0", "err no "),
        ("panic", "err The request failed."),
        ("echo still here", "ok still here"),
    ] {
        assert_eq!(program.ask(request).as_deref(), Some(answer), "{request:?}");
    }
    run.stop();
}

#[test]
fn requests_may_come_in_single_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.wdb();
    for byte in b"\x06\0\0\0echo x\x06\0\0\0echo y" {
        program.write(&[*byte]);
    }
    assert_eq!((program.frame(), program.frame()), (Some("ok x".into()), Some("ok y".into())));
    run.stop();
}

#[test]
fn rows_come_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.wdb();
    program.send(b"rows");
    let frames: Vec<_> = std::iter::from_fn(|| program.frame().filter(|text| text != "ok []")).collect();
    assert_eq!(frames, ["due {\"id\":1}"; 3]);
    assert_eq!(program.ask("echo in step").unwrap(), "ok in step");
    run.stop();
}

#[test]
fn a_long_answer_is_cut_and_a_long_request_ends_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.wdb();
    let answer = program.ask("long").unwrap();
    assert_eq!(answer.len(), 65_536);
    assert!(answer.starts_with("ok xxx"));
    assert_eq!(program.ask(&format!("echo {}", "y".repeat(65_531))).unwrap().len(), 65_534);

    for bytes in [&[1, 0, 1, 0][..], &[255; 4], &[0; 4]] {
        let mut program = run.wdb();
        program.write(bytes);
        assert_eq!(program.rest(), "");
    }
    assert_eq!(program.ask("echo others are well").unwrap(), "ok others are well");
    run.stop();
}

#[test]
fn half_a_request_delays_nobody_and_does_not_last() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::limited(&directory, &Fake::new(), |limits| limits.request = SHORT);
    let (mut idle, mut half) = (run.wdb(), run.wdb());
    assert_eq!(idle.ask("echo 1").unwrap(), "ok 1");
    half.write(&[9, 0, 0, 0, b'e']);
    assert_eq!(run.wdb().ask("echo 2").unwrap(), "ok 2");
    assert_eq!(half.rest(), "");
    assert_eq!(idle.ask("echo 3").unwrap(), "ok 3");
    run.stop();
}

#[test]
fn a_slow_answer_delays_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let run = Run::start(&directory, &fake);
    let mut slow = run.wdb();
    slow.send(b"wait");
    assert_eq!(run.wdb().ask("echo 2").unwrap(), "ok 2");
    fake.release();
    assert_eq!(slow.frame().unwrap(), "ok waited");
    run.stop();
}

#[test]
fn a_program_that_does_not_read_is_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::limited(&directory, &Fake::new(), |limits| limits.answer = SHORT);
    let mut program = run.wdb();
    let request = format!("\x45\x1f\0\0rows {}", "x".repeat(8_000));
    let broken = (0..10_000).find_map(|_| program.0.write_all(request.as_bytes()).err());
    assert!(broken.is_some());
    assert_eq!(run.wdb().ask("echo 2").unwrap(), "ok 2");
    run.stop();
}

#[test]
fn the_longest_idle_program_goes_for_one_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::limited(&directory, &Fake::new(), |limits| limits.clients = 2);
    let (mut first, mut second) = (run.wdb(), run.wdb());
    assert_eq!(first.ask("echo 1").unwrap(), "ok 1");
    assert_eq!(second.ask("echo 2").unwrap(), "ok 2");
    assert_eq!(run.wdb().ask("echo 3").unwrap(), "ok 3");
    assert_eq!(first.rest(), "");
    assert_eq!(second.ask("echo 4").unwrap(), "ok 4");
    run.stop();
}
