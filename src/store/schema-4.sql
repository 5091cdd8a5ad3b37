-- What it takes to tell who asked, to count what was asked for lately, and to fix who reviews an emergency.
ALTER TABLE request ADD COLUMN seq INTEGER REFERENCES event (seq);   -- the entry that filed it
ALTER TABLE request ADD COLUMN requester_login TEXT;                 -- their Unix users at that moment
ALTER TABLE request ADD COLUMN filer_login TEXT;
ALTER TABLE grant ADD COLUMN reviewers TEXT;                         -- JSON: who may review an emergency
UPDATE request SET seq = (SELECT min(seq) FROM event WHERE event.request = request.id AND action = 'request.submitted');
CREATE INDEX request_pending_by_requester ON request (requester, resource) WHERE state = 'pending';
CREATE INDEX grant_ended ON grant (member, ended_at) WHERE ended_at IS NOT NULL;
-- For the limits on how often somebody may do something (src/store/lately.rs). Without the first, the acts of an hour are found
-- only by reading every entry of that hour, and one run of `expire` writes a hundred thousand. Without the second, what waits
-- of one filer is found only by reading all that waits, or all that they ever filed for others.
CREATE INDEX event_of_limited_act ON event (actor, action)
    WHERE action IN ('preference.changed', 'request.edited', 'team.applied');
CREATE INDEX request_pending_for_others ON request (filed_by) WHERE state = 'pending' AND filed_by <> requester;
