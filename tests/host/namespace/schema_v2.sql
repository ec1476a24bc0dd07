CREATE TABLE changed_key (
	id INTEGER NOT NULL,
	bucket_id BIGINT NOT NULL,
	"key" BLOB NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE published (
	bucket_id BIGINT NOT NULL,
	module TEXT NOT NULL,
	state SMALLINT NOT NULL,
	position BLOB NOT NULL,
	sequence BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (bucket_id)
);
