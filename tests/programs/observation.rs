//! The listener for those who watch a node, at a TCP port.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use serde_json::json;

use crate::support::{Daemon, Home, clusterd, control, finish};

/// A master that is watched at its own address.
fn watched() -> (Home, SocketAddr) {
    let home = Home::master();
    let address = SocketAddr::from((home.address.0, 9510));
    home.settings(json!({"metrics": {"listen": address.to_string()}}));
    (home, address)
}

/// All that the server says to this, until it closes.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn asks(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{more}\r\n")
}

#[test]
fn an_address_is_served_to_programs_of_this_machine() {
    let (home, address) = watched();
    let daemon = Daemon::start(&home);
    home.wait_for(&format!("[Cluster] [Metrics] Serving on http://{address}/"));
    let ask = |method: &str, path: &str, more: &str| exchange(address, &asks(method, path, more));
    assert!(
        ask("GET", "/metrics", "Host: 127.0.0.1:9510\r\n")
            .contains("\nwazuh_cluster_up{name=\"m\",type=\"master\"} 1\n")
    );
    let (whole, head) = (ask("GET", "/", ""), ask("HEAD", "/", ""));
    assert!(whole.contains("\r\n\r\n<!doctype html>") && head.ends_with("\r\n\r\n"), "{head}");
    let length = |text: &str| text.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
    assert_eq!(length(&head).len(), length(&whole).len());
    let head = ask("HEAD", "/master", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for (request, status) in [
        (asks("GET", "/metrics", "Host: evil.example\r\n"), "421 Misdirected Request"),
        (asks("POST", "/metrics", ""), "405 Method Not Allowed"),
        (asks("POST", "/", "Content-Length: 1\r\n"), "413 Content Too Large"),
        (asks("GET", "/../etc/ossec.conf", ""), "404 Not Found"),
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
    ] {
        let answer = exchange(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
    // One connection may ask again, and an idle one does not hold up the end.
    let mut stream = TcpStream::connect(address).unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status[..9], b"HTTP/1.1 ");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
    }
    daemon.stop();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_that_is_taken_is_one_clear_line_and_the_node_serves() {
    let (home, address) = watched();
    let _owner = TcpListener::bind(address).unwrap();
    let _daemon = Daemon::start(&home);
    let line = home.wait_for("[Cluster] [Metrics] Metrics listener disabled: ");
    assert!(line.contains("ERROR") && line.contains(&format!("{address}: Address already in use")), "{line}");
    assert!(line.contains("metrics.listen in etc/cluster.json"), "{line}");
    assert_eq!(control(&home, &["-l"]).status.code(), Some(0));
    assert_eq!(home.log().matches("Metrics listener disabled").count(), 1);
}

#[test]
fn an_address_that_others_can_reach_is_a_fault_of_the_configuration() {
    let home = Home::master();
    for listen in ["0.0.0.0:9510", "[::]:9510", "192.0.2.1:9510", "localhost:9510", "9510"] {
        home.settings(json!({"metrics": {"listen": listen}}));
        let mut command = clusterd(&home);
        command.arg("-t");
        let output = finish(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{listen}: {said}");
        let text = format!("metrics > listen is not acceptable ({}:", home.path("etc/cluster.json").display());
        assert!(said.contains(&text) && said.contains(&format!("found the string \"{listen}\"")), "{said}");
        assert!(said.contains("as there is no encryption and no login"), "{said}");
    }
}
