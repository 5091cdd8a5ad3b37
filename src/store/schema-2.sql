-- Rules, start times, extensions, emergencies and their reviews. Rules are in the catalogue with the kind 'rule', and their order
-- with the kind 'rules'.
ALTER TABLE request ADD COLUMN start INTEGER;
ALTER TABLE request ADD COLUMN extends INTEGER REFERENCES request (id);
ALTER TABLE request ADD COLUMN emergency INTEGER NOT NULL DEFAULT 0;
ALTER TABLE request ADD COLUMN remind_at INTEGER;                    -- NULL: none, or already sent
ALTER TABLE request ADD COLUMN review TEXT;                          -- JSON; NULL for an emergency: still needed
ALTER TABLE decision ADD COLUMN counts INTEGER NOT NULL DEFAULT 1;     -- 0 once another decision changed the terms
ALTER TABLE grant ADD COLUMN start INTEGER;
ALTER TABLE grant ADD COLUMN by_rule TEXT;                           -- the rule that granted it, if no person did
ALTER TABLE grant ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;       -- whether its start is recorded
CREATE INDEX request_extension ON request (extends) WHERE extends IS NOT NULL;
CREATE INDEX request_review ON request (id) WHERE emergency AND review IS NULL;
CREATE INDEX grant_to_begin ON grant (starts_at) WHERE NOT begun AND ended_at IS NULL;
