-- Delivery of notifications: members' preferences, the team's policy, and an outbox with retries.
ALTER TABLE member ADD COLUMN preference TEXT;   -- JSON; NULL: the defaults
ALTER TABLE team ADD COLUMN policy TEXT;         -- [notifications] of the team file, in JSON; NULL: it has none
ALTER TABLE team ADD COLUMN streams TEXT;        -- no record: each Slack channel's and webhook's position in the log, in JSON

CREATE TABLE outbox_3 (
    id           INTEGER PRIMARY KEY,
    notification INTEGER REFERENCES notification (id),   -- none: to a Slack channel or a webhook
    channel      TEXT NOT NULL,                          -- email, slack, slack:#ops, webhook:siem
    due_at       INTEGER NOT NULL,
    seq          INTEGER REFERENCES event (seq),         -- to a channel or webhook: the entry,
    kind         TEXT,                                   -- and as what it goes there
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT,                                   -- what the last attempt met
    dead         INTEGER NOT NULL DEFAULT 0              -- given up
) STRICT;
INSERT INTO outbox_3 (id, notification, channel, due_at) SELECT id, notification, channel, due_at FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_3 RENAME TO outbox;
