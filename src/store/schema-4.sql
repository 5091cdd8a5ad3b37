-- What it takes to tell who asked, to count what was asked for lately, and to fix who reviews an emergency.
ALTER TABLE request ADD COLUMN seq INTEGER REFERENCES event (seq);   -- the entry that filed it
ALTER TABLE request ADD COLUMN requester_login TEXT;                 -- their Unix users at that moment
ALTER TABLE request ADD COLUMN filer_login TEXT;
ALTER TABLE grant ADD COLUMN reviewers TEXT;                         -- JSON: who may review an emergency
UPDATE request SET seq = (SELECT min(seq) FROM event WHERE event.request = request.id AND action = 'request.submitted');
CREATE INDEX request_pending_by_requester ON request (requester, resource) WHERE state = 'pending';
CREATE INDEX grant_ended ON grant (member, ended_at) WHERE ended_at IS NOT NULL;
