//! Text commands (`spec/registration.md` 2): other programs ask for the configuration.

use serde_json::{Value, json};

use crate::config::{Auth, Force};

/// The answer to a request that is no JSON.
pub(super) fn answer(request: &str, auth: &Auth) -> Vec<u8> {
    let (command, section) = request.split_once(' ').unwrap_or((request, ""));
    let text = match (command, section) {
        ("getconfig", "") => "err AUTHCOM getconfig needs arguments".to_owned(),
        ("getconfig", "auth") => format!("ok {}", json!({ "auth": configuration(auth) })),
        ("getconfig", _) => "err Could not get requested section".to_owned(),
        _ => "err Unrecognized command".to_owned(),
    };
    text.into_bytes()
}

fn configuration(auth: &Auth) -> Value {
    let word = |flag| if flag { "yes" } else { "no" };
    let Auth { purge, force } = auth;
    let Force { enabled, key_mismatch, disconnected_time, after_registration_time } = force;
    json!({
        "purge": word(*purge),
        "force": {
            "enabled": word(*enabled),
            "key_mismatch": word(*key_mismatch),
            "disconnected_time": {
                "enabled": word(disconnected_time.is_some()),
                "value": disconnected_time.unwrap_or_default(),
            },
            "after_registration_time": after_registration_time,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_told_and_nothing_else() {
        let ask = |request: &str| String::from_utf8(answer(request, &Auth::default())).unwrap();
        let told = ask("getconfig auth");
        let told: Value = serde_json::from_str(told.strip_prefix("ok ").unwrap()).unwrap();
        assert_eq!(told["auth"]["purge"], "no");
        assert_eq!(told["auth"]["force"]["disconnected_time"], json!({"enabled": "yes", "value": 3600}));
        for (request, expected) in [
            ("getconfig other", "err Could not get requested section"),
            ("getconfig", "err AUTHCOM getconfig needs arguments"),
            ("restart", "err Unrecognized command"),
            ("", "err Unrecognized command"),
        ] {
            assert_eq!(ask(request), expected, "{request}");
        }
    }
}
