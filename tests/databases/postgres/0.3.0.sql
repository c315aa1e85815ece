-- A database as release 0.3.0 left it, made by the tests' own keys and people.
CREATE TABLE public.api_keys (
    hash bytea NOT NULL,
    project_id text NOT NULL,
    mode text NOT NULL,
    created_at bigint NOT NULL,
    ends_at bigint
);
CREATE TABLE public.codes (
    id text NOT NULL,
    subscriber_id text NOT NULL,
    purpose text NOT NULL,
    request_id text,
    ttl_minutes integer NOT NULL,
    max_attempts integer NOT NULL,
    code_length integer NOT NULL,
    seed bytea NOT NULL,
    key_id text NOT NULL,
    attempts integer NOT NULL,
    expires_at bigint NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE public.deliveries (
    id text NOT NULL,
    project_id text NOT NULL,
    subscriber_id text NOT NULL,
    address text NOT NULL,
    request_id text,
    cause text NOT NULL,
    purpose text NOT NULL,
    ttl_minutes integer NOT NULL,
    max_attempts integer NOT NULL,
    code_length integer NOT NULL,
    seed bytea NOT NULL,
    key_id text NOT NULL,
    code_id text NOT NULL,
    reuses integer NOT NULL,
    state text NOT NULL,
    refusal text,
    tries integer NOT NULL,
    claimed_at bigint NOT NULL,
    due_at bigint NOT NULL,
    give_up_at bigint NOT NULL,
    attempted_at bigint,
    settled_at bigint,
    context text
)
WITH (fillfactor='80');
CREATE TABLE public.facts (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.jobs (
    kind text NOT NULL,
    subject text NOT NULL,
    due_at bigint NOT NULL,
    attempts integer NOT NULL,
    lease_until bigint NOT NULL,
    owner text NOT NULL,
    payload text NOT NULL
);
CREATE TABLE public.messages (
    id text NOT NULL,
    address text NOT NULL,
    kind text NOT NULL,
    request_id text,
    subscriber_id text,
    delivery_id text,
    messenger_id text,
    created_at bigint NOT NULL,
    code_id text,
    ended text,
    closed integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE public.pairing_misses (
    id text NOT NULL,
    address text NOT NULL,
    missed_at bigint NOT NULL
);
CREATE TABLE public.people (
    address text NOT NULL,
    language text NOT NULL
);
CREATE TABLE public.projects (
    id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    enabled integer NOT NULL,
    created_at bigint NOT NULL,
    site_url text,
    texts text,
    deleted integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.refusals (
    address text NOT NULL,
    project_id text NOT NULL,
    mode text NOT NULL,
    refused_at bigint NOT NULL
);
CREATE TABLE public.requests (
    id text NOT NULL,
    project_id text NOT NULL,
    mode text NOT NULL,
    channel text,
    purpose text NOT NULL,
    ttl_minutes integer NOT NULL,
    max_attempts integer NOT NULL,
    code_length integer NOT NULL,
    status text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    finished_at bigint,
    bound_to text,
    subscriber_id text,
    reported integer DEFAULT 0 NOT NULL,
    context text,
    match_number text,
    match_choice text,
    pairing_code text,
    opened integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.schema (
    version integer NOT NULL,
    oldest_program integer NOT NULL,
    checksum text NOT NULL
);
CREATE TABLE public.subscribers (
    id text NOT NULL,
    project_id text NOT NULL,
    mode text NOT NULL,
    address text NOT NULL,
    language text NOT NULL,
    subscribed integer NOT NULL,
    consented_at bigint NOT NULL,
    left_at bigint,
    wrong_guesses integer NOT NULL,
    locked integer NOT NULL
)
WITH (fillfactor='90');
CREATE TABLE public.updates (
    key text NOT NULL,
    seen_at bigint NOT NULL
);
INSERT INTO public.api_keys VALUES ('\x28fdcfa7aee65da4ae9289f430ce300cb24dd4cf44f6bfad8a01a75d93ee5c19', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', 1800000000000, NULL);
INSERT INTO public.api_keys VALUES ('\x3596f648ff4b352ecf6b2a9bf07c4636088b7aad2cb816b56cd1421eb820467a', '7413102d-df6b-44af-8f52-ee025c815cba', 'live', 1800000000000, NULL);
INSERT INTO public.codes VALUES ('3210225b-09da-471d-8be7-5dc32b0ab611', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 'login', 'neoymKJJBAMl05q0', 5, 5, 6, '\xf0389d6f5bd16441c0928a04cccf8343', '06121144c2debf59', 1, 1800000300000);
INSERT INTO public.codes VALUES ('43dca106-47c7-49f7-8b30-c0131ef350f4', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 'pay', NULL, 5, 5, 6, '\xff8ff1ca237ca82c217feff3db091e61', '06121144c2debf59', 0, 1800000300000);
INSERT INTO public.codes VALUES ('ddd77559-592e-45e1-8f35-8364a6f76d41', 'bb3e3180-e3b7-486f-8fe9-cffec6097d9c', 'login', 'a8JbkmpGt7UXk1K8', 5, 5, 6, '\xf54a0df0cb9522992ab2087db257dca4', '06121144c2debf59', 0, 1800000300000);
INSERT INTO public.deliveries VALUES ('895f9d69-98e4-451b-8e7d-22ea2c7ab692', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 'telegram:7001', 'neoymKJJBAMl05q0', 'consent', 'login', 5, 5, 6, '\x', '', '3210225b-09da-471d-8be7-5dc32b0ab611', 0, 'accepted', NULL, 1, 1800000000000, 1800000000000, 1800000900000, 1800000000000, 1800000000000, NULL);
INSERT INTO public.deliveries VALUES ('fabe7362-90a1-49f9-879b-ed8e10edd9f3', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 'telegram:7001', NULL, 'send', 'pay', 5, 5, 6, '\x', '', '43dca106-47c7-49f7-8b30-c0131ef350f4', 0, 'accepted', NULL, 1, 1800000000000, 1800000000000, 1800000015000, 1800000000000, 1800000000000, NULL);
INSERT INTO public.deliveries VALUES ('db741746-4d6e-4195-8465-289d62470c52', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'bb3e3180-e3b7-486f-8fe9-cffec6097d9c', 'max:7003', 'a8JbkmpGt7UXk1K8', 'consent', 'login', 5, 5, 6, '\x', '', 'ddd77559-592e-45e1-8f35-8364a6f76d41', 0, 'accepted', NULL, 1, 1800000000000, 1800000000000, 1800000900000, 1800000000000, 1800000000000, NULL);
INSERT INTO public.facts VALUES ('telegram.bot_username', 'a_bot');
INSERT INTO public.jobs VALUES ('close', '895f9d69-98e4-451b-8e7d-22ea2c7ab692', 1800000300000, 0, 0, '', '');
INSERT INTO public.jobs VALUES ('close', 'fabe7362-90a1-49f9-879b-ed8e10edd9f3', 1800000300000, 0, 0, '', '');
INSERT INTO public.jobs VALUES ('close', 'db741746-4d6e-4195-8465-289d62470c52', 1800000300000, 0, 0, '', '');
INSERT INTO public.jobs VALUES ('sweep', '', 1800000000000, 0, 0, '', '');
INSERT INTO public.messages VALUES ('3BYlguMMORRPfVBP', 'telegram:7001', 'question', 'neoymKJJBAMl05q0', NULL, NULL, NULL, 1800000000000, NULL, NULL, 0);
INSERT INTO public.messages VALUES ('895f9d69-98e4-451b-8e7d-22ea2c7ab692', 'telegram:7001', 'code', 'neoymKJJBAMl05q0', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', '895f9d69-98e4-451b-8e7d-22ea2c7ab692', 'm1', 1800000000000, '3210225b-09da-471d-8be7-5dc32b0ab611', NULL, 0);
INSERT INTO public.messages VALUES ('fabe7362-90a1-49f9-879b-ed8e10edd9f3', 'telegram:7001', 'code', NULL, 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 'fabe7362-90a1-49f9-879b-ed8e10edd9f3', 'm2', 1800000000000, '43dca106-47c7-49f7-8b30-c0131ef350f4', NULL, 0);
INSERT INTO public.messages VALUES ('q2lxEFc84PdkITiV', 'max:7003', 'question', 'a8JbkmpGt7UXk1K8', NULL, NULL, NULL, 1800000000000, NULL, NULL, 0);
INSERT INTO public.messages VALUES ('db741746-4d6e-4195-8465-289d62470c52', 'max:7003', 'code', 'a8JbkmpGt7UXk1K8', 'bb3e3180-e3b7-486f-8fe9-cffec6097d9c', 'db741746-4d6e-4195-8465-289d62470c52', 'm1', 1800000000000, 'ddd77559-592e-45e1-8f35-8364a6f76d41', NULL, 0);
INSERT INTO public.messages VALUES ('BhM9jcFSiTBTPhHk', 'telegram:7002', 'question', 'IZtTjRzBwvgC93zC', NULL, NULL, NULL, 1800000000000, NULL, NULL, 0);
INSERT INTO public.messages VALUES ('YLya9OQCqvQaYl9T', 'telegram:7002', 'question', '8qk79VcYCnIRDKNK', NULL, NULL, NULL, 1800000000000, NULL, NULL, 0);
INSERT INTO public.projects VALUES ('58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'Shop', 'what it does', 1, 1800000000000, NULL, NULL, 0);
INSERT INTO public.projects VALUES ('7413102d-df6b-44af-8f52-ee025c815cba', 'Bank', 'what it does', 1, 1800000000000, NULL, NULL, 0);
INSERT INTO public.requests VALUES ('neoymKJJBAMl05q0', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', NULL, 'login', 5, 5, 6, 'sent', 1800000000000, 1800000900000, 1800000000000, 'telegram:7001', 'd8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', 0, NULL, NULL, NULL, '14E76EW1', 1);
INSERT INTO public.requests VALUES ('a8JbkmpGt7UXk1K8', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', NULL, 'login', 5, 5, 6, 'sent', 1800000000000, 1800000900000, 1800000000000, 'max:7003', 'bb3e3180-e3b7-486f-8fe9-cffec6097d9c', 0, NULL, NULL, NULL, 'PHM82T9A', 1);
INSERT INTO public.requests VALUES ('IZtTjRzBwvgC93zC', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', NULL, 'login', 5, 5, 6, 'pending', 1800000000000, 1800000900000, NULL, NULL, NULL, 0, NULL, NULL, NULL, '9BE067NW', 1);
INSERT INTO public.requests VALUES ('8qk79VcYCnIRDKNK', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', NULL, 'login', 5, 5, 6, 'cancelled', 1800000000000, 1800000900000, 1800000000000, NULL, NULL, 0, NULL, NULL, NULL, 'H5SED8N1', 1);
INSERT INTO public.schema VALUES (1, 1, 'd07d26e8975d1ec22b29c31c7cc2c90f07aa701805799dfc648061a52f34ac3d');
INSERT INTO public.subscribers VALUES ('d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', 'telegram:7001', 'en', 1, 1800000000000, NULL, 1, 0);
INSERT INTO public.subscribers VALUES ('bb3e3180-e3b7-486f-8fe9-cffec6097d9c', '58f9082d-b66a-45d6-80a3-f65e1e2f12c3', 'live', 'max:7003', 'en', 1, 1800000000000, NULL, 0, 0);
INSERT INTO public.updates VALUES ('update:0', 1800000000000);
INSERT INTO public.updates VALUES ('update:1', 1800000000000);
INSERT INTO public.updates VALUES ('update:2', 1800000000000);
INSERT INTO public.updates VALUES ('update:3', 1800000000000);
INSERT INTO public.updates VALUES ('update:4', 1800000000000);
INSERT INTO public.updates VALUES ('update:5', 1800000000000);
INSERT INTO public.updates VALUES ('update:6', 1800000000000);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (hash);
ALTER TABLE ONLY public.codes
    ADD CONSTRAINT codes_id_key UNIQUE (id);
ALTER TABLE ONLY public.codes
    ADD CONSTRAINT codes_pkey PRIMARY KEY (subscriber_id, purpose);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.facts
    ADD CONSTRAINT facts_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (kind, subject);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.pairing_misses
    ADD CONSTRAINT pairing_misses_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.people
    ADD CONSTRAINT people_pkey PRIMARY KEY (address);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT refusals_pkey PRIMARY KEY (address, project_id, mode);
ALTER TABLE ONLY public.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema
    ADD CONSTRAINT schema_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.subscribers
    ADD CONSTRAINT subscribers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.updates
    ADD CONSTRAINT updates_pkey PRIMARY KEY (key);
CREATE INDEX api_keys_project ON public.api_keys USING btree (project_id);
CREATE INDEX codes_over ON public.codes USING btree (expires_at);
CREATE INDEX deliveries_request ON public.deliveries USING btree (request_id) WHERE (request_id IS NOT NULL);
CREATE INDEX deliveries_settled ON public.deliveries USING btree (settled_at) WHERE (settled_at IS NOT NULL);
CREATE INDEX deliveries_state ON public.deliveries USING btree (state, due_at) WHERE (state = ANY (ARRAY['claimed'::text, 'attempting'::text]));
CREATE INDEX deliveries_subscriber ON public.deliveries USING btree (subscriber_id, claimed_at);
CREATE UNIQUE INDEX deliveries_under_way ON public.deliveries USING btree (subscriber_id, purpose) WHERE (state = ANY (ARRAY['claimed'::text, 'attempting'::text]));
CREATE INDEX jobs_due ON public.jobs USING btree (due_at);
CREATE INDEX jobs_free ON public.jobs USING btree (due_at) WHERE (lease_until = 0);
CREATE INDEX jobs_leased ON public.jobs USING btree (lease_until) WHERE (lease_until > 0);
CREATE INDEX messages_code ON public.messages USING btree (code_id) WHERE (code_id IS NOT NULL);
CREATE INDEX messages_created ON public.messages USING btree (created_at);
CREATE INDEX messages_request ON public.messages USING btree (request_id) WHERE (request_id IS NOT NULL);
CREATE INDEX messages_subscriber ON public.messages USING btree (subscriber_id) WHERE (subscriber_id IS NOT NULL);
CREATE INDEX pairing_misses_person ON public.pairing_misses USING btree (address, missed_at);
CREATE INDEX refusals_project ON public.refusals USING btree (project_id);
CREATE INDEX requests_finished ON public.requests USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX requests_open ON public.requests USING btree (expires_at) WHERE (status = 'pending'::text);
CREATE INDEX requests_pairing ON public.requests USING btree (pairing_code) WHERE (pairing_code IS NOT NULL);
CREATE INDEX requests_project ON public.requests USING btree (project_id, id);
CREATE INDEX requests_unopened ON public.requests USING btree (finished_at) WHERE ((opened = 0) AND (finished_at IS NOT NULL));
CREATE UNIQUE INDEX subscribers_person ON public.subscribers USING btree (address, project_id, mode);
CREATE INDEX subscribers_project ON public.subscribers USING btree (project_id, id);
CREATE INDEX updates_seen ON public.updates USING btree (seen_at);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.codes
    ADD CONSTRAINT codes_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT refusals_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.requests
    ADD CONSTRAINT requests_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.subscribers
    ADD CONSTRAINT subscribers_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
