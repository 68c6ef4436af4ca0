mod http;
mod wdb;

use std::{fs::metadata, io, os::unix::fs::PermissionsExt, os::unix::net::UnixListener};

use super::{fake::*, *};

#[test]
fn sockets_replace_what_is_dead_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let mode = |path: &str| metadata(directory.path().join(path)).map(|about| about.permissions().mode() & 0o777).ok();
    let run = Run::start(&directory, &Fake::new());
    assert_eq!(mode("queue/db"), Some(0o750));
    assert_eq!(mode("queue/sockets"), Some(0o770));
    assert_eq!((mode("queue/db/wdb"), mode("queue/sockets/wdb-http.sock")), (Some(0o660), Some(0o660)));

    let error = Servers::bind(&home).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("queue/db/wdb"), "{error}");
    assert_eq!(run.wdb().ask("echo still here").unwrap(), "ok still here");
    run.stop();
    assert_eq!((mode("queue/db/wdb"), mode("queue/sockets/wdb-http.sock")), (None, None));

    drop(UnixListener::bind(home.agent_database_socket()).unwrap());
    drop(Servers::bind(&home).unwrap());
    std::fs::write(home.agent_database_socket(), "no socket").unwrap();
    assert!(Servers::bind(&home).is_err());
    assert_eq!(std::fs::read(home.agent_database_socket()).unwrap(), b"no socket");
}

#[test]
fn the_order_to_stop_ends_every_thread() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let run = Run::start(&directory, &fake);
    let (mut idle, mut half, mut busy, mut web) = (run.wdb(), run.wdb(), run.wdb(), run.http());
    assert_eq!(idle.ask("echo 1").unwrap(), "ok 1");
    half.write(&[9, 0]);
    busy.send(b"wait");
    web.write(b"GET /wait HTT");
    let threads = run.order();
    for program in [&mut idle, &mut half, &mut busy, &mut web] {
        assert_eq!(program.rest(), "");
    }
    fake.release();
    assert_eq!(threads.join(std::time::Instant::now() + LONG), 0);
}
