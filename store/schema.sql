-- The whole schema, version 3. Statements end with a semicolon at the end of a
-- line. Types and statements are those that SQLite and PostgreSQL share:
-- BIGINT, TEXT, BYTEA, BOOLEAN, DOUBLE PRECISION; times are nanoseconds since 1970
-- in UTC. In PostgreSQL text is ordered by its bytes (COLLATE "C").
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
	roster BIGINT NOT NULL,   -- version of the roster and of the documents
	floor BIGINT NOT NULL,    -- tombstones up to this roster version are gone
	revision BIGINT NOT NULL, -- of the policy: roster rows, blocks and documents
	mail BIGINT NOT NULL,     -- last id of an offline message
	documents BIGINT NOT NULL DEFAULT 0, -- how many there are: most users have none, and nobody looks for them then
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

-- The body is last, so that what is before it is read without it.
CREATE TABLE documents (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	auid TEXT NOT NULL,
	path TEXT NOT NULL,
	version BIGINT NOT NULL,
	modified BIGINT NOT NULL,
	body BYTEA NOT NULL,
	PRIMARY KEY (domain, name, auid, path)
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

-- The servers of the service. Who saves holds the row FOR KEY SHARE until its commit; since
-- the epoch is part of a unique index, to change it needs the row FOR UPDATE, so that
-- it waits for those, and they see it afterwards. To prolong a lease waits for nobody.
CREATE TABLE nodes (
	name TEXT NOT NULL PRIMARY KEY,
	epoch BIGINT NOT NULL,    -- rises with each start and each declaration of death
	state TEXT NOT NULL,
	expires BIGINT NOT NULL,  -- of the lease, by the database's clock
	bus TEXT NOT NULL,
	sip TEXT NOT NULL,
	xmpp TEXT NOT NULL,
	http TEXT NOT NULL,
	level DOUBLE PRECISION NOT NULL,
	max DOUBLE PRECISION NOT NULL,
	users BIGINT NOT NULL,
	version TEXT NOT NULL,    -- of the program
	spare BIGINT NOT NULL DEFAULT 0, -- 1: it has waited to be added, so the leader may give it up
	UNIQUE (name, epoch)
);

-- Which node a presentity lives at.
CREATE TABLE homes (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	node TEXT NOT NULL,
	epoch BIGINT NOT NULL,    -- rises with each change
	PRIMARY KEY (domain, name)
);

CREATE INDEX homes_node ON homes (node);

-- The leader's lease: one row at most.
CREATE TABLE leader (
	one BIGINT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	epoch BIGINT NOT NULL,    -- of the node
	term BIGINT NOT NULL,     -- rises with each change of the leader
	expires BIGINT NOT NULL
);
