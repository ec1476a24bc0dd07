CREATE TABLE blob (
	id INTEGER NOT NULL,
	bucket_id BIGINT NOT NULL,
	module TEXT NOT NULL,
	module_data TEXT NOT NULL,
	size BIGINT NOT NULL,
	refs INTEGER NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE bucket (
	id INTEGER NOT NULL,
	tenant BLOB NOT NULL,
	name BLOB NOT NULL,
	module TEXT NOT NULL,
	object_id BLOB NOT NULL,
	state SMALLINT NOT NULL,
	quota_bytes BIGINT,
	created_at BIGINT NOT NULL,
	key_count BIGINT NOT NULL,
	size_bytes BIGINT NOT NULL,
	settings TEXT,
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX bucket_name ON bucket (tenant, name);
CREATE TABLE extent (
	version BIGINT NOT NULL,
	ordinal INTEGER NOT NULL,
	blob BIGINT NOT NULL,
	"offset" BIGINT NOT NULL,
	length BIGINT NOT NULL,
	PRIMARY KEY (version, ordinal)
)
 WITHOUT ROWID;
CREATE TABLE pending_delete (
	id INTEGER NOT NULL,
	bucket_id BIGINT NOT NULL,
	module TEXT NOT NULL,
	module_data TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE version (
	id INTEGER NOT NULL,
	bucket_id BIGINT NOT NULL,
	place SMALLINT NOT NULL,
	"key" BLOB NOT NULL,
	version_id BLOB NOT NULL,
	object_id BLOB NOT NULL,
	kind SMALLINT NOT NULL,
	is_null SMALLINT NOT NULL,
	size BIGINT NOT NULL,
	etag TEXT,
	content_type TEXT,
	metadata TEXT,
	attributes TEXT,
	created_at BIGINT NOT NULL,
	modified_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX version_current ON version (bucket_id, "key") WHERE place = 0;
CREATE UNIQUE INDEX version_history ON version (bucket_id, "key", version_id) WHERE place = 1;
CREATE UNIQUE INDEX version_object_id ON version (bucket_id, object_id) WHERE place = 0;
