-- Rules, starts that are set, extensions, emergencies and their reviews. Rules lie in the catalogue, as kind 'rule',
-- and their order there as kind 'rules'.
ALTER TABLE request ADD COLUMN start INTEGER;
ALTER TABLE request ADD COLUMN extends INTEGER REFERENCES request (id);
ALTER TABLE request ADD COLUMN emergency INTEGER NOT NULL DEFAULT 0;
ALTER TABLE request ADD COLUMN remind_at INTEGER;                    -- none: never, or done
ALTER TABLE request ADD COLUMN review TEXT;                          -- JSON; an emergency without one owes it
ALTER TABLE decision ADD COLUMN counts INTEGER NOT NULL DEFAULT 1;     -- not once a later one put other terms on the table
ALTER TABLE grant ADD COLUMN start INTEGER;
ALTER TABLE grant ADD COLUMN by_rule TEXT;                           -- the rule that granted it, where no person did
ALTER TABLE grant ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;       -- whether its beginning is on the record
CREATE INDEX request_extension ON request (extends) WHERE extends IS NOT NULL;
CREATE INDEX request_review ON request (id) WHERE emergency AND review IS NULL;
CREATE INDEX grant_to_begin ON grant (starts_at) WHERE NOT begun AND ended_at IS NULL;
