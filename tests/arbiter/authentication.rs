//! Users and tokens.

use clusterd::arbiter::{Claim, Key, Write, Written};

use crate::{
    gateway::{Asked, Gateway, Say, good},
    members::Members,
    node::{Seat, master, patient, seat, until, user},
};

const READ: &str = r#"{"header":{"revision":"3"},"succeeded":true,"responses":[{"response_range":{}}]}"#;

fn as_user(urls: &[String], name: &str, password: &str) -> Seat {
    let mut options = patient(urls);
    options.user = user(name, password);
    seat(&options)
}

fn failure(seat: &Seat) -> String {
    seat.etcd.read(&[Key::Master]).unwrap_err().to_string()
}

#[test]
fn a_token_that_has_expired_is_renewed_once() {
    for refusal in [
        r#"{"error":"etcdserver: invalid auth token","code":16,"message":"etcdserver: invalid auth token"}"#,
        r#"{"error":"etcdserver: revision of auth store is old","code":3}"#,
    ] {
        let gateway = Gateway::start(move |asked, number| match (&*asked.path, asked.authorization.as_deref()) {
            ("/v3/auth/authenticate", None) => good(&format!(r#"{{"token":"t.{number}"}}"#)),
            // The first one was good for one request.
            (_, Some("t.0")) if number == 1 => good(READ),
            (_, Some("t.0")) => Say::Json(401, refusal.to_owned()),
            (_, Some("t.3")) if number == 4 => good(READ),
            other => panic!("{other:?}"),
        });
        let seat = as_user(&[gateway.url()], "wazuh", "secret");
        assert!(seat.etcd.read(&[Key::Master]).is_ok() && seat.etcd.read(&[Key::Master]).is_ok());
        let asked = gateway.asked();
        assert_eq!(asked.len(), 5);
        assert_eq!(asked[3].body, r#"{"name":"wazuh","password":"secret"}"#);
    }
}

#[test]
fn a_token_that_is_always_refused_is_told() {
    let refusal = r#"{"error":"etcdserver: invalid auth token","code":16}"#;
    let script = move |asked: &Asked, _: usize| match &*asked.path {
        "/v3/auth/authenticate" => good(r#"{"token":"t"}"#),
        _ => Say::Json(401, refusal.to_owned()),
    };
    let gateway = Gateway::start(script);
    let seat = as_user(&[gateway.url()], "wazuh", "secret");
    assert!(failure(&seat).contains("said: etcdserver: invalid auth token"));
    assert_eq!(gateway.asked().len(), 4);
}

/// It would become a part of the head of a request, maybe to another member.
#[test]
fn a_token_that_is_no_word_is_refused() {
    let gateway = Gateway::start(|_, _| good(r#"{"token":"t\r\nHost: other"}"#));
    let seat = as_user(&[gateway.url()], "wazuh", "secret");
    assert!(failure(&seat).contains("its token is none"));
}

#[test]
fn a_user_of_etcd_may_do_what_its_role_allows() {
    // Tokens that expire while this test runs; a password is checked in no time.
    let Some(members) = Members::start(1, &["--auth-token-ttl", "1", "--bcrypt-cost", "4"]) else { return };
    let urls = members.urls();
    assert!(failure(&as_user(&urls, "wazuh", "secret")).contains("remove failover.user, or run: etcdctl auth enable"));
    for arguments in [
        "user add root:root",
        "role add cluster",
        "role grant-permission cluster readwrite --prefix=true /threatlockdown/wazuh/",
        "user add wazuh:secret",
        "user grant-role wazuh cluster",
        "user grant-role root root",
        "auth enable",
    ] {
        members.control(&arguments.split(' ').collect::<Vec<_>>());
    }
    let owner = as_user(&urls, "wazuh", "secret");
    let lease = owner.etcd.grant(std::time::Duration::from_secs(600)).unwrap();
    let Claim::Won(mut guard) = owner.etcd.claim(lease, &master("a")).unwrap() else { panic!("another master") };
    // A token that is used lives on; one that is not used expires.
    let start = std::time::Instant::now();
    until("the end of a token", || start.elapsed() > std::time::Duration::from_secs(3));
    assert_eq!(owner.etcd.write(&mut guard, &[Write::ids(100)]), Ok(Written::Done));
    assert!(owner.etcd.changes(guard.term).is_ok() && owner.etcd.renew(lease) == Ok(true));

    assert!(failure(&seat(&patient(&urls))).contains("set failover.user and failover.password_file"));
    assert!(failure(&as_user(&urls, "wazuh", "wrong")).contains("mend failover.user, or the password in"));
    let mut other = patient(&urls);
    (other.cluster, other.user) = ("other".into(), user("wazuh", "secret"));
    assert!(failure(&seat(&other)).contains("grant the user's role readwrite on the prefix"));
}
