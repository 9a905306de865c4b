SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    user_id text COLLATE pg_catalog."C",
    acts_for_any boolean NOT NULL,
    is_admin boolean NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint
);
CREATE TABLE public.audit_entries (
    id text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    caller text NOT NULL,
    credential text COLLATE pg_catalog."C",
    user_id text COLLATE pg_catalog."C",
    method text NOT NULL COLLATE pg_catalog."C",
    route text COLLATE pg_catalog."C",
    session_id text COLLATE pg_catalog."C",
    key_id text COLLATE pg_catalog."C",
    status integer NOT NULL,
    result text NOT NULL,
    request_id text NOT NULL COLLATE pg_catalog."C",
    client text NOT NULL COLLATE pg_catalog."C",
    approval_id text COLLATE pg_catalog."C",
    decision text
);
CREATE TABLE public.closed_sizes (
    session_id text NOT NULL COLLATE pg_catalog."C",
    last_seq bigint NOT NULL,
    last_active_at bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE TABLE public.events (
    session_id text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL,
    turn_id text COLLATE pg_catalog."C",
    processed_at bigint NOT NULL,
    data text NOT NULL
);
CREATE TABLE public.replicas (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    started_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE public.schema_compatibility (
    oldest_revision text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.seized_leases (
    session_id text NOT NULL COLLATE pg_catalog."C",
    epoch bigint NOT NULL,
    replica_id text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.sessions (
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    subdir text COLLATE pg_catalog."C",
    cwd text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    last_active_at bigint NOT NULL,
    creation_digest text NOT NULL COLLATE pg_catalog."C",
    idempotency_key text COLLATE pg_catalog."C",
    status text NOT NULL,
    phase text NOT NULL,
    message_count bigint NOT NULL,
    last_seq bigint NOT NULL,
    metadata text NOT NULL,
    lease_holder text COLLATE pg_catalog."C",
    lease_epoch bigint DEFAULT '0'::bigint NOT NULL,
    lease_released bigint DEFAULT '0'::bigint NOT NULL
);
CREATE TABLE public.transcript_entries (
    "position" bigint NOT NULL,
    project_key text NOT NULL COLLATE pg_catalog."C",
    session_id text NOT NULL COLLATE pg_catalog."C",
    subpath text NOT NULL COLLATE pg_catalog."C",
    uuid text COLLATE pg_catalog."C",
    stored_at bigint NOT NULL,
    entry text NOT NULL
);
CREATE SEQUENCE public.transcript_entries_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.transcript_entries_position_seq OWNED BY public.transcript_entries."position";
CREATE TABLE public.usage_days (
    user_id text NOT NULL COLLATE pg_catalog."C",
    day text NOT NULL COLLATE pg_catalog."C",
    model text NOT NULL COLLATE pg_catalog."C",
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cache_creation_input_tokens bigint NOT NULL,
    cost_micro_usd bigint NOT NULL
);
CREATE TABLE public.usage_sessions (
    session_id text NOT NULL COLLATE pg_catalog."C",
    model text NOT NULL COLLATE pg_catalog."C",
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cache_creation_input_tokens bigint NOT NULL,
    cost_micro_usd bigint NOT NULL
);
CREATE TABLE public.usage_writers (
    writer text NOT NULL COLLATE pg_catalog."C",
    number bigint NOT NULL,
    day text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE ONLY public.transcript_entries ALTER COLUMN "position" SET DEFAULT nextval('public.transcript_entries_position_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0008');
INSERT INTO public.api_keys VALUES ('0123456789abc', 'name \0000', 'digest', 'bob \005c \0000', false, true, 1767323045678901, 1767323045678901, NULL, NULL);
INSERT INTO public.audit_entries VALUES ('aud_1', 1767323045678901, 'user', 'key:x', 'bob \005c \0000', 'GET', NULL, NULL, NULL, 401, 'denied', 'req_1', '::1', 'sevt_1', 'deny');
INSERT INTO public.closed_sizes VALUES ('22222222-2222-4222-8222-222222222222', 0, 1767323045678901, 0);
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 1, 'sevt_1', 'user.message', 'sevt_1', 1767323045678902, '{"text":"nul \u0000"}');
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 2, 'sevt_2', 'session.status_running', 'sevt_1', 1767323045678902, '{}');
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 3, 'sevt_3', 'agent.message', 'sevt_1', 1767323045678902, '{"text":"''quoted'' \ud83d\ude00"}');
INSERT INTO public.replicas VALUES ('replica \0000', 'pod', '2.0.0', 1796099596945850, 1796099606945923);
INSERT INTO public.schema_compatibility VALUES ('0002');
INSERT INTO public.sessions VALUES ('11111111-1111-4111-8111-111111111111', 'ann', 'a', '/data/ann', 1767323045678901, 1767323045678902, 'digest', 'key', 'active', 'running', 1, 3, '{}', NULL, 0, 0);
INSERT INTO public.sessions VALUES ('22222222-2222-4222-8222-222222222222', 'bob \005c \0000', NULL, '/data/ann', 1767323045678901, 1767323045678901, 'digest', NULL, 'closed', 'idle', 0, 0, '{"a":[1,"\ud800"]}', 'replica \0000', 1, 0);
INSERT INTO public.transcript_entries VALUES (1, 'p', '11111111-1111-4111-8111-111111111111', '', 'a', 1767323045678903, '{"uuid":"a","text":"one"}');
INSERT INTO public.transcript_entries VALUES (2, 'p', '11111111-1111-4111-8111-111111111111', '', NULL, 1767323045678903, '{"text":"two \u0000"}');
INSERT INTO public.transcript_entries VALUES (3, 'p', '11111111-1111-4111-8111-111111111111', 'subagents/agent-1', 'a', 1767323045678904, '{"uuid":"a","text":"one"}');
INSERT INTO public.transcript_entries VALUES (4, 'p', '11111111-1111-4111-8111-111111111111', 'subagents/agent-1', NULL, 1767323045678904, '{"text":"two \u0000"}');
INSERT INTO public.usage_days VALUES ('bob \005c \0000', '2026-03-01', 'claude-a', 1, 2, 3, 4, 5, 6);
INSERT INTO public.usage_sessions VALUES ('22222222-2222-4222-8222-222222222222', 'claude-a', 1, 2, 3, 4, 5, 6);
INSERT INTO public.usage_writers VALUES ('writer', 1, '2026-12-01');
SELECT pg_catalog.setval('public.transcript_entries_position_seq', 4, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT audit_entries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.closed_sizes
    ADD CONSTRAINT closed_sizes_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (session_id, seq);
ALTER TABLE ONLY public.replicas
    ADD CONSTRAINT replicas_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema_compatibility
    ADD CONSTRAINT schema_compatibility_pkey PRIMARY KEY (oldest_revision);
ALTER TABLE ONLY public.seized_leases
    ADD CONSTRAINT seized_leases_pkey PRIMARY KEY (session_id, epoch);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.transcript_entries
    ADD CONSTRAINT transcript_entries_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_id UNIQUE (session_id, id);
ALTER TABLE ONLY public.transcript_entries
    ADD CONSTRAINT uq_transcript_entries_uuid UNIQUE (project_key, session_id, subpath, uuid);
ALTER TABLE ONLY public.usage_days
    ADD CONSTRAINT usage_days_pkey PRIMARY KEY (user_id, day, model);
ALTER TABLE ONLY public.usage_sessions
    ADD CONSTRAINT usage_sessions_pkey PRIMARY KEY (session_id, model);
ALTER TABLE ONLY public.usage_writers
    ADD CONSTRAINT usage_writers_pkey PRIMARY KEY (writer);
CREATE INDEX ix_api_keys_created ON public.api_keys USING btree (created_at, id);
CREATE INDEX ix_api_keys_user ON public.api_keys USING btree (user_id) WHERE (user_id IS NOT NULL);
CREATE INDEX ix_audit_at ON public.audit_entries USING btree (at);
CREATE INDEX ix_audit_session ON public.audit_entries USING btree (session_id, id);
CREATE INDEX ix_audit_user ON public.audit_entries USING btree (user_id, id);
CREATE INDEX ix_seized_leases_replica ON public.seized_leases USING btree (replica_id);
CREATE INDEX ix_sessions_created ON public.sessions USING btree (created_at, id);
CREATE INDEX ix_sessions_held ON public.sessions USING btree (lease_holder) WHERE (lease_holder IS NOT NULL);
CREATE INDEX ix_sessions_running ON public.sessions USING btree (id) WHERE (phase = 'running'::text);
CREATE INDEX ix_sessions_status ON public.sessions USING btree (status);
CREATE INDEX ix_sessions_user_created ON public.sessions USING btree (user_id, created_at, id);
CREATE INDEX ix_transcript_entries_key ON public.transcript_entries USING btree (session_id, project_key, subpath, "position");
CREATE INDEX ix_usage_days_day ON public.usage_days USING btree (day);
CREATE UNIQUE INDEX uq_sessions_idempotency_key ON public.sessions USING btree (user_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
ALTER TABLE ONLY public.closed_sizes
    ADD CONSTRAINT closed_sizes_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.seized_leases
    ADD CONSTRAINT seized_leases_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.usage_sessions
    ADD CONSTRAINT usage_sessions_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
