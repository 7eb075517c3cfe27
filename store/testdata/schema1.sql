-- The whole schema, version 1. Statements end with a semicolon at the end of a
-- line. Types and statements are those that SQLite and PostgreSQL share:
-- BIGINT, TEXT, BYTEA, BOOLEAN; times are nanoseconds since 1970 in UTC.
-- Later changes go into migrations (schema.go), and here for new databases.

CREATE TABLE accounts (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	digests BYTEA NOT NULL,
	scram_sha1 BYTEA NOT NULL,
	scram_sha256 BYTEA NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (domain, name)
);

-- One row per user with what only rises. It outlives the account, so that no
-- client and no watcher ever sees a number twice.
CREATE TABLE counters (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	roster BIGINT NOT NULL,   -- version of the roster
	floor BIGINT NOT NULL,    -- tombstones up to this roster version are gone
	revision BIGINT NOT NULL, -- of the policy: roster rows and blocks
	mail BIGINT NOT NULL,     -- last id of an offline message
	PRIMARY KEY (domain, name)
);

CREATE TABLE roster (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	contact_domain TEXT NOT NULL,
	contact_name TEXT NOT NULL,
	title TEXT NOT NULL,
	groups BYTEA NOT NULL,    -- each with its length
	flags BIGINT NOT NULL,    -- see the flag constants in roster.go
	version BIGINT NOT NULL,
	stanza BYTEA NOT NULL,
	PRIMARY KEY (domain, name, contact_domain, contact_name)
);

CREATE TABLE blocks (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	address TEXT NOT NULL,
	PRIMARY KEY (domain, name, address)
);

CREATE TABLE offline (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	id BIGINT NOT NULL,
	at BIGINT NOT NULL,
	message BYTEA NOT NULL,
	PRIMARY KEY (domain, name, id)
);

CREATE TABLE secrets (
	name TEXT NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL
);
