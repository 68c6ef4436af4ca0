//! `intervals`: times and limits of the documented threads.

use std::time::Duration;

use super::section::Section;

/// `intervals` > `worker`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerIntervals {
    /// From one integrity check to the next.
    pub sync_integrity: Duration,
    /// From one sending of agent information to the next.
    pub sync_agent_info: Duration,
    /// Not used; accepted because the stock daemon has it.
    pub sync_agent_groups: Duration,
    /// For storing agent groups.
    pub timeout_agent_groups: Duration,
    /// From one keep-alive to the next.
    pub keep_alive: Duration,
    /// Before a failed connection is tried again.
    pub connection_retry: Duration,
    /// Unanswered keep-alives after which the connection is given up.
    pub max_failed_keepalive_attempts: u32,
    /// Differing checksums of agent groups after which the whole table is asked for.
    pub agent_groups_mismatch_limit: u32,
}

/// `intervals` > `master`.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterIntervals {
    /// Not used, as there are no helper processes; accepted because the stock daemon has it.
    pub process_pool_size: u32,
    /// From one reading of new agent groups to the next.
    pub sync_agent_groups: Duration,
    /// Not used; accepted because the stock daemon has it.
    pub timeout_extra_valid: Duration,
    /// From one computation of the local integrity to the next.
    pub recalculate_integrity: Duration,
    /// For storing agent information.
    pub timeout_agent_info: Duration,
    /// After the start, before agent groups are sent.
    pub agent_group_start_delay: Duration,
    /// From one check of the workers' keep-alives to the next.
    pub check_worker_lastkeepalive: Duration,
    /// Silence of a worker after which its connection is closed.
    pub max_allowed_time_without_keepalive: Duration,
    /// After which a worker's integrity lock counts as forgotten.
    pub max_locked_integrity_time: Duration,
}

/// `intervals` > `communication`.
#[derive(Clone, Debug, PartialEq)]
pub struct Communication {
    /// For the answer to a request.
    pub timeout_cluster_request: Duration,
    /// For the result of a request of the API.
    pub timeout_dapi_request: Duration,
    /// For a file from the peer.
    pub timeout_receiving_file: Duration,
    /// Largest size limit of an archive, bytes.
    pub max_zip_size: u64,
    /// Smallest size limit of an archive, bytes; at most `max_zip_size`.
    pub min_zip_size: u64,
    /// zlib level, 0 to 9.
    pub compress_level: u32,
    /// The part by which the limit of an archive shrinks, and of the time that may pass before it grows again; 0 to
    /// 0.99.
    pub zip_limit_tolerance: f64,
}

impl WorkerIntervals {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let intervals = Self {
            sync_integrity: section.seconds("sync_integrity"),
            sync_agent_info: section.seconds("sync_agent_info"),
            sync_agent_groups: section.seconds("sync_agent_groups"),
            timeout_agent_groups: section.seconds("timeout_agent_groups"),
            keep_alive: section.seconds("keep_alive"),
            connection_retry: section.seconds("connection_retry"),
            max_failed_keepalive_attempts: section.count("max_failed_keepalive_attempts", 1..=1000),
            agent_groups_mismatch_limit: section.count("agent_groups_mismatch_limit", 1..=1000),
        };
        section.finish();
        intervals
    }
}

impl MasterIntervals {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let intervals = Self {
            process_pool_size: section.count("process_pool_size", 1..=1024),
            sync_agent_groups: section.seconds("sync_agent_groups"),
            timeout_extra_valid: section.seconds("timeout_extra_valid"),
            recalculate_integrity: section.seconds("recalculate_integrity"),
            timeout_agent_info: section.seconds("timeout_agent_info"),
            agent_group_start_delay: section.seconds("agent_group_start_delay"),
            check_worker_lastkeepalive: section.seconds("check_worker_lastkeepalive"),
            max_allowed_time_without_keepalive: section.seconds("max_allowed_time_without_keepalive"),
            max_locked_integrity_time: section.seconds("max_locked_integrity_time"),
        };
        section.finish();
        intervals
    }
}

impl Communication {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const SIZES: std::ops::RangeInclusive<u64> = 1024..=1 << 40;
        let communication = Self {
            timeout_cluster_request: section.seconds("timeout_cluster_request"),
            timeout_dapi_request: section.seconds("timeout_dapi_request"),
            timeout_receiving_file: section.seconds("timeout_receiving_file"),
            max_zip_size: section.number("max_zip_size", SIZES),
            min_zip_size: section.number("min_zip_size", SIZES),
            compress_level: section.count("compress_level", 0..=9),
            zip_limit_tolerance: section.fraction("zip_limit_tolerance", "", 0.0..=0.99),
        };
        let (min, max) = (communication.min_zip_size, communication.max_zip_size);
        if min > max {
            let found = format!("{min}, {max}");
            section.fault(
                "min_zip_size",
                "is larger than max_zip_size",
                &found,
                "write a smaller one, or a larger max_zip_size",
            );
        }
        section.finish();
        communication
    }
}
