//! The tables of schema version 7 (`spec/agentdb.md` 4). The stock daemon takes the file over as it is, so names,
//! checks and indexes are part of the interface; SQLite repeats the text of a check in its error message.

/// The version that the table `metadata` states.
pub(super) const VERSION: &str = "7";

/// What a new file begins with. `?1` of [`MANAGER`] is the time of creation in Unix seconds.
pub(super) const TABLES: &str = "
CREATE TABLE agent (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    ip TEXT,
    register_ip TEXT,
    internal_key TEXT,
    os_name TEXT,
    os_version TEXT,
    os_major TEXT,
    os_minor TEXT,
    os_codename TEXT,
    os_build TEXT,
    os_platform TEXT,
    os_uname TEXT,
    os_arch TEXT,
    version TEXT,
    config_sum TEXT,
    merged_sum TEXT,
    manager_host TEXT,
    node_name TEXT DEFAULT 'unknown',
    date_add INTEGER NOT NULL,
    last_keepalive INTEGER,
    `group` TEXT DEFAULT 'default',
    group_hash TEXT DEFAULT NULL,
    group_sync_status TEXT NOT NULL CHECK (group_sync_status IN ('synced', 'syncreq')) DEFAULT 'synced',
    sync_status TEXT NOT NULL CHECK (sync_status IN ('synced', 'syncreq', 'syncreq_status', 'syncreq_keepalive')) DEFAULT 'synced',
    connection_status TEXT NOT NULL CHECK (connection_status IN ('pending', 'never_connected', 'active', 'disconnected')) DEFAULT 'never_connected',
    disconnection_time INTEGER DEFAULT 0,
    group_config_status TEXT NOT NULL CHECK (group_config_status IN ('synced', 'not synced')) DEFAULT 'not synced',
    status_code INTEGER DEFAULT 0
);
CREATE INDEX agent_name ON agent (name);
CREATE INDEX agent_ip ON agent (ip);
CREATE INDEX agent_group_hash ON agent (group_hash);

CREATE TABLE labels (
    id INTEGER,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (id, key),
    FOREIGN KEY (id) REFERENCES agent (id) ON DELETE CASCADE
);

CREATE TABLE info (key TEXT PRIMARY KEY, value TEXT);
INSERT INTO info (key, value) VALUES ('openssl_support', 'yes');

CREATE TABLE `group` (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    UNIQUE (name)
);
CREATE INDEX group_name ON `group` (name);

CREATE TABLE belongs (
    id_agent INTEGER REFERENCES agent (id) ON DELETE CASCADE,
    id_group INTEGER REFERENCES `group` (id) ON DELETE CASCADE,
    priority INTEGER NOT NULL DEFAULT 0,
    UNIQUE (id_agent, priority),
    PRIMARY KEY (id_agent, id_group)
);
CREATE INDEX belongs_id_agent ON belongs (id_agent);
CREATE INDEX belongs_id_group ON belongs (id_group);

CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT);
INSERT INTO metadata (key, value) VALUES ('db_version', '7');
";

/// The row of the manager itself (4.2).
pub(super) const MANAGER: &str = "
INSERT INTO agent (id, ip, register_ip, name, date_add, last_keepalive, `group`, connection_status)
VALUES (0, '127.0.0.1', '127.0.0.1', 'localhost', ?1, 253402300799, NULL, 'active')";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn lines(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// `spec/agentdb.md` 4.1: the column, its type, whether it may be missing, its default, its place in the primary key.
    const AGENT: &str = "id INTEGER null none 1|name TEXT not none 0|ip TEXT null none 0|register_ip TEXT null none 0|\
        internal_key TEXT null none 0|os_name TEXT null none 0|os_version TEXT null none 0|os_major TEXT null none 0|\
        os_minor TEXT null none 0|os_codename TEXT null none 0|os_build TEXT null none 0|os_platform TEXT null none 0|\
        os_uname TEXT null none 0|os_arch TEXT null none 0|version TEXT null none 0|config_sum TEXT null none 0|\
        merged_sum TEXT null none 0|manager_host TEXT null none 0|node_name TEXT null 'unknown' 0|\
        date_add INTEGER not none 0|last_keepalive INTEGER null none 0|group TEXT null 'default' 0|\
        group_hash TEXT null NULL 0|group_sync_status TEXT not 'synced' 0|sync_status TEXT not 'synced' 0|\
        connection_status TEXT not 'never_connected' 0|disconnection_time INTEGER null 0 0|\
        group_config_status TEXT not 'not synced' 0|status_code INTEGER null 0 0";

    #[test]
    fn tables_indexes_and_keys_are_those_of_version_7() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.execute(MANAGER, [1]).unwrap();
        let columns = |table: &str| {
            let sql = format!(
                "SELECT name || ' ' || type || iif(\"notnull\", ' not ', ' null ') || coalesce(dflt_value, 'none') || ' ' \
                 || pk FROM pragma_table_info('{table}')"
            );
            lines(&connection, &sql).join("|")
        };
        assert_eq!(columns("agent"), AGENT);
        assert_eq!(columns("labels"), "id INTEGER null none 1|key TEXT not none 2|value TEXT not none 0");
        assert_eq!(columns("info"), "key TEXT null none 1|value TEXT null none 0");
        assert_eq!(columns("group"), "id INTEGER null none 1|name TEXT null none 0");
        assert_eq!(
            columns("belongs"),
            "id_agent INTEGER null none 1|id_group INTEGER null none 2|priority INTEGER not 0 0"
        );
        assert_eq!(columns("metadata"), "key TEXT null none 1|value TEXT null none 0");
        assert_eq!(
            lines(&connection, "SELECT type || ' ' || name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY 1"),
            [
                "index agent_group_hash",
                "index agent_ip",
                "index agent_name",
                "index belongs_id_agent",
                "index belongs_id_group",
                "index group_name",
                "table agent",
                "table belongs",
                "table group",
                "table info",
                "table labels",
                "table metadata",
                "table sqlite_sequence",
            ]
        );
        let indexed = "SELECT m.name || ' ' || group_concat(i.name) FROM sqlite_master m, pragma_index_info(m.name) i
            WHERE m.type = 'index' GROUP BY m.name ORDER BY 1";
        assert_eq!(
            lines(&connection, indexed),
            [
                "agent_group_hash group_hash",
                "agent_ip ip",
                "agent_name name",
                "belongs_id_agent id_agent",
                "belongs_id_group id_group",
                "group_name name",
                "sqlite_autoindex_belongs_1 id_agent,priority",
                "sqlite_autoindex_belongs_2 id_agent,id_group",
                "sqlite_autoindex_group_1 name",
                "sqlite_autoindex_info_1 key",
                "sqlite_autoindex_labels_1 id,key",
                "sqlite_autoindex_metadata_1 key",
            ]
        );
        let keys = "SELECT m.name || '.' || f.\"from\" || ' ' || f.\"table\" || '.' || f.\"to\" || ' ' || on_delete
            FROM sqlite_master m, pragma_foreign_key_list(m.name) f ORDER BY 1";
        assert_eq!(
            lines(&connection, keys),
            ["belongs.id_agent agent.id CASCADE", "belongs.id_group group.id CASCADE", "labels.id agent.id CASCADE"]
        );
        assert_eq!(lines(&connection, "SELECT key || '=' || value FROM info"), ["openssl_support=yes"]);
        assert_eq!(lines(&connection, "SELECT key || '=' || value FROM metadata"), ["db_version=7"]);
        let manager = "SELECT id || name || ip || register_ip || date_add || last_keepalive || connection_status ||
            coalesce(`group`, ' none ') || node_name || group_config_status FROM agent";
        assert_eq!(
            lines(&connection, manager),
            ["0localhost127.0.0.1127.0.0.11253402300799active none unknownnot synced"]
        );
    }

    #[test]
    fn the_checks_have_the_words_that_callers_compare() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.execute(MANAGER, [1]).unwrap();
        for (column, check) in [
            ("group_sync_status", "group_sync_status IN ('synced', 'syncreq')"),
            ("sync_status", "sync_status IN ('synced', 'syncreq', 'syncreq_status', 'syncreq_keepalive')"),
            ("connection_status", "connection_status IN ('pending', 'never_connected', 'active', 'disconnected')"),
            ("group_config_status", "group_config_status IN ('synced', 'not synced')"),
        ] {
            let refused = connection.execute(&format!("UPDATE agent SET {column} = 'x'"), []).unwrap_err();
            assert_eq!(refused.to_string(), format!("CHECK constraint failed: {check}"));
        }
    }
}
