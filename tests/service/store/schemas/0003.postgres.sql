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
ALTER TABLE ONLY public.transcript_entries ALTER COLUMN "position" SET DEFAULT nextval('public.transcript_entries_position_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.api_keys VALUES ('0123456789abc', 'name \0000', 'digest', 'bob \005c \0000', false, true, 1767323045678901, 1767323045678901, NULL, NULL);
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 1, 'sevt_1', 'user.message', 'sevt_1', 1767323045678902, '{"text":"nul \u0000"}');
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 2, 'sevt_2', 'session.status_running', 'sevt_1', 1767323045678902, '{}');
INSERT INTO public.events VALUES ('11111111-1111-4111-8111-111111111111', 3, 'sevt_3', 'agent.message', 'sevt_1', 1767323045678902, '{"text":"''quoted'' \ud83d\ude00"}');
INSERT INTO public.replicas VALUES ('replica \0000', 'pod', '2.0.0', 1796072410763585, 1796072420763667);
INSERT INTO public.schema_compatibility VALUES ('0002');
INSERT INTO public.sessions VALUES ('11111111-1111-4111-8111-111111111111', 'ann', 'a', '/data/ann', 1767323045678901, 1767323045678902, 'digest', 'key', 'active', 'running', 1, 3, '{}', NULL, 0, 0);
INSERT INTO public.sessions VALUES ('22222222-2222-4222-8222-222222222222', 'bob \005c \0000', NULL, '/data/ann', 1767323045678901, 1767323045678901, 'digest', NULL, 'closed', 'idle', 0, 0, '{"a":[1,"\ud800"]}', 'replica \0000', 1, 0);
INSERT INTO public.transcript_entries VALUES (1, 'p', '11111111-1111-4111-8111-111111111111', '', 'a', 1767323045678903, '{"uuid":"a","text":"one"}');
INSERT INTO public.transcript_entries VALUES (2, 'p', '11111111-1111-4111-8111-111111111111', '', NULL, 1767323045678903, '{"text":"two \u0000"}');
INSERT INTO public.transcript_entries VALUES (3, 'p', '11111111-1111-4111-8111-111111111111', 'subagents/agent-1', 'a', 1767323045678904, '{"uuid":"a","text":"one"}');
INSERT INTO public.transcript_entries VALUES (4, 'p', '11111111-1111-4111-8111-111111111111', 'subagents/agent-1', NULL, 1767323045678904, '{"text":"two \u0000"}');
SELECT pg_catalog.setval('public.transcript_entries_position_seq', 4, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (session_id, seq);
ALTER TABLE ONLY public.replicas
    ADD CONSTRAINT replicas_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema_compatibility
    ADD CONSTRAINT schema_compatibility_pkey PRIMARY KEY (oldest_revision);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.transcript_entries
    ADD CONSTRAINT transcript_entries_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_id UNIQUE (session_id, id);
ALTER TABLE ONLY public.transcript_entries
    ADD CONSTRAINT uq_transcript_entries_uuid UNIQUE (project_key, session_id, subpath, uuid);
CREATE INDEX ix_api_keys_created ON public.api_keys USING btree (created_at, id);
CREATE INDEX ix_api_keys_user ON public.api_keys USING btree (user_id) WHERE (user_id IS NOT NULL);
CREATE INDEX ix_sessions_created ON public.sessions USING btree (created_at, id);
CREATE INDEX ix_sessions_held ON public.sessions USING btree (lease_holder) WHERE (lease_holder IS NOT NULL);
CREATE INDEX ix_sessions_running ON public.sessions USING btree (id) WHERE (phase = 'running'::text);
CREATE INDEX ix_sessions_status ON public.sessions USING btree (status);
CREATE INDEX ix_sessions_user_created ON public.sessions USING btree (user_id, created_at, id);
CREATE INDEX ix_transcript_entries_key ON public.transcript_entries USING btree (session_id, project_key, subpath, "position");
CREATE UNIQUE INDEX uq_sessions_idempotency_key ON public.sessions USING btree (user_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
