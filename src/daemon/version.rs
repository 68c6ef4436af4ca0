//! `wazuh-clusterd -V`.

use crate::config::Settings;

/// The version of this program, by whose words `scripts/package/stock` knows it, that of Wazuh which it advertises, and the
/// licence.
pub fn text() -> String {
    format!(
        "\nThreatLockDown wazuh-clusterd {}, advertises Wazuh {}\n\n{}\n",
        env!("CARGO_PKG_VERSION"),
        Settings::default().version,
        include_str!("../../LICENSE").trim_end()
    )
}
