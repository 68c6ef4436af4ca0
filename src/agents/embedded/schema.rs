//! The tables of schema version 7 (`spec/agentdb.md` 4). The original takes the file over as it is, so names, checks and
//! indexes are part of the interface; SQLite repeats the text of a check in its error message.

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
