-- A database as release 0.3.0 left it, made by the tests' own keys and people.
BEGIN TRANSACTION;
CREATE TABLE api_keys (
    hash       BLOB PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ends_at    INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "api_keys" VALUES(X'28FDCFA7AEE65DA4AE9289F430CE300CB24DD4CF44F6BFAD8A01A75D93EE5C19','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',1800000000000,NULL);
INSERT INTO "api_keys" VALUES(X'3596F648FF4B352ECF6B2A9BF07C4636088B7AAD2CB816B56CD1421EB820467A','7413102d-df6b-44af-8f52-ee025c815cba','live',1800000000000,NULL);
CREATE TABLE codes (
    id            TEXT NOT NULL UNIQUE,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    purpose       TEXT NOT NULL,
    request_id    TEXT,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    seed          BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    PRIMARY KEY (subscriber_id, purpose)
) STRICT;
INSERT INTO "codes" VALUES('3210225b-09da-471d-8be7-5dc32b0ab611','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','login','neoymKJJBAMl05q0',5,5,6,X'F0389D6F5BD16441C0928A04CCCF8343','06121144c2debf59',1,1800000300000);
INSERT INTO "codes" VALUES('43dca106-47c7-49f7-8b30-c0131ef350f4','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','pay',NULL,5,5,6,X'FF8FF1CA237CA82C217FEFF3DB091E61','06121144c2debf59',0,1800000300000);
INSERT INTO "codes" VALUES('ddd77559-592e-45e1-8f35-8364a6f76d41','bb3e3180-e3b7-486f-8fe9-cffec6097d9c','login','a8JbkmpGt7UXk1K8',5,5,6,X'F54A0DF0CB9522992AB2087DB257DCA4','06121144c2debf59',0,1800000300000);
CREATE TABLE deliveries (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    address       TEXT NOT NULL,
    request_id    TEXT,
    cause         TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    seed          BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    code_id       TEXT NOT NULL,
    reuses        INTEGER NOT NULL,
    state         TEXT NOT NULL,
    refusal       TEXT,
    tries         INTEGER NOT NULL,
    claimed_at    INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    give_up_at    INTEGER NOT NULL,
    attempted_at  INTEGER,
    settled_at    INTEGER
, context TEXT) STRICT;
INSERT INTO "deliveries" VALUES('895f9d69-98e4-451b-8e7d-22ea2c7ab692','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','telegram:7001','neoymKJJBAMl05q0','consent','login',5,5,6,X'','','3210225b-09da-471d-8be7-5dc32b0ab611',0,'accepted',NULL,1,1800000000000,1800000000000,1800000900000,1800000000000,1800000000000,NULL);
INSERT INTO "deliveries" VALUES('fabe7362-90a1-49f9-879b-ed8e10edd9f3','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','telegram:7001',NULL,'send','pay',5,5,6,X'','','43dca106-47c7-49f7-8b30-c0131ef350f4',0,'accepted',NULL,1,1800000000000,1800000000000,1800000015000,1800000000000,1800000000000,NULL);
INSERT INTO "deliveries" VALUES('db741746-4d6e-4195-8465-289d62470c52','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','bb3e3180-e3b7-486f-8fe9-cffec6097d9c','max:7003','a8JbkmpGt7UXk1K8','consent','login',5,5,6,X'','','ddd77559-592e-45e1-8f35-8364a6f76d41',0,'accepted',NULL,1,1800000000000,1800000000000,1800000900000,1800000000000,1800000000000,NULL);
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "facts" VALUES('clock','1800000000000');
INSERT INTO "facts" VALUES('telegram.bot_username','a_bot');
CREATE TABLE jobs (
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    payload     TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;
INSERT INTO "jobs" VALUES('close','895f9d69-98e4-451b-8e7d-22ea2c7ab692',1800000300000,0,0,'','');
INSERT INTO "jobs" VALUES('close','fabe7362-90a1-49f9-879b-ed8e10edd9f3',1800000300000,0,0,'','');
INSERT INTO "jobs" VALUES('close','db741746-4d6e-4195-8465-289d62470c52',1800000300000,0,0,'','');
INSERT INTO "jobs" VALUES('sweep','',1800000000000,0,0,'','');
CREATE TABLE messages (
    id            TEXT PRIMARY KEY,
    address       TEXT NOT NULL,
    kind          TEXT NOT NULL,
    request_id    TEXT,
    subscriber_id TEXT,
    delivery_id   TEXT,
    messenger_id  TEXT,
    created_at    INTEGER NOT NULL
, code_id TEXT, ended TEXT, closed INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "messages" VALUES('3BYlguMMORRPfVBP','telegram:7001','question','neoymKJJBAMl05q0',NULL,NULL,NULL,1800000000000,NULL,NULL,0);
INSERT INTO "messages" VALUES('895f9d69-98e4-451b-8e7d-22ea2c7ab692','telegram:7001','code','neoymKJJBAMl05q0','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','895f9d69-98e4-451b-8e7d-22ea2c7ab692','m1',1800000000000,'3210225b-09da-471d-8be7-5dc32b0ab611',NULL,0);
INSERT INTO "messages" VALUES('fabe7362-90a1-49f9-879b-ed8e10edd9f3','telegram:7001','code',NULL,'d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','fabe7362-90a1-49f9-879b-ed8e10edd9f3','m2',1800000000000,'43dca106-47c7-49f7-8b30-c0131ef350f4',NULL,0);
INSERT INTO "messages" VALUES('q2lxEFc84PdkITiV','max:7003','question','a8JbkmpGt7UXk1K8',NULL,NULL,NULL,1800000000000,NULL,NULL,0);
INSERT INTO "messages" VALUES('db741746-4d6e-4195-8465-289d62470c52','max:7003','code','a8JbkmpGt7UXk1K8','bb3e3180-e3b7-486f-8fe9-cffec6097d9c','db741746-4d6e-4195-8465-289d62470c52','m1',1800000000000,'ddd77559-592e-45e1-8f35-8364a6f76d41',NULL,0);
INSERT INTO "messages" VALUES('BhM9jcFSiTBTPhHk','telegram:7002','question','IZtTjRzBwvgC93zC',NULL,NULL,NULL,1800000000000,NULL,NULL,0);
INSERT INTO "messages" VALUES('YLya9OQCqvQaYl9T','telegram:7002','question','8qk79VcYCnIRDKNK',NULL,NULL,NULL,1800000000000,NULL,NULL,0);
CREATE TABLE pairing_misses (
    id        TEXT PRIMARY KEY,
    address   TEXT NOT NULL,
    missed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE people (
    address  TEXT PRIMARY KEY,
    language TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE projects (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
, site_url TEXT, texts TEXT, deleted INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "projects" VALUES('58f9082d-b66a-45d6-80a3-f65e1e2f12c3','Shop','what it does',1,1800000000000,NULL,NULL,0);
INSERT INTO "projects" VALUES('7413102d-df6b-44af-8f52-ee025c815cba','Bank','what it does',1,1800000000000,NULL,NULL,0);
CREATE TABLE refusals (
    address    TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    refused_at INTEGER NOT NULL,
    PRIMARY KEY (address, project_id, mode)
) STRICT, WITHOUT ROWID;
CREATE TABLE requests (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    channel       TEXT,
    purpose       TEXT NOT NULL,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    status        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    bound_to      TEXT,
    subscriber_id TEXT
, reported INTEGER NOT NULL DEFAULT 0, context TEXT, match_number TEXT, match_choice TEXT, pairing_code TEXT, opened INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "requests" VALUES('neoymKJJBAMl05q0','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'sent',1800000000000,1800000900000,1800000000000,'telegram:7001','d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b',0,NULL,NULL,NULL,'14E76EW1',1);
INSERT INTO "requests" VALUES('a8JbkmpGt7UXk1K8','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'sent',1800000000000,1800000900000,1800000000000,'max:7003','bb3e3180-e3b7-486f-8fe9-cffec6097d9c',0,NULL,NULL,NULL,'PHM82T9A',1);
INSERT INTO "requests" VALUES('IZtTjRzBwvgC93zC','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'pending',1800000000000,1800000900000,NULL,NULL,NULL,0,NULL,NULL,NULL,'9BE067NW',1);
INSERT INTO "requests" VALUES('8qk79VcYCnIRDKNK','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'cancelled',1800000000000,1800000900000,1800000000000,NULL,NULL,0,NULL,NULL,NULL,'H5SED8N1',1);
CREATE TABLE schema (version INTEGER PRIMARY KEY, oldest_program INTEGER NOT NULL, checksum TEXT NOT NULL) STRICT;
INSERT INTO "schema" VALUES(1,1,'803043f3745e968ebacf8ebad4b089d71d167db5b6ae6f235a74ad3e4e942c5b');
INSERT INTO "schema" VALUES(2,1,'5045913d86328516bb6a8ad40ec82bd46a65d58f12cc0ec4394931997d384e7e');
INSERT INTO "schema" VALUES(3,1,'cb75d661866b32613c2315fbecd84d802f2373881817f374e8411767670f23ca');
INSERT INTO "schema" VALUES(4,1,'64d65b1e6688a11fe888ada5be1714bfc2dc64bc5a0eb23fdf399e456b80d9be');
INSERT INTO "schema" VALUES(5,1,'fc35a4446af60dfc10c3e9ae3fbd706682bc2e4d073437b7dd5ceaaf31c8d086');
INSERT INTO "schema" VALUES(6,1,'1310a3ff09d38cca799682acc4d2a80e19ea1447bf811c7c8d3d55e898788b9d');
INSERT INTO "schema" VALUES(7,1,'5e6630bb1d9d81dbd25a3dcee6856cf7d6a20a55ceff2245f5069220c96d0957');
INSERT INTO "schema" VALUES(8,1,'da47c2a4f5e20a769c2ff8cc66f7f93b940fa4805cf0f7b6420db23510d082eb');
INSERT INTO "schema" VALUES(9,1,'48d236c6c6a0af580c4a1ca2fda09bdac67a567f12266490640c78bf7f364546');
CREATE TABLE subscribers (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    address       TEXT NOT NULL,
    language      TEXT NOT NULL,
    subscribed    INTEGER NOT NULL,
    consented_at  INTEGER NOT NULL,
    left_at       INTEGER,
    wrong_guesses INTEGER NOT NULL,
    locked        INTEGER NOT NULL
) STRICT;
INSERT INTO "subscribers" VALUES('d8dd3a00-6e6c-44ad-8a1d-fedf4a03f02b','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live','telegram:7001','en',1,1800000000000,NULL,1,0);
INSERT INTO "subscribers" VALUES('bb3e3180-e3b7-486f-8fe9-cffec6097d9c','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live','max:7003','en',1,1800000000000,NULL,0,0);
CREATE TABLE updates (
    key     TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "updates" VALUES('update:0',1800000000000);
INSERT INTO "updates" VALUES('update:1',1800000000000);
INSERT INTO "updates" VALUES('update:2',1800000000000);
INSERT INTO "updates" VALUES('update:3',1800000000000);
INSERT INTO "updates" VALUES('update:4',1800000000000);
INSERT INTO "updates" VALUES('update:5',1800000000000);
INSERT INTO "updates" VALUES('update:6',1800000000000);
CREATE INDEX api_keys_project ON api_keys (project_id);
CREATE INDEX updates_seen ON updates (seen_at);
CREATE UNIQUE INDEX subscribers_person ON subscribers (address, project_id, mode);
CREATE INDEX requests_open ON requests (expires_at) WHERE status = 'pending';
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX deliveries_under_way ON deliveries (subscriber_id, purpose) WHERE state IN ('claimed', 'attempting');
CREATE INDEX deliveries_subscriber ON deliveries (subscriber_id, claimed_at);
CREATE INDEX deliveries_request ON deliveries (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX deliveries_state ON deliveries (state, due_at) WHERE state IN ('claimed', 'attempting');
CREATE INDEX messages_request ON messages (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX messages_created ON messages (created_at);
CREATE INDEX jobs_due ON jobs (due_at);
CREATE INDEX messages_code ON messages (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX requests_pairing ON requests (pairing_code) WHERE pairing_code IS NOT NULL;
CREATE INDEX pairing_misses_person ON pairing_misses (address, missed_at);
CREATE INDEX messages_subscriber ON messages (subscriber_id) WHERE subscriber_id IS NOT NULL;
CREATE INDEX requests_unopened ON requests (finished_at) WHERE opened = 0 AND finished_at IS NOT NULL;
CREATE INDEX requests_project ON requests (project_id, id);
CREATE INDEX subscribers_project ON subscribers (project_id, id);
CREATE INDEX refusals_project ON refusals (project_id);
CREATE INDEX jobs_free ON jobs (due_at) WHERE lease_until = 0;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE lease_until > 0;
CREATE INDEX codes_over ON codes (expires_at);
COMMIT;
