-- Soft state, where it is in rows: in PostgreSQL. It is changed in place many times,
-- so pages have room for the next version of a row, and no other index has to be told.

-- Records of presentities have their domain and name; those of Put have none.
CREATE TABLE soft (
	domain TEXT NOT NULL,
	name TEXT NOT NULL,
	kind SMALLINT NOT NULL,
	key BYTEA NOT NULL,
	value BYTEA NOT NULL,
	PRIMARY KEY (domain, name, kind, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
