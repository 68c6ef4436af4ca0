//! Long answers and the states of an agent.

use super::*;

#[test]
fn long_lists_come_in_parts_that_fit_a_frame_and_nothing_is_lost_between_them() {
    let mut fixture = fixture();
    fixture.fill(6000);
    let all: Vec<i64> = (1..=6000).collect();
    let next = |last: i64| format!("global get-all-agents last_id {last}");
    assert_eq!(fixture.parts(&next(0), next), all);
    let next = |last: i64| format!(r#"global sync-agent-groups-get {{"condition":"all","last_id":{last}}}"#);
    assert_eq!(fixture.parts(&next(0), next), all);
    let ask = || "global sync-agent-info-get {}".to_owned();
    assert_eq!(fixture.parts(&ask(), |_| ask()), all);
    assert_eq!(fixture.ask(&ask()), "ok []", "what was given out counts as sent");
    // Answers to plain SQL are cut at exactly the longest frame.
    assert_eq!(fixture.ask("global sql SELECT * FROM agent").len(), 65_536);
    fixture.ask("global sql UPDATE agent SET group_sync_status = 'syncreq' WHERE id > 0");
    let ask = || r#"global sync-agent-groups-get {"condition":"sync_status","set_synced":true}"#.to_owned();
    assert_eq!(fixture.parts(&ask(), |_| ask()), all);
    assert_eq!(fixture.ask(&ask()), r#"ok [{"data":[]}]"#);
    // One that fits nowhere does not hold up the others.
    fixture.ask("global sql UPDATE agent SET name = replace(hex(zeroblob(40000)), '0', 'x'), group_sync_status = 'syncreq', sync_status = 'syncreq' WHERE id = 8");
    fixture
        .ask("global sql UPDATE agent SET group_sync_status = 'syncreq', sync_status = 'syncreq' WHERE id IN (6, 9)");
    assert_eq!(fixture.parts(&ask(), |_| ask()), [6, 9]);
    let texts = || "global sync-agent-info-get {}".to_owned();
    assert_eq!(fixture.parts(&texts(), |_| texts()), [6, 9]);
    fixture.ask("global sql UPDATE agent SET name = 'a' WHERE id = 8");
    assert_eq!(fixture.parts(&ask(), |_| ask()), [8]);
    // One more is found without looking at the others.
    fixture.tell(r#"global set-agent-groups {"mode":"override","sync_status":"syncreq","data":[{"id":7,"name":"a","groups":["default"]}]}"#);
    assert_eq!(fixture.parts(&ask(), |_| ask()), [7]);
}

#[test]
fn what_must_go_to_the_master_is_never_made_less() {
    let states = ["synced", "syncreq_keepalive", "syncreq_status", "syncreq"];
    let mut fixture = fixture();
    fixture.tell(r#"global insert-agent {"id":1,"name":"a","date_add":1}"#);
    for (strength, before) in states.iter().enumerate() {
        for (wanted, asked) in states.iter().enumerate() {
            fixture.ask(&format!("global sql UPDATE agent SET sync_status = '{before}' WHERE id = 1"));
            fixture.tell(&format!(
                r#"global update-keepalive {{"id":1,"connection_status":"active","sync_status":"{asked}"}}"#
            ));
            let after = fixture.rows("global sql SELECT sync_status FROM agent WHERE id = 1");
            let expected = if wanted == 0 { "synced" } else { states[wanted.max(strength)] };
            assert_eq!(after[0]["sync_status"], expected, "{before} and {asked}");
        }
    }
    let answer = fixture.ask(r#"global update-keepalive {"id":1,"connection_status":"gone","sync_status":"synced"}"#);
    assert!(
        answer.starts_with("err Cannot execute Global database query; CHECK constraint failed: connection_status IN"),
        "{answer}"
    );
}

#[test]
fn agent_information_comes_in_parts_that_name_every_change() {
    let mut fixture = fixture();
    fixture.fill(25);
    let take = |fixture: &Fixture, longest| {
        let pending = fixture.database.take_info(longest).unwrap();
        fixture.database.mark_told().unwrap();
        let object: Value = serde_json::from_str(&pending.info).unwrap();
        let count = |list: &str| object[list].as_array().map_or(0, Vec::len);
        (count("syncreq"), count("syncreq_keepalive"), pending.more, object)
    };
    let (first, _, more, object) = take(&fixture, 2000);
    assert!((3..25).contains(&first) && more, "{first}");
    assert_eq!(object["syncreq"][0]["labels"][0]["value"], "value1");
    assert_eq!(object["syncreq"][0]["status_code"], 0);
    assert_eq!(object["syncreq"][0].get("os_name"), None, "what says nothing is left out");
    // An agent that changes meanwhile is not forgotten, and one that is removed is not told of.
    fixture.tell(r#"global update-keepalive {"id":3,"connection_status":"active","sync_status":"syncreq_keepalive"}"#);
    fixture.tell("global delete-agent 25");
    let (rest, alive, more, object) = take(&fixture, 1_000_000);
    assert_eq!((rest, alive, more), (24 - first, 1, false));
    assert_eq!(object["syncreq_keepalive"], serde_json::json!([{"id": 3, "version": "v"}]));
    assert_eq!(fixture.database.take_info(1_000_000).unwrap().info, "{}");
}

#[test]
fn answers_have_the_frames_of_the_protocol() {
    assert_eq!(Answer::Ok(String::new()).frames(), [b"ok".to_vec()]);
    assert_eq!(Answer::Due("[]".into()).frames(), [b"due []".to_vec()]);
    let rows = Answer::Rows(vec![r#"{"id":0}"#.into()]).frames();
    assert_eq!(rows, [b"due {\"id\":0}".to_vec(), b"ok []".to_vec()]);
}
