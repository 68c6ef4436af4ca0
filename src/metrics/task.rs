//! The tasks that are measured, under the names of their modules.

/// A documented thread, or a part of one that has a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The master looks at its own files.
    LocalIntegrity,
    /// The files of a worker are compared.
    IntegrityCheck,
    /// Those that differ are sent and applied.
    IntegritySync,
    /// What a worker knows of its agents goes to the master.
    AgentInfo,
    /// The master reads new assignments of agents to groups.
    LocalAgentGroups,
    /// What is new of them goes to a worker.
    AgentGroups,
    /// All of them go to a worker.
    AgentGroupsFull,
    /// A worker says that it lives, and is answered.
    KeepAlive,
}

impl Task {
    /// In the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::LocalIntegrity,
        Self::IntegrityCheck,
        Self::IntegritySync,
        Self::AgentInfo,
        Self::LocalAgentGroups,
        Self::AgentGroups,
        Self::AgentGroupsFull,
        Self::KeepAlive,
    ];

    /// The label `task`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalIntegrity => "local_integrity",
            Self::IntegrityCheck => "integrity_check",
            Self::IntegritySync => "integrity_sync",
            Self::AgentInfo => "agent_info",
            Self::LocalAgentGroups => "local_agent_groups",
            Self::AgentGroups => "agent_groups",
            Self::AgentGroupsFull => "agent_groups_full",
            Self::KeepAlive => "keep_alive",
        }
    }

    /// The same for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LocalIntegrity => "Local integrity",
            Self::IntegrityCheck => "Integrity check",
            Self::IntegritySync => "Integrity sync",
            Self::AgentInfo => "Agent information",
            Self::LocalAgentGroups => "Local agent groups",
            Self::AgentGroups => "Agent groups",
            Self::AgentGroupsFull => "Agent groups, all",
            Self::KeepAlive => "Keep-alive",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_stands_at_its_number() {
        assert!(Task::ALL.iter().enumerate().all(|(number, task)| *task as usize == number));
    }
}
