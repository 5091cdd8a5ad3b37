//! What replay finds in a log that was changed: each case edits entries of an honest log, and names what is found.
//!
//! `tests/fixtures/replay.jsonl` is a log that the program wrote. `tests/cli/proof.rs` forges whole databases; here a case
//! costs nothing, so that each condition can have its own.

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::domain::audit::Hash;
    use crate::domain::event::Entry;
    use crate::domain::replay::Model;

    const LOG: &str = include_str!("../../../tests/fixtures/replay.jsonl");
    const RECERTIFICATIONS: &str = include_str!("../../../tests/fixtures/log-v2-recertifications.jsonl");

    /// An entry, the place in it as a JSON pointer, and what is put there. `null` where there was nothing changes nothing.
    type ChangedField = (usize, &'static str, &'static str);

    fn edited(log: &str, edits: &[ChangedField]) -> Vec<Entry> {
        let mut entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (seq, place, text) in edits {
            let value: Value = serde_json::from_str(text).unwrap();
            let (parent, key) = place.rsplit_once('/').unwrap();
            let parent = entries[seq - 1].pointer_mut(parent).unwrap();
            match parent {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                _ => parent[key] = value,
            }
        }
        entries.into_iter().map(|entry| serde_json::from_value(entry).unwrap()).collect()
    }

    fn faults(log: &str, edits: &[ChangedField], releases: bool) -> Vec<String> {
        let mut model = Model::default();
        let mut faults = Vec::new();
        for entry in edited(log, edits) {
            let seq = entry.seq;
            faults.extend(model.take(entry, Hash::default()).into_iter().map(|fault| format!("{seq}: {fault}")));
            if releases {
                model.release();
            }
        }
        faults
    }

    /// Each case: the edits, and how the faults that are found begin, of which there are no others. What was released makes no
    /// difference.
    fn found(cases: &[(&[ChangedField], &[&str])]) {
        found_in(LOG, cases);
    }

    fn found_in(log: &str, cases: &[(&[ChangedField], &[&str])]) {
        let mut wrong = Vec::new();
        for (edits, expected) in cases {
            for releases in [false, true] {
                let faults = faults(log, edits, releases);
                let same =
                    faults.len() == expected.len() && faults.iter().zip(*expected).all(|(a, b)| a.starts_with(b));
                if !same {
                    wrong
                        .push(format!("{edits:?}, releases: {releases}\n  expected {expected:?}\n  found {faults:#?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn an_honest_log_has_no_fault() {
        found(&[(&[], &[])]);
    }

    #[test]
    fn a_scheduled_grant_begins_as_it_was_scheduled() {
        let differs = &["11: the grant of request 1 does not begin as it was scheduled"];
        found(&[
            (&[(11, "/event/detail/member", r#""carol""#)], differs),
            (&[(11, "/event/detail/end", r#"{"after":"3h"}"#)], differs),
            (&[(11, "/event/detail/resource", r#""target:db""#)], differs),
            (&[(11, "/event/detail/ends_at", r#""2026-12-01T13:00:00Z""#)], differs),
            (&[(11, "/event/detail/starts_at", r#""2026-12-01T09:59:00Z""#)], differs),
            (&[(11, "/at", r#""2026-12-01T09:59:59Z""#)], differs),
        ]);
    }

    #[test]
    fn a_grant_ends_once_and_as_it_was_granted() {
        let expires = &["25: grant 2 does not expire as it was granted"];
        found(&[
            (&[(25, "/event/detail/ended_at", r#""2026-12-01T10:59:59Z""#)], expires),
            (&[(25, "/event/detail/resource", r#""role:viewer""#)], expires),
            (&[(25, "/at", r#""2026-12-01T10:59:59Z""#)], expires),
            (&[(27, "/event/detail/request", "3")], &["27: grant 3 had ended before"]),
            (&[(27, "/event/detail/request", "6")], &["27: there is no grant 6"]),
            (
                &[(
                    13,
                    "/event",
                    r#"{"action":"grant.expiring","detail":{"request":2,"resource":"role:admin","ends_at":"2026-12-01T11:00:00Z"}}"#,
                )],
                &["13: the end of grant 2 is announced twice"],
            ),
            (
                &[(24, "/event/detail/resource", r#""target:db""#)],
                &["24: grant 4 is revoked by or for another than it says"],
            ),
            (&[(24, "/event/detail/by", r#""alice""#)], &["24: grant 4 is revoked by or for another than it says"]),
            (&[(24, "/at", r#""2026-12-01T11:00:00Z""#)], &["24: grant 4 is revoked after it had ended"]),
            (&[(24, "/at", r#""2026-12-01T10:59:59Z""#)], &[]),
            (&[(24, "/actor", "null"), (24, "/event/detail/by", "null")], &["24: grant 4 is revoked by nobody"]),
            (
                &[(24, "/event/detail/because", r#"{"not_kept":"1.1"}"#)],
                &["24: grant 4 is revoked for a review that does not say so"],
            ),
        ]);
    }

    #[test]
    fn a_decision_is_by_another_person_who_acts() {
        let misstated = &["14: it misstates what request 3 asked for"];
        let asked = r#"{"resource":"target:db","end":{"after":"2h"}}"#;
        found(&[
            (&[(14, "/actor", r#""dave""#)], &["14: the decision on request 3 is not that of the member who acts"]),
            (&[(14, "/event/detail/asked", asked)], misstated),
            (
                &[(14, "/event/detail/voids", r#"["erin"]"#)],
                &["14: it voids an approval of request 3 that does not exist"],
            ),
            (
                &[(23, "/actor", r#""vic""#), (23, "/event/detail/by", r#""vic""#)],
                &["23: vic decides on request 6, which is their own"],
            ),
            (&[(23, "/event/detail/request", "5")], &["23: request 5 is decided, which was not pending"]),
            (&[(22, "/event/detail/by", r#""alice""#)], &["22: request 5 is withdrawn by somebody else than it says"]),
            (&[(22, "/actor", "null"), (22, "/event/detail/by", "null")], &["22: request 5 is withdrawn by nobody"]),
            (&[(13, "/at", r#""2026-12-01T10:29:59Z""#)], &["13: it reminds of request 3, which was not due"]),
            (&[(13, "/event/detail/request", "1")], &["13: request 1 is decided, which was not pending"]),
        ]);
    }

    #[test]
    fn a_grant_has_the_approvals_and_the_demands_of_then() {
        let names = "16: the grant of request 3 names other approvers than approved it";
        let without = "16: request 3 is granted without the approvals that rule \"dba\" demanded then";
        let terms = "16: request 3 is granted on other terms than were approved";
        let times = "16: the grant of request 3 does not start and end as granted";
        found(&[
            (&[(16, "/event/detail/approved_by", r#"["carol"]"#)], &[names]),
            (&[(16, "/event/detail/approved_by", r#"["carol","dave","dave"]"#)], &[names]),
            (&[(16, "/event/detail/approved_by", r#"["carol","erin"]"#)], &[names]),
            (&[(16, "/event/detail/modified", "true")], &[terms]),
            (&[(16, "/event/detail/member", r#""dave""#)], &["16: request 3 is granted to dave, who did not ask"]),
            (
                &[(16, "/event/detail/ends_at", r#""2026-12-01T11:31:00Z""#)],
                &[times, "26: grant 3 does not expire as it was granted"],
            ),
            (&[(16, "/event/detail/starts_at", r#""2026-12-01T10:29:00Z""#)], &[times]),
            (&[(16, "/event/detail/demands/0/approvals", "1")], &[without]),
            (&[(16, "/event/detail/demands/0/by", r#"["carol","carol"]"#)], &[without]),
            (&[(16, "/event/detail/demands/0/by", r#"["carol","dave","dave"]"#)], &[without]),
            (&[(16, "/event/detail/demands/0/by", r#"["carol"]"#)], &[without]),
            (
                &[(16, "/event/detail/demands/0/rule", r#""auto""#)],
                &["16: request 3 is granted by a demand of rule \"auto\", which made none then"],
            ),
            (&[(16, "/event/detail/demands", "[]")], &["16: request 3 is granted without a demand that it met"]),
            (&[(16, "/event/detail/approved_by", "[]")], &["16: request 3 is granted without an approval"]),
            (&[(16, "/event/detail/request", "4")], &["16: there is no request 4", "26: there is no grant 3"]),
            (
                &[(5, "/event/detail/demands/0/by", r#"["bob"]"#)],
                &["5: request 1 is granted without the approvals that the default demanded then"],
            ),
        ]);
    }

    /// carol approves request 4 as an admin by grant 2.
    #[test]
    fn a_granted_role_counts_while_its_grant_lasts() {
        let until = |length: &'static str, end: &'static str| {
            [
                (6, "/event/detail/asked/end", length),
                (7, "/event/detail/terms/end", length),
                (8, "/event/detail/end", length),
            ]
            .into_iter()
            .chain([(8, "/event/detail/ends_at", end), (25, "/event/detail/ended_at", end)])
            .collect::<Vec<ChangedField>>()
        };
        let over = until(r#"{"after":"90m"}"#, r#""2026-12-01T10:30:00Z""#);
        let live = until(r#"{"after":"5401s"}"#, r#""2026-12-01T10:30:01Z""#);
        found(&[(&over, &["19: carol could not meet the demand of the default on request 4 then"]), (&live, &[])]);
    }

    #[test]
    fn requests_are_filed_in_their_order_by_members_who_act() {
        let extends = &["28: request 7 extends no grant of its requester"];
        found(&[
            (&[(28, "/event/detail/extends", "1")], &[]),
            (&[(28, "/event/detail/extends", "3")], &[]),
            (&[(28, "/event/detail/extends", "2")], extends),
            (&[(28, "/event/detail/extends", "4")], extends),
            (&[(28, "/event/detail/extends", "6")], extends),
            (&[(28, "/event/detail/extends", "9")], extends),
            (
                &[(
                    34,
                    "/event",
                    r#"{"action":"request.submitted","detail":{"request":6,"requester":"dave","filed_by":"dave","requester_login":"dave","filer_login":"dave","asked":{"resource":"target:db","end":{"after":"1h"}},"reason":"x","lapses_at":"2026-12-08T13:00:00Z"}}"#,
                )],
                &["34: it files request 6 a second time"],
            ),
            (
                &[(32, "/event/detail/request", "11"), (33, "/event/detail/request", "11")],
                &["32: it files request 11, where 9 comes next"],
            ),
            (
                &[(28, "/event/detail/filed_by", r#""erin""#), (28, "/event/detail/filer_login", r#""erin""#)],
                &["28: request 7 was not filed by the member who acts"],
            ),
            (
                &[(28, "/event/detail/requester_login", r#""dave""#)],
                &["28: it does not name the Unix user that bob has"],
            ),
            (&[(28, "/event/detail/filer_login", r#""dave""#)], &["28: it does not name the Unix user that alice has"]),
            (&[(28, "/event/detail/filer_login", "null")], &["28: it does not name the Unix user that alice has"]),
        ]);
    }

    #[test]
    fn an_edit_is_by_whose_request_it_is_and_changes_what_it_says() {
        let times = &["33: it sets another lapse or reminder for request 9 than it can"];
        found(&[
            (&[(33, "/event/detail/from/reason", r#""z""#)], &["33: it misstates what request 9 said before"]),
            (&[(33, "/event/detail/to/reason", r#""x""#)], &["33: it edits request 9 and changes nothing"]),
            (&[(33, "/event/detail/to/asked/resource", r#""target:db""#)], &["33: it changes what request 9 is for"]),
            (
                &[(33, "/event/detail/by", r#""dave""#)],
                &["33: the edit of request 9 is not that of the member who acts"],
            ),
            (
                &[(33, "/event/detail/by", r#""dave""#), (33, "/actor", r#""dave""#)],
                &["33: dave edits request 9, which is not their own"],
            ),
            (
                &[(33, "/event/detail/voids", r#"["carol"]"#)],
                &["33: it voids other approvals of request 9 than there are"],
            ),
            (&[(33, "/event/detail/lapses_at", r#""2026-12-01T13:00:00Z""#)], times),
            (&[(33, "/event/detail/remind_at", r#""2026-12-08T13:00:00Z""#)], times),
            (&[(33, "/event/detail/request", "7")], &["33: vic edits request 7, which is not their own"]),
        ]);
    }

    #[test]
    fn an_emergency_is_taken_by_who_needs_it_and_reviewed_by_others() {
        let alone =
            "30: request 8 is granted by rule \"glass\", which could not give it then: an emergency is taken by";
        let owes_none = "31: it reviews request 8, which owes no review";
        let start = r#""2026-12-01T13:00:00Z""#;
        found(&[
            (
                &[
                    (29, "/actor", r#""alice""#),
                    (29, "/event/detail/filed_by", r#""alice""#),
                    (29, "/event/detail/filer_login", r#""alice""#),
                ],
                &[alone],
            ),
            (&[(29, "/event/detail/asked/start", start), (30, "/event/detail/start", start)], &[alone]),
            (
                &[
                    (29, "/event/detail/asked/end", r#""never""#),
                    (30, "/event/detail/end", r#""never""#),
                    (30, "/event/detail/ends_at", "null"),
                ],
                &[alone],
            ),
            (
                &[(29, "/event/detail/emergency", "false")],
                &["30: request 8 is granted by a rule that does not give it", owes_none],
            ),
            (
                &[(30, "/event/detail/by_rule", r#""dba""#)],
                &["30: request 8 is granted by a rule that does not give it"],
            ),
            (
                &[(31, "/actor", r#""dave""#), (31, "/event/detail/by", r#""dave""#)],
                &["31: dave decides on request 8, which is their own"],
            ),
            (
                &[(31, "/actor", r#""bob""#), (31, "/event/detail/by", r#""bob""#)],
                &["31: bob reviews request 8, which is for others to review"],
            ),
            (
                &[(31, "/event/detail/by", r#""alice""#)],
                &["31: the decision on request 8 is not that of the member who acts"],
            ),
            (
                &[
                    (32, "/actor", r#""alice""#),
                    (32, "/event", r#"{"action":"request.reviewed","detail":{"request":8,"by":"alice","note":"x"}}"#),
                    (33, "/event", r#"{"action":"preference.changed","detail":{"member":"vic","from":{},"to":{}}}"#),
                ],
                &["32: it reviews request 8, which owes no review"],
            ),
            // Where none of those who were fixed can review it, anybody may who could.
            (
                &[(30, "/event/detail/reviewers", r#"["alice"]"#)],
                &["31: carol reviews request 8, which is for others to review"],
            ),
            (&[(30, "/event/detail/reviewers", r#"["dave"]"#)], &[]),
            (&[(30, "/event/detail/reviewers", r#"["bob"]"#), (30, "/told/1", r#"["bob","access.emergency"]"#)], &[]),
            (
                &[
                    (30, "/event/detail/reviewers", "[]"),
                    (31, "/actor", r#""vic""#),
                    (31, "/event/detail/by", r#""vic""#),
                ],
                &["31: vic reviews request 8, who could not review it then"],
            ),
        ]);
    }

    #[test]
    fn an_entry_is_of_its_time_its_actor_and_its_format() {
        let format = &["34: a host and a nonce are part of format 3, and of no earlier one"];
        let clock = |was: &str| format!(r#"{{"action":"clock.accepted","detail":{{"was":"{was}"}}}}"#);
        let (behind, ahead) = (clock("2026-12-01T12:59:59Z").leak(), clock("2026-12-01T13:00:00Z").leak());
        found(&[
            (&[(34, "/at", r#""2026-12-01T12:59:59Z""#)], &["34: its time, 2026-12-01T12:59:59Z, is before that"]),
            (&[(34, "/event", behind)], &["34: it accepts a clock behind 2026-12-01T12:59:59Z"]),
            (&[(34, "/event", ahead), (34, "/at", r#""2026-12-01T09:00:00Z""#)], &[]),
            (&[(34, "/actor", r#""zoe""#), (34, "/event", ahead)], &["34: zoe acts, who is not a member"]),
            (&[(34, "/actor", r#""bob""#)], &["34: the preferences of dave are changed by somebody else"]),
            (
                &[(34, "/event/detail/from", r#"{"events":{"access.expired":{"email":false}}}"#)],
                &["34: the preferences of dave change from"],
            ),
            // From 3 back to 2, where the log is no longer shared; never back to 1.
            (&[(33, "/v", "3"), (33, "/host", r#""desk""#), (33, "/nonce", r#""1""#)], &[]),
            (&[(34, "/v", "1")], &["34: it is of format 1, after entries of a later format"]),
            (&[(34, "/v", "9")], &["34: it is of format 9, which this program does not know"]),
            (&[(34, "/v", "3")], format),
            (&[(34, "/host", r#""desk""#), (34, "/nonce", r#""1""#)], format),
            (&[(34, "/v", "3"), (34, "/host", r#""desk""#)], format),
            (&[(34, "/v", "3"), (34, "/host", r#""desk""#), (34, "/nonce", r#""1""#)], &[]),
            (&[(34, "/told", r#"[["zoe","access.started"]]"#)], &["34: it notifies zoe, who is not a member"]),
            (
                &[(34, "/told", r#"[["bob","access.started"]]"#), (34, "/told_from", "1")],
                &["34: its first notification is 1, where"],
            ),
            (
                &[(34, "/os_user", r#""ssh:SHA256:x""#)],
                &["34: it came with the SSH key SHA256:x, which is not one of dave's"],
            ),
            (
                &[(34, "/os_user", r#""ssh:SHA256:x""#), (34, "/actor", "null"), (34, "/event", ahead)],
                &["34: it came with the SSH key SHA256:x, and is by nobody"],
            ),
            (&[(34, "/event", r#"{"action":"entry.void"}"#)], &["34: no program records it"]),
        ]);
    }

    #[test]
    fn an_item_is_reviewed_by_another_person_than_its_holder_and_its_filer() {
        let applied = |changes: &str| {
            format!(r#"{{"action":"team.applied","detail":{{"changes":[{changes}]}}}}"#).leak() as &'static str
        };
        let login = |member: &str, role: &str, from: &str, to: &str| {
            let member_with =
                |login: &str| format!(r#"{{"email":"{member}@acme.example","login":"{login}","role":"{role}"}}"#);
            let (from, to) = (member_with(from), member_with(to));
            format!(r#"{{"change":"change","what":"member:{member}","from":{from},"to":{to}}}"#)
        };
        let decided = |by: &str| {
            let item = r#""item":"2.2","member":"dave","held":{"group":"data"}"#;
            format!(r#"{{"action":"recertification.decided","detail":{{{item},"by":"{by}","verdict":"revoke"}}}}"#)
                .leak() as &'static str
        };
        let dave_is_david = login("dave", "member", "dave", "david");
        let erin_is_dave = format!("{dave_is_david},{}", login("erin", "admin", "erin", "dave"));
        let olivia = r#""olivia""#;
        let told = r#"[["alice","team.changed"],["erin","team.changed"],["olivia","team.changed"]]"#;
        found_in(
            RECERTIFICATIONS,
            &[
                (&[], &[]),
                (
                    &[
                        (2, "/actor", r#""erin""#),
                        (2, "/event/detail/filed_by", r#""erin""#),
                        (2, "/event/detail/filer_login", r#""erin""#),
                    ],
                    &["12: erin reviews item 1.1, which is their own"],
                ),
                // The same name, with another Unix user by now.
                (
                    &[
                        (19, "/actor", olivia),
                        (19, "/event", applied(&dave_is_david)),
                        (19, "/told", told),
                        (19, "/told_from", "30"),
                        (20, "/told_from", "33"),
                        (20, "/actor", r#""dave""#),
                        (20, "/event", decided("dave")),
                    ],
                    &["20: dave reviews item 2.2, which is their own"],
                ),
                // Another name, with the Unix user that the holder had.
                (
                    &[
                        (19, "/actor", olivia),
                        (19, "/event", applied(&erin_is_dave)),
                        (19, "/told", told),
                        (19, "/told_from", "30"),
                        (20, "/told_from", "33"),
                        (20, "/actor", r#""erin""#),
                        (20, "/event", decided("erin")),
                    ],
                    &["20: erin reviews item 2.2, which is their own"],
                ),
            ],
        );
    }

    #[test]
    fn those_are_notified_whom_nobody_leaves_out() {
        found(&[
            (&[(2, "/told/0", r#"["bob","team.changed"]"#)], &["2: it does not notify alice of team.changed"]),
            (&[(2, "/told/2/1", r#""request.decided""#)], &["2: it does not notify olivia of team.changed"]),
            // alice is an admin; carol is only one of the reviewers.
            (
                &[(30, "/told/0", r#"["bob","access.emergency"]"#)],
                &["30: it does not notify alice of access.emergency"],
            ),
            (&[(30, "/told/1/1", r#""access.started""#)], &["30: it does not notify carol of access.emergency"]),
            (
                &[(30, "/told/1/1", r#""access.started""#), (30, "/event/detail/reviewers", r#"["alice"]"#)],
                &["31: carol reviews request 8, which is for others to review"],
            ),
        ]);
    }

    /// frank's grant ends at the moment at which the recertification is closed, an hour late.
    #[test]
    fn a_grant_that_ends_as_a_recertification_is_closed_is_not_one_that_nobody_kept() {
        let (at, end) = (r#""2026-11-24T14:00:00Z""#, r#"{"after":"5h"}"#);
        let expired = r#"{"action":"grant.expired","detail":{"request":2,"resource":"connection:prod-aws","ended_at":"2026-11-24T14:00:00Z"}}"#;
        let ends_then = [
            (5, "/event/detail/asked/end", end),
            (6, "/event/detail/terms/end", end),
            (7, "/event/detail/end", end),
            (7, "/event/detail/ends_at", at),
            (11, "/event/detail/items/2/held/grant/until", at),
            (16, "/at", at),
            (17, "/at", at),
            (18, "/at", at),
            (19, "/at", at),
            (20, "/at", at),
            (17, "/event", expired),
        ];
        let not_kept =
            |numbers: &'static str| [ends_then.as_slice(), &[(16, "/event/detail/not_kept", numbers)]].concat();
        found_in(
            RECERTIFICATIONS,
            &[
                (&not_kept("[]"), &[]),
                (
                    &not_kept("[3]"),
                    &[
                        "16: recertification 1 is closed with other items than nobody kept",
                        "17: grant 2 was not kept, and is not revoked",
                    ],
                ),
            ],
        );
    }
}
