/** The version of the tables below, kept in the file as `user_version`. */
export const SCHEMA_VERSION = 1;

/** Marks a file as the portal's (`application_id`): "CTpo". */
export const APPLICATION_ID = 0x4354706f;

/**
 * The facts that the portal keeps. What runs, and where, is the orchestrator's to say and is not here.
 *
 * `wish` is what was asked for last, `reached` whether it has been carried out, and `revision` counts the wishes: what
 * became of one is noted under its revision, and comes too late when there is a newer wish.
 */
export const SCHEMA = `
  CREATE TABLE workshops (
    id            TEXT    NOT NULL PRIMARY KEY,
    seats         INTEGER NOT NULL CHECK (seats > 0),
    wish          TEXT    NOT NULL CHECK (wish IN ('created', 'running', 'stopped', 'deleted')),
    reached       INTEGER NOT NULL CHECK (reached IN (0, 1)),
    revision      INTEGER NOT NULL,
    error_code    TEXT,
    error_message TEXT,
    api_key       TEXT,
    created_at    TEXT    NOT NULL,
    created_by    TEXT    NOT NULL,
    changed_at    TEXT    NOT NULL,
    changed_by    TEXT    NOT NULL
  ) STRICT;

  CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    credential TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
`;
