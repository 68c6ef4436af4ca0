//! Values that everybody knows, because they stand in documentation and templates.

/// Keys that stand in documentation, container images, playbooks and API examples: whoever can reach the port knows
/// them.
const PUBLISHED_KEYS: [&str; 4] = [
    "c98b62a9b6169ac5f67dae55ae4a9088",
    "c98b6ha9b6169zc5f67rae55ae4z5647",
    "ugdtAnd7Pi9myP7CVts4qZaZQEQcRYZa",
    "9d273b53510fef702b54a92e9cffc82e",
];

/// Words of templates that a deployment should have replaced, other than those that begin with [`TEMPLATE_PREFIX`].
const PLACEHOLDERS: [&str; 2] = ["KEY", "NODE_IP"];
const TEMPLATE_PREFIX: &str = "to_be_replaced_by_";

/// Whether the key of a cluster is a published one.
pub(super) fn is_published_key(text: &str) -> bool {
    PUBLISHED_KEYS.contains(&text)
}

/// Whether a value is still that of a template.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.starts_with(TEMPLATE_PREFIX) || PLACEHOLDERS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_knows() {
        assert!(PUBLISHED_KEYS.into_iter().all(|key| key.len() == 32 && is_published_key(key)));
        assert!(is_placeholder("to_be_replaced_by_hostname") && is_placeholder("NODE_IP") && !is_placeholder("node01"));
    }
}
