//! `wazuh-clusterd -V`.

use crate::config::Settings;

/// The version of the protocol as the original says it, that of this program, by whose words `scripts/package/stock` knows
/// it, and the licence.
pub fn text() -> String {
    format!(
        "\nWazuh {} - ThreatLockDown wazuh-clusterd {}\n\n{}\n",
        Settings::default().version,
        env!("CARGO_PKG_VERSION"),
        include_str!("../../LICENSE").trim_end()
    )
}
