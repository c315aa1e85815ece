-- A database as release 0.1.0 left it, made by the tests' own keys and people.
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
INSERT INTO "codes" VALUES('895f9d69-98e4-451b-8e7d-22ea2c7ab692','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','login','neoymKJJBAMl05q0',5,5,6,X'D8DD3A006E6C04AD4A1DFEDF4A03F02B','06121144c2debf59',1,1800000300000);
INSERT INTO "codes" VALUES('1ab80997-24e0-47fe-8df5-ced162b148f6','ff8ff1ca-237c-482c-817f-eff3db091e61','login','yQidJg7d7tfJrK6R',5,5,6,X'43DCA10647C769F7FB30C0131EF350F4','06121144c2debf59',0,1800000300000);
INSERT INTO "codes" VALUES('bb3e3180-e3b7-486f-8fe9-cffec6097d9c','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','pay',NULL,5,5,6,X'2AF0A1EBBEBF5A7A768BD72446512253','06121144c2debf59',0,1800000300000);
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
) STRICT;
INSERT INTO "deliveries" VALUES('f0389d6f-5bd1-4441-8092-8a04cccf8343','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','telegram:7001','neoymKJJBAMl05q0','consent','login',5,5,6,X'D8DD3A006E6C04AD4A1DFEDF4A03F02B','06121144c2debf59','895f9d69-98e4-451b-8e7d-22ea2c7ab692',0,'accepted',NULL,1,1800000000000,1800000000000,1800000900000,1800000000000,1800000000000);
INSERT INTO "deliveries" VALUES('52742452-3633-478f-8d6f-14f6ae2db149','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','ff8ff1ca-237c-482c-817f-eff3db091e61','max:7003','yQidJg7d7tfJrK6R','consent','login',5,5,6,X'43DCA10647C769F7FB30C0131EF350F4','06121144c2debf59','1ab80997-24e0-47fe-8df5-ced162b148f6',0,'accepted',NULL,1,1800000000000,1800000000000,1800000900000,1800000000000,1800000000000);
INSERT INTO "deliveries" VALUES('db741746-4d6e-4195-8465-289d62470c52','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','telegram:7001',NULL,'send','pay',5,5,6,X'2AF0A1EBBEBF5A7A768BD72446512253','06121144c2debf59','bb3e3180-e3b7-486f-8fe9-cffec6097d9c',0,'accepted',NULL,1,1800000000000,1800000000000,1800000015000,1800000000000,1800000000000);
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
) STRICT;
INSERT INTO "messages" VALUES('Pcl8FC6jE8BY0AN3','telegram:7001','question','neoymKJJBAMl05q0',NULL,NULL,NULL,1800000000000);
INSERT INTO "messages" VALUES('f0389d6f-5bd1-4441-8092-8a04cccf8343','telegram:7001','code','neoymKJJBAMl05q0','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','f0389d6f-5bd1-4441-8092-8a04cccf8343','m1',1800000000000);
INSERT INTO "messages" VALUES('CE1kUlZBbfzSQzf5','max:7003','question','yQidJg7d7tfJrK6R',NULL,NULL,NULL,1800000000000);
INSERT INTO "messages" VALUES('52742452-3633-478f-8d6f-14f6ae2db149','max:7003','code','yQidJg7d7tfJrK6R','ff8ff1ca-237c-482c-817f-eff3db091e61','52742452-3633-478f-8d6f-14f6ae2db149','m1',1800000000000);
INSERT INTO "messages" VALUES('db741746-4d6e-4195-8465-289d62470c52','telegram:7001','code',NULL,'373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','db741746-4d6e-4195-8465-289d62470c52','m2',1800000000000);
INSERT INTO "messages" VALUES('jd3bbu7nl1Hmq9vD','telegram:7002','question','7MN2RZidq2IB2Zio',NULL,NULL,NULL,1800000000000);
INSERT INTO "messages" VALUES('rQi5rkrcSqfVICaL','telegram:7002','question','IZtTjRzBwvgC93zC',NULL,NULL,NULL,1800000000000);
CREATE TABLE projects (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
INSERT INTO "projects" VALUES('58f9082d-b66a-45d6-80a3-f65e1e2f12c3','Shop','what it does',1,1800000000000);
INSERT INTO "projects" VALUES('7413102d-df6b-44af-8f52-ee025c815cba','Bank','what it does',1,1800000000000);
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
) STRICT;
INSERT INTO "requests" VALUES('neoymKJJBAMl05q0','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'sent',1800000000000,1800000900000,1800000000000,'telegram:7001','373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b');
INSERT INTO "requests" VALUES('yQidJg7d7tfJrK6R','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'sent',1800000000000,1800000900000,1800000000000,'max:7003','ff8ff1ca-237c-482c-817f-eff3db091e61');
INSERT INTO "requests" VALUES('7MN2RZidq2IB2Zio','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'pending',1800000000000,1800000900000,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('IZtTjRzBwvgC93zC','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live',NULL,'login',5,5,6,'cancelled',1800000000000,1800000900000,1800000000000,NULL,NULL);
CREATE TABLE schema (version INTEGER PRIMARY KEY, oldest_program INTEGER NOT NULL, checksum TEXT NOT NULL) STRICT;
INSERT INTO "schema" VALUES(1,1,'803043f3745e968ebacf8ebad4b089d71d167db5b6ae6f235a74ad3e4e942c5b');
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
INSERT INTO "subscribers" VALUES('373fd263-5e2e-4cc6-8e8d-8d0fd9533f8b','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live','telegram:7001','en',1,1800000000000,NULL,1,0);
INSERT INTO "subscribers" VALUES('ff8ff1ca-237c-482c-817f-eff3db091e61','58f9082d-b66a-45d6-80a3-f65e1e2f12c3','live','max:7003','en',1,1800000000000,NULL,0,0);
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
INSERT INTO "updates" VALUES('update:7',1800000000000);
CREATE INDEX api_keys_project ON api_keys (project_id);
CREATE INDEX updates_seen ON updates (seen_at);
CREATE UNIQUE INDEX subscribers_person ON subscribers (address, project_id, mode);
CREATE INDEX subscribers_project ON subscribers (project_id);
CREATE INDEX requests_open ON requests (expires_at) WHERE status = 'pending';
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_project ON requests (project_id);
CREATE UNIQUE INDEX deliveries_under_way ON deliveries (subscriber_id, purpose) WHERE state IN ('claimed', 'attempting');
CREATE INDEX deliveries_subscriber ON deliveries (subscriber_id, claimed_at);
CREATE INDEX deliveries_request ON deliveries (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX deliveries_state ON deliveries (state, due_at) WHERE state IN ('claimed', 'attempting');
CREATE INDEX messages_request ON messages (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX messages_created ON messages (created_at);
CREATE INDEX jobs_due ON jobs (due_at);
COMMIT;
