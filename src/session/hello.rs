//! Who may join a cluster (`spec/protocol.md` 6.2).

use crate::{
    config::{is_node_name, settings::Version},
    wire::{ErrorObject, Hello},
};

/// What the master holds a worker's hello against.
pub struct Rules<'a> {
    /// The name of the master itself.
    pub master: &'a str,
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The version that the master states.
    pub version: Version,
    /// Whether another patch of the same minor version may join.
    pub accept_patch_versions: bool,
    /// Whether the name is one of those that may join.
    pub allowed: bool,
}

/// Checks a hello in the order of the stock daemon. Whether a worker of that name is connected already is asked by the
/// registry, after all this, so that nobody is registered who is refused.
///
/// # Errors
/// The error that the worker is answered with; its configuration is at fault.
pub fn check(hello: &Hello, rules: &Rules<'_>) -> Result<(), ErrorObject> {
    let version = hello.version.parse::<Version>();
    if !is_node_name(&hello.node, version.unwrap_or(rules.version)) {
        return Err(ErrorObject::cluster(3060, hello.node.clone()));
    }
    if !rules.allowed {
        return Err(ErrorObject::cluster(
            3018,
            format!(
                "{} is not in link.allow_nodes of the master's etc/cluster.json; add it there, if it may join",
                hello.node
            ),
        ));
    }
    if hello.node == rules.master {
        return Err(ErrorObject::cluster(3029, format!("{}; give each node a <node_name> of its own", hello.node)));
    }
    if hello.cluster != rules.cluster {
        return Err(ErrorObject::cluster(
            3030,
            format!(
                "'{}' of {} is not '{}' of the master; write the same <name> on both",
                hello.cluster, hello.node, rules.cluster
            ),
        ));
    }
    let same = match version {
        Ok(version) if rules.accept_patch_versions => version.same_minor(&rules.version),
        Ok(version) => version == rules.version,
        Err(_) => false,
    };
    if !same {
        let detail = format!(
            "{} has '{}', the master {}; install the same release, or state the same version in etc/cluster.json",
            hello.node, hello.version, rules.version
        );
        return Err(ErrorObject::cluster(3031, detail));
    }
    Ok(())
}

/// The payload of a worker's hello.
pub fn payload(node: &str, cluster: &str, node_type: &str, version: Version) -> String {
    format!("{node} {cluster} {node_type} {version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(node: &str, cluster: &str, version: &str, accept_patch_versions: bool) -> Option<u32> {
        let hello =
            Hello { node: node.into(), cluster: cluster.into(), node_type: "worker".into(), version: version.into() };
        let version = "4.14.7".parse().unwrap();
        let rules = Rules { master: "m", cluster: "wazuh", version, accept_patch_versions, allowed: node != "w9" };
        check(&hello, &rules).err().map(|error| error.code)
    }

    #[test]
    fn each_fault_has_its_number() {
        assert_eq!(code("w1", "wazuh", "4.14.7", false), None);
        assert_eq!(code("w.1", "wazuh", "4.14.7", false), Some(3060));
        assert_eq!(code("w.1", "wazuh", "4.14.5", true), None, "case 4.7: that version took it");
        assert_eq!(code("../w1", "wazuh", "4.14.5", true), Some(3060));
        assert_eq!(code("w.1", "wazuh", "new", true), Some(3060));
        assert_eq!(code("", "wazuh", "4.14.7", false), Some(3060));
        assert_eq!(code("m", "wazuh", "4.14.7", false), Some(3029));
        assert_eq!(code("w9", "other", "4.14.6", false), Some(3018), "it learns no more than that");
        assert_eq!(code("w1", "other", "4.14.7", false), Some(3030));
        assert_eq!(code("w1", "wazuh", "4.14.6", false), Some(3031));
        assert_eq!(code("w1", "wazuh", "4.14.6", true), None);
        assert_eq!(code("w1", "wazuh", "4.13.7", true), Some(3031));
        assert_eq!(code("w1", "wazuh", "new", true), Some(3031));
    }
}
