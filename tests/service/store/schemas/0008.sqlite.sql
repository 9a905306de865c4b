BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE api_keys (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	user_id TEXT, 
	acts_for_any BOOLEAN NOT NULL, 
	is_admin BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	revoked_at BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "api_keys" VALUES('0123456789abc','name \0000','digest','bob \005c \0000',0,1,1767323045678901,1767323045678901,NULL,NULL);
CREATE TABLE audit_entries (
	id TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	caller TEXT NOT NULL, 
	credential TEXT, 
	user_id TEXT, 
	method TEXT NOT NULL, 
	route TEXT, 
	session_id TEXT, 
	key_id TEXT, 
	status INTEGER NOT NULL, 
	result TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	client TEXT NOT NULL, approval_id TEXT, decision TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_entries" VALUES('aud_1',1767323045678901,'user','key:x','bob \005c \0000','GET',NULL,NULL,NULL,401,'denied','req_1','::1','sevt_1','deny');
CREATE TABLE closed_sizes (
	session_id TEXT NOT NULL, 
	last_seq BIGINT NOT NULL, 
	last_active_at BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	PRIMARY KEY (session_id), 
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO "closed_sizes" VALUES('22222222-2222-4222-8222-222222222222',0,1767323045678901,0);
CREATE TABLE events (
	session_id TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	id TEXT NOT NULL, 
	type TEXT NOT NULL, 
	turn_id TEXT, 
	processed_at BIGINT NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (session_id, seq), 
	CONSTRAINT uq_events_id UNIQUE (session_id, id), 
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('11111111-1111-4111-8111-111111111111',1,'sevt_1','user.message','sevt_1',1767323045678902,'{"text":"nul \u0000"}');
INSERT INTO "events" VALUES('11111111-1111-4111-8111-111111111111',2,'sevt_2','session.status_running','sevt_1',1767323045678902,'{}');
INSERT INTO "events" VALUES('11111111-1111-4111-8111-111111111111',3,'sevt_3','agent.message','sevt_1',1767323045678902,'{"text":"''quoted'' \ud83d\ude00"}');
CREATE TABLE replicas (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "replicas" VALUES('replica \0000','pod','2.0.0',1767323045678905,1767323055678905);
CREATE TABLE schema_compatibility (
	oldest_revision TEXT NOT NULL, 
	PRIMARY KEY (oldest_revision)
);
INSERT INTO "schema_compatibility" VALUES('0002');
CREATE TABLE seized_leases (
	session_id TEXT NOT NULL, 
	epoch BIGINT NOT NULL, 
	replica_id TEXT NOT NULL, 
	PRIMARY KEY (session_id, epoch), 
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE sessions (
	id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	subdir TEXT, 
	cwd TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	last_active_at BIGINT NOT NULL, 
	creation_digest TEXT NOT NULL, 
	idempotency_key TEXT, 
	status TEXT NOT NULL, 
	phase TEXT NOT NULL, 
	message_count BIGINT NOT NULL, 
	last_seq BIGINT NOT NULL, 
	metadata TEXT NOT NULL, lease_holder TEXT, lease_epoch BIGINT DEFAULT '0' NOT NULL, lease_released BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sessions" VALUES('11111111-1111-4111-8111-111111111111','ann','a','/data/ann',1767323045678901,1767323045678902,'digest','key','active','running',1,3,'{}',NULL,0,0);
INSERT INTO "sessions" VALUES('22222222-2222-4222-8222-222222222222','bob \005c \0000',NULL,'/data/ann',1767323045678901,1767323045678901,'digest',NULL,'closed','idle',0,0,'{"a":[1,"\ud800"]}','replica \0000',1,0);
CREATE TABLE transcript_entries (
	position INTEGER NOT NULL, 
	project_key TEXT NOT NULL, 
	session_id TEXT NOT NULL, 
	subpath TEXT NOT NULL, 
	uuid TEXT, 
	stored_at BIGINT NOT NULL, 
	entry TEXT NOT NULL, 
	PRIMARY KEY (position), 
	CONSTRAINT uq_transcript_entries_uuid UNIQUE (project_key, session_id, subpath, uuid)
);
INSERT INTO "transcript_entries" VALUES(1,'p','11111111-1111-4111-8111-111111111111','','a',1767323045678903,'{"uuid":"a","text":"one"}');
INSERT INTO "transcript_entries" VALUES(2,'p','11111111-1111-4111-8111-111111111111','',NULL,1767323045678903,'{"text":"two \u0000"}');
INSERT INTO "transcript_entries" VALUES(3,'p','11111111-1111-4111-8111-111111111111','subagents/agent-1','a',1767323045678904,'{"uuid":"a","text":"one"}');
INSERT INTO "transcript_entries" VALUES(4,'p','11111111-1111-4111-8111-111111111111','subagents/agent-1',NULL,1767323045678904,'{"text":"two \u0000"}');
CREATE TABLE usage_days (
	user_id TEXT NOT NULL, 
	day TEXT NOT NULL, 
	model TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	cache_read_input_tokens BIGINT NOT NULL, 
	cache_creation_input_tokens BIGINT NOT NULL, 
	cost_micro_usd BIGINT NOT NULL, 
	PRIMARY KEY (user_id, day, model)
);
INSERT INTO "usage_days" VALUES('bob \005c \0000','2026-03-01','claude-a',1,2,3,4,5,6);
CREATE TABLE usage_sessions (
	session_id TEXT NOT NULL, 
	model TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	cache_read_input_tokens BIGINT NOT NULL, 
	cache_creation_input_tokens BIGINT NOT NULL, 
	cost_micro_usd BIGINT NOT NULL, 
	PRIMARY KEY (session_id, model), 
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO "usage_sessions" VALUES('22222222-2222-4222-8222-222222222222','claude-a',1,2,3,4,5,6);
CREATE TABLE usage_writers (
	writer TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	day TEXT NOT NULL, 
	PRIMARY KEY (writer)
);
INSERT INTO "usage_writers" VALUES('writer',1,'2026-01-02');
CREATE INDEX ix_sessions_user_created ON sessions (user_id, created_at, id);
CREATE INDEX ix_sessions_created ON sessions (created_at, id);
CREATE INDEX ix_sessions_status ON sessions (status);
CREATE INDEX ix_sessions_running ON sessions (id) WHERE phase = 'running';
CREATE UNIQUE INDEX uq_sessions_idempotency_key ON sessions (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_transcript_entries_key ON transcript_entries (session_id, project_key, subpath, position);
CREATE INDEX ix_sessions_held ON sessions (lease_holder) WHERE lease_holder IS NOT NULL;
CREATE INDEX ix_api_keys_created ON api_keys (created_at, id);
CREATE INDEX ix_api_keys_user ON api_keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ix_seized_leases_replica ON seized_leases (replica_id);
CREATE INDEX ix_usage_days_day ON usage_days (day);
CREATE INDEX ix_audit_at ON audit_entries (at);
CREATE INDEX ix_audit_user ON audit_entries (user_id, id);
CREATE INDEX ix_audit_session ON audit_entries (session_id, id);
COMMIT;
