//! What is tried.

use proptest::prelude::*;

use crate::recertify::REVIEWERS;
use crate::team::{
    ALONE, ASSIGNEES, DAY, Edit, FIRES, FOUR_EYES, HOUR, INSIDE, LATE, LATER, LENGTHS, MEMBER, NEVER, OWNER, PEOPLE,
    RESOURCES, RULES, SCOPES, SHORT, TICKET, VIEWER,
};

#[derive(Debug, Clone, Copy)]
pub enum Who {
    Principal(&'static str),
    /// As far as the request in question goes.
    Requester,
    Filer,
    /// The first, or the last, on whom it waits; the owner where it waits on nobody.
    Approver,
    LastApprover,
    /// Who approved what is on the table; the owner where nobody did.
    Voter,
    Owner,
    /// An admin by a grant only; the owner while there is none.
    Promoted,
    Stranger,
}

/// An end as people say it: an instant is so long from now, which may be behind it.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    Never,
    After(i64),
    In(i64),
    /// Nobody says; only of what is asked.
    Unsaid,
}

#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub resource: &'static str,
    pub end: Ends,
    /// So long from now.
    pub start: Option<i64>,
    pub reason: &'static str,
    pub ticket: Option<&'static str>,
    pub emergency: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    Disable,
    Audit,
    Backend,
    Member,
    Login,
    Demote,
    Exchange,
}

impl How {
    pub fn edit(self, who: &'static str) -> Edit {
        match self {
            How::Disable => Edit::Disable(who),
            How::Audit => Edit::Audit(who),
            How::Backend => Edit::Backend(who),
            How::Member => Edit::Member(who),
            How::Login => Edit::Login(who),
            How::Demote => Edit::Role(who, VIEWER),
            How::Exchange => Edit::Exchange(who, "eva"),
        }
    }
}

/// What an edit gives; None stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub end: Option<Ends>,
    /// So long from now, or none any more.
    pub start: Option<Option<i64>>,
    pub reason: Option<&'static str>,
    pub ticket: Option<Option<&'static str>>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Ask {
        who: Who,
        on_behalf_of: Option<&'static str>,
        ask: Ask,
    },
    /// `back`: so many requests before the last.
    Extend {
        who: Who,
        back: usize,
        length: Option<i64>,
        ticket: Option<&'static str>,
    },
    Edit {
        who: Who,
        back: usize,
        change: Change,
    },
    Approve {
        who: Who,
        back: usize,
        resource: Option<&'static str>,
        end: Option<Ends>,
    },
    Deny {
        who: Who,
        back: usize,
    },
    Withdraw {
        who: Who,
        back: usize,
    },
    Revoke {
        who: Who,
        back: usize,
    },
    Review {
        who: Who,
        back: usize,
    },
    Expire,
    Apply {
        who: Who,
        edits: Vec<Edit>,
    },
    /// Changes this person, as far as the request in question goes.
    Change {
        whom: Who,
        back: usize,
        how: How,
    },
    Pass(i64),
    /// To this long from the next start, end, reminder or lapse.
    Next(i64),
    AcceptClock {
        who: Who,
    },
    /// Says how they are to be told, and never twice the same.
    Prefer {
        who: Who,
    },
    /// Starts a review of all, or of what has no end, that is due after so long. `named`: the reviewers, by their place.
    Recertify {
        who: Who,
        named: usize,
        permanent: bool,
        length: i64,
    },
    /// Ends the last one before it is due.
    CancelReview {
        who: Who,
    },
    /// Decides on an item of the last one.
    Certify {
        who: Who,
        item: usize,
        keeps: bool,
    },
}

impl Step {
    pub fn back(&self) -> Option<usize> {
        match self {
            Step::Extend { back, .. }
            | Step::Edit { back, .. }
            | Step::Approve { back, .. }
            | Step::Deny { back, .. }
            | Step::Withdraw { back, .. }
            | Step::Revoke { back, .. }
            | Step::Review { back, .. }
            | Step::Change { back, .. } => Some(*back),
            Step::Ask { .. } | Step::Expire | Step::Apply { .. } | Step::Pass(_) | Step::Next(_) => None,
            Step::AcceptClock { .. } | Step::Prefer { .. } | Step::Recertify { .. } => None,
            Step::Certify { .. } | Step::CancelReview { .. } => None,
        }
    }

    pub fn who(&self) -> Who {
        match self {
            Step::Ask { who, .. }
            | Step::Extend { who, .. }
            | Step::Edit { who, .. }
            | Step::Approve { who, .. }
            | Step::Deny { who, .. }
            | Step::Withdraw { who, .. }
            | Step::Revoke { who, .. }
            | Step::Review { who, .. }
            | Step::Apply { who, .. }
            | Step::AcceptClock { who }
            | Step::Prefer { who }
            | Step::Recertify { who, .. }
            | Step::CancelReview { who }
            | Step::Certify { who, .. } => *who,
            Step::Change { .. } | Step::Expire | Step::Pass(_) | Step::Next(_) => Who::Owner,
        }
    }
}

fn person() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PEOPLE[..])
}

fn resource() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        9 => prop::sample::select(&RESOURCES[..13]),
        2 => Just("role:admin"),
        1 => prop::sample::select(&RESOURCES[..]),
    ]
}

fn end() -> impl Strategy<Value = Ends> {
    prop_oneof![
        1 => Just(Ends::Never),
        5 => prop::sample::select(&[1, 1800, HOUR, HOUR + 1, 4 * HOUR, DAY, 30 * DAY][..]).prop_map(Ends::After),
        2 => prop::sample::select(&[-HOUR, 0, 1, HOUR, 2 * DAY][..]).prop_map(Ends::In),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let start = prop::sample::select(&[-1, 0, 1, HOUR, HOUR, DAY, DAY, 365 * DAY, 365 * DAY + 1][..]);
    let reason = prop_oneof![1 => Just("Because"), 3 => Just("Because it is down")];
    let ticket = prop_oneof![2 => Just(None), 3 => Just(Some("OPS-12")), 1 => Just(Some("OPS-12x"))];
    let start = prop::option::weighted(0.2, start);
    let end = prop_oneof![4 => end(), 1 => Just(Ends::Unsaid)];
    (resource(), end, start, reason, ticket, prop::bool::weighted(0.1)).prop_map(
        |(resource, end, start, reason, ticket, emergency)| Ask { resource, end, start, reason, ticket, emergency },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let start = prop::option::weighted(0.7, prop::sample::select(&[-1, 0, 1, HOUR, DAY, 365 * DAY + 1][..]));
    let reason = prop_oneof![1 => Just("Because"), 3 => Just("Because it is still down")];
    let ticket = prop_oneof![1 => Just(None), 3 => Just(Some("OPS-12")), 1 => Just(Some("OPS-12x"))];
    (
        prop::option::weighted(0.6, end()),
        prop::option::weighted(0.15, start),
        prop::option::weighted(0.3, reason),
        prop::option::weighted(0.3, ticket),
    )
        .prop_filter("something is changed", |(end, start, reason, ticket)| {
            end.is_some() || start.is_some() || reason.is_some() || ticket.is_some()
        })
        .prop_map(|(end, start, reason, ticket)| Change { end, start, reason, ticket })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (person(), VIEWER..OWNER).prop_map(|(who, role)| Edit::Role(who, role)),
        1 => prop::sample::select(&PEOPLE[1..3]).prop_map(|who| Edit::Role(who, MEMBER)),
        2 => person().prop_map(Edit::Disable),
        2 => person().prop_map(Edit::Audit),
        2 => person().prop_map(Edit::Member),
        3 => resource().prop_map(Edit::Item),
        1 => (person(), any::<bool>()).prop_map(|(who, stays)| Edit::Owner(who, stays)),
        1 => prop::sample::select(&["prod", "stage"][..]).prop_map(Edit::Environment),
        2 => person().prop_map(Edit::Backend),
        2 => (prop::sample::select(&["staging", "production", "stores"][..]), prop::sample::select(&ASSIGNEES[..]))
            .prop_map(|(scope, assignee)| Edit::Assign(scope, assignee)),
        2 => person().prop_map(Edit::Login),
        2 => (person(), person()).prop_map(|(one, other)| Edit::Exchange(one, other)),
        8 => (0..RULES.len()).prop_map(Edit::Rule),
    ]
}

/// A step of any sort, or several that make a story.
fn some() -> impl Strategy<Value = Vec<Step>> {
    let asker = || {
        prop_oneof![
            9 => prop::sample::select(&PEOPLE[3..]).prop_map(Who::Principal),
            3 => person().prop_map(Who::Principal),
            1 => Just(Who::Stranger),
        ]
    };
    // Those who have little, and so have something to ask for.
    let needy = || prop_oneof![5 => prop::sample::select(&PEOPLE[3..]).prop_map(Who::Principal), 1 => asker()];
    // What can be asked for.
    let plain = || {
        let end = prop_oneof![
            4 => prop::sample::select(&[HOUR, HOUR, 4 * HOUR, 5 * HOUR, DAY, 2 * DAY][..]).prop_map(Ends::After),
            1 => Just(Ends::In(2 * DAY)),
        ];
        let end = prop_oneof![4 => end, 1 => self::end()];
        (ask(), end, prop::sample::select(&RESOURCES[..13])).prop_map(|(ask, end, resource)| Ask {
            resource,
            end,
            start: ask.start.filter(|start| (1..=DAY).contains(start)),
            reason: "Because it is down",
            emergency: false,
            ..ask
        })
    };
    let who = || {
        prop_oneof![
            6 => person().prop_map(Who::Principal),
            2 => Just(Who::Requester),
            1 => Just(Who::Filer),
            1 => Just(Who::Approver),
            2 => Just(Who::Owner),
            1 => Just(Who::Stranger),
        ]
    };
    let decider = || {
        prop_oneof![
            4 => Just(Who::Approver),
            2 => Just(Who::LastApprover),
            3 => prop::sample::select(&PEOPLE[..3]).prop_map(Who::Principal),
            2 => Just(Who::Owner),
            3 => Just(Who::Promoted),
            2 => person().prop_map(Who::Principal),
            1 => Just(Who::Requester),
            1 => Just(Who::Filer),
            1 => Just(Who::Voter),
        ]
    };
    let back = || prop_oneof![10 => Just(0), 5 => 1usize..4, 1 => 4usize..9];
    let applier = prop_oneof![5 => Just(Who::Owner), 1 => who()];
    let length =
        || prop::option::weighted(0.6, prop::sample::select(&[1, HOUR, 4 * HOUR, 4 * HOUR + 1, DAY, 30 * DAY][..]));
    let hows = [How::Disable, How::Audit, How::Backend, How::Member, How::Login, How::Demote, How::Exchange];
    let how = || prop::sample::select(hows.to_vec());
    let step = prop_oneof![
        8 => (asker(), prop::option::weighted(0.1, person()), ask())
            .prop_map(|(who, on_behalf_of, ask)| Step::Ask { who, on_behalf_of, ask }),
        2 => (decider(), prop::sample::select(&PEOPLE[2..]), ask())
            .prop_map(|(who, requester, ask)| Step::Ask { who, on_behalf_of: Some(requester), ask }),
        9 => (decider(), back(), prop::option::weighted(0.2, resource()), prop::option::weighted(0.2, end()))
            .prop_map(|(who, back, resource, end)| Step::Approve { who, back, resource, end }),
        1 => resource().prop_map(|to| Step::Approve { who: Who::Promoted, back: 0, resource: Some(to), end: None }),
        3 => (prop_oneof![4 => Just(Who::Requester), 1 => who()], back(), length(), prop_oneof![Just(None), Just(Some("OPS-7"))])
            .prop_map(|(who, back, length, ticket)| Step::Extend { who, back, length, ticket }),
        3 => (prop_oneof![3 => Just(Who::Requester), 1 => Just(Who::Filer), 1 => who()], back(), change())
            .prop_map(|(who, back, change)| Step::Edit { who, back, change }),
        2 => (decider(), back()).prop_map(|(who, back)| Step::Deny { who, back }),
        2 => (who(), back()).prop_map(|(who, back)| Step::Withdraw { who, back }),
        3 => (prop_oneof![3 => who(), 1 => Just(Who::Filer)], back()).prop_map(|(who, back)| Step::Revoke { who, back }),
        1 => (prop_oneof![decider(), who()], back()).prop_map(|(who, back)| Step::Review { who, back }),
        2 => Just(Step::Expire),
        3 => (applier, prop::collection::vec(edit(), 1..3)).prop_map(|(who, edits)| Step::Apply { who, edits }),
        1 => (prop_oneof![Just(Who::Voter), who()], back(), how()).prop_map(|(whom, back, how)| Step::Change { whom, back, how }),
        3 => prop::sample::select(&[1, 59, 1799, HOUR, DAY, 7 * DAY - 1, 7 * DAY][..]).prop_map(Step::Pass),
        1 => prop::sample::select(&[-1, -60, -61, -HOUR, -8 * DAY][..]).prop_map(Step::Pass),
        4 => prop::sample::select(&[-HOUR - 1, -HOUR, -1, 0, 0, 1][..]).prop_map(Step::Next),
        3 => prop_oneof![5 => Just(Who::Owner), 1 => who()].prop_map(|who| Step::AcceptClock { who }),
        1 => who().prop_map(|who| Step::Prefer { who }),
    ];
    let approve = |who| Step::Approve { who, back: 0, resource: None, end: None };
    let adopt = |rule| Step::Apply { who: Who::Owner, edits: vec![Edit::Adopt(rule)] };
    let drop_it = |rule| Step::Apply { who: Who::Owner, edits: vec![Edit::Rule(rule)] };
    // Asked and given at once, or few would come to hold anything.
    let given = (needy(), plain()).prop_map(move |(who, ask)| {
        let ask = Step::Ask { who, on_behalf_of: None, ask };
        vec![ask, approve(Who::Approver), approve(Who::LastApprover), approve(Who::Approver)]
    });
    let filer =
        prop_oneof![1 => prop::sample::select(&PEOPLE[1..3]).prop_map(Who::Principal), 1 => Just(Who::Promoted)];
    let given_for_another = (filer, person(), plain()).prop_map(move |(who, requester, ask)| {
        let ask = Step::Ask { who, on_behalf_of: Some(requester), ask };
        vec![ask, approve(Who::Approver), approve(Who::Approver), approve(Who::Owner)]
    });
    // The filer is no admin any more, and still knows of the grant.
    let parted =
        (prop::sample::select(&PEOPLE[1..3]), person(), resource()).prop_map(move |(who, requester, resource)| {
            let end = Ends::After(DAY);
            let ask = Ask { resource, end, start: None, reason: "Because it is down", ticket: None, emergency: false };
            vec![
                Step::Ask { who: Who::Principal(who), on_behalf_of: Some(requester), ask },
                approve(Who::Approver),
                approve(Who::Approver),
                Step::Apply { who: Who::Owner, edits: vec![Edit::Role(who, MEMBER)] },
                Step::Revoke { who: Who::Filer, back: 0 },
            ]
        });
    // Somebody approves, and is another before the last approval.
    let whom = prop_oneof![3 => Just(Who::Voter), 1 => Just(Who::Requester)];
    let between = move |who, on_behalf_of, ask, whom, how| {
        vec![
            adopt(FOUR_EYES),
            Step::Ask { who, on_behalf_of, ask },
            approve(Who::Approver),
            Step::Change { whom, back: 0, how },
            approve(Who::Approver),
            approve(Who::Approver),
            drop_it(FOUR_EYES),
        ]
    };
    let changed =
        (needy(), plain(), whom, how()).prop_map(move |(who, ask, whom, how)| between(who, None, ask, whom, how));
    // Or the member who filed it for another leaves.
    let leaves = prop::sample::select(&[How::Member, How::Login, How::Exchange][..]);
    let orphaned = (prop::sample::select(&PEOPLE[1..3]), prop::sample::select(&PEOPLE[3..]), plain(), leaves).prop_map(
        move |(filer, requester, ask, how)| between(Who::Principal(filer), Some(requester), ask, Who::Filer, how),
    );
    // New terms come on the table between the approvals, and perhaps the old ones again.
    let modified = (
        (needy(), plain(), prop::option::weighted(0.7, resource()), prop::option::weighted(0.7, end())),
        any::<bool>(),
        prop::bool::weighted(0.3),
    )
        .prop_map(move |((who, ask, resource, end), back_again, gone)| {
            let ask_it = Step::Ask { who, on_behalf_of: None, ask };
            let mut steps = vec![adopt(FOUR_EYES), ask_it, approve(Who::Approver)];
            steps.push(Step::Approve { who: Who::LastApprover, back: 0, resource, end });
            if let Some(resource) = resource.filter(|_| gone) {
                steps.push(Step::Apply { who: Who::Owner, edits: vec![Edit::Item(resource)] });
            }
            if back_again {
                let (resource, end) = (Some(ask.resource), Some(ask.end));
                steps.push(Step::Approve { who: Who::Approver, back: 0, resource, end });
            }
            steps.extend([approve(Who::Approver), approve(Who::LastApprover), drop_it(FOUR_EYES)]);
            steps
        });
    // It is changed between the approvals, by the requester or the filer.
    let editor = prop_oneof![3 => Just(Who::Requester), 1 => Just(Who::Filer)];
    let edited = (
        (prop::sample::select(&PEOPLE[1..3]), prop::option::weighted(0.6, needy()), plain(), editor, change()),
        (prop::option::weighted(0.3, resource()), prop::option::weighted(0.4, end())),
    )
        .prop_map(move |((filer, requester, ask, editor, change), (resource, end))| {
            let ask_it = match requester {
                Some(who) => Step::Ask { who, on_behalf_of: None, ask },
                None => Step::Ask { who: Who::Principal(filer), on_behalf_of: Some(PEOPLE[4]), ask },
            };
            let other_terms = Step::Approve { who: Who::LastApprover, back: 0, resource, end };
            vec![
                adopt(FOUR_EYES),
                ask_it,
                other_terms,
                Step::Edit { who: editor, back: 0, change },
                approve(Who::Approver),
                approve(Who::LastApprover),
                drop_it(FOUR_EYES),
            ]
        });
    // One grant after the other, until something ends the first.
    let passes = prop::sample::select(&[0, 0, 1, HOUR, 4 * HOUR, DAY][..]);
    let other = prop::option::weighted(0.3, prop::sample::select(&RESOURCES[..13]));
    let chained = (needy(), plain(), length(), passes, other, 0usize..3, who()).prop_map(
        move |(who, ask, length, pass, other, back, revoker)| {
            let ask_it = Step::Ask { who, on_behalf_of: None, ask };
            let mut steps = vec![ask_it, approve(Who::Approver), approve(Who::Approver)];
            for resource in [other, None] {
                steps.push(Step::Extend { who: Who::Requester, back: 0, length, ticket: None });
                steps.push(Step::Pass(pass));
                steps.push(Step::Approve { who: Who::Approver, back: 0, resource, end: None });
                steps.push(approve(Who::Approver));
                // Nothing is extended twice.
                steps.push(Step::Extend { who: Who::Requester, back: 1, length, ticket: None });
            }
            // What the first is for is there no more, or the first is revoked.
            match other {
                Some(_) => steps.push(Step::Apply { who: Who::Owner, edits: vec![Edit::Item(ask.resource)] }),
                None => steps.push(Step::Revoke { who: revoker, back }),
            }
            steps
        },
    );
    let others = prop::sample::select(&[SHORT[0], SHORT[1], SHORT[1], NEVER[0], NEVER[1], TICKET, TICKET][..]);
    let burning = ["connection:prod", "target:db", "connection:stage", "scope:staging", "scope:stores", "role:admin"];
    let burnt = (needy(), plain(), prop::option::weighted(0.7, others), decider(), prop::option::weighted(0.3, how()))
        .prop_flat_map(move |all| (Just(all), prop::sample::select(burning.to_vec()), prop::bool::weighted(0.8)))
        .prop_map(|((who, ask, other, reviewer, how), resource, with_ticket)| {
            let edits = FIRES.into_iter().chain(other).map(Edit::Adopt).collect();
            let ticket = if with_ticket { Some("OPS-12") } else { ask.ticket };
            let ask = Ask { emergency: true, resource, ticket, ..ask };
            let mut steps = vec![Step::Apply { who: Who::Owner, edits }, Step::Ask { who, on_behalf_of: None, ask }];
            steps.extend(how.map(|how| Step::Change { whom: Who::Requester, back: 0, how }));
            steps.push(Step::Review { who: reviewer, back: 0 });
            steps
        });
    // Rules about what is inside what, some steps on it, and the rules are gone again.
    let under = |rules: Vec<usize>, steps: Vec<Step>| {
        let adopt = rules.iter().map(|rule| Edit::Adopt(*rule)).collect();
        let drop = rules.iter().map(|rule| Edit::Rule(*rule)).collect();
        let first = Step::Apply { who: Who::Owner, edits: adopt };
        [vec![first], steps, vec![Step::Apply { who: Who::Owner, edits: drop }]].concat()
    };
    let rules = [&INSIDE[..], &SCOPES, &ALONE, &LENGTHS].concat();
    let some_rules = prop::sample::subsequence(rules, 1..4);
    let wide =
        ["connection:prod", "connection:stage", "scope:staging", "scope:production", "scope:stores", "target:both"];
    let approver = || prop_oneof![2 => Just(Who::Approver), 1 => Just(Who::LastApprover), 1 => decider()];
    let split =
        (some_rules, needy(), plain(), prop::sample::select(wide.to_vec()), prop::collection::vec(approver(), 2..5))
            .prop_flat_map(|all| {
                (Just(all), prop::option::weighted(0.5, resource()), prop::option::weighted(0.3, end()))
            })
            .prop_map(move |((rules, who, ask, resource, approvers), to, end)| {
                let mut steps = vec![Step::Ask { who, on_behalf_of: None, ask: Ask { resource, ..ask } }];
                steps.extend(approvers.into_iter().map(approve));
                steps.insert(2, Step::Approve { who: Who::LastApprover, back: 0, resource: to, end });
                under(rules, steps)
            });
    // Grants of one person beside, before and after each other.
    let lengths = || prop::sample::select(&[HOUR, 2 * HOUR, 4 * HOUR, DAY][..]);
    let related = [
        "target:db",
        "target:both",
        "target:web",
        "connection:prod",
        "connection:stage",
        "scope:stores",
        "scope:staging",
    ];
    let one = (
        prop::sample::select(related.to_vec()),
        prop_oneof![6 => lengths().prop_map(Ends::After), 1 => Just(Ends::Never)],
        prop::option::weighted(
            0.7,
            prop::sample::select(&[1, HOUR, HOUR + 1, 2 * HOUR, 4 * HOUR, 5 * HOUR, 8 * HOUR][..]),
        ),
        prop::sample::select(&[0, 0, 1, HOUR, 4 * HOUR][..]),
        prop::bool::weighted(0.2),
    );
    let laid = (prop::sample::subsequence(LENGTHS.to_vec(), 0..4), needy(), prop::collection::vec(one, 2..5)).prop_map(
        move |(rules, who, each)| {
            let steps = each.into_iter().flat_map(|(resource, end, start, pass, revoked)| {
                let ask = Ask {
                    resource,
                    end,
                    start,
                    reason: "Because it is down",
                    ticket: Some("OPS-12"),
                    emergency: false,
                };
                let mut steps = vec![Step::Ask { who, on_behalf_of: None, ask }, approve(Who::Approver)];
                steps.extend([approve(Who::Approver), approve(Who::LastApprover), Step::Pass(pass)]);
                steps.extend(revoked.then_some(Step::Revoke { who: Who::Requester, back: 0 }));
                steps
            });
            under(rules, steps.collect())
        },
    );
    // An admin by a grant decides on what is permanent, on roles and on emergencies.
    let of_power = ["role:admin", "role:member", "feature:export", "feature:cost", "connection:stage", "scope:stores"];
    let promoted = (
        prop::sample::select(&PEOPLE[3..]),
        needy(),
        ask(),
        prop::sample::select(of_power.to_vec()),
        prop_oneof![1 => Just(Ends::Never), 1 => end()],
        prop::option::weighted(0.5, (prop::option::of(resource()), prop::option::of(end()))),
        prop::option::weighted(0.3, prop::sample::select(&FIRES[..])),
    )
        .prop_map(move |(promoted, who, ask, resource, end, new, fire)| {
            let role = Ask { resource: "role:admin", end: Ends::After(DAY), start: None, emergency: false, ..ask };
            let ask = Ask { resource, end, start: None, emergency: fire.is_some(), ..ask };
            let (to, end) = new.unwrap_or((None, None));
            let mut steps = vec![Step::Ask { who: Who::Principal(promoted), on_behalf_of: None, ask: role }];
            steps.extend([approve(Who::Approver), approve(Who::LastApprover), approve(Who::Approver)]);
            steps.extend(fire.map(adopt));
            steps.push(Step::Ask { who, on_behalf_of: None, ask });
            steps.push(Step::Approve { who: Who::Promoted, back: 0, resource: to, end });
            steps.extend([approve(Who::Promoted), Step::Review { who: Who::Promoted, back: 0 }]);
            steps
        });
    // Those who may review an emergency leave one by one.
    let hows = prop::collection::vec((0usize..3, how(), any::<bool>()), 1..4);
    let reviewed = (needy(), plain(), prop::sample::subsequence([&FIRES[..], &INSIDE].concat(), 1..4), hows, decider())
        .prop_flat_map(move |all| (Just(all), prop::sample::select(burning.to_vec())))
        .prop_map(move |((who, ask, rules, hows, reviewer), resource)| {
            let ask = Ask { emergency: true, resource, start: None, ticket: Some("OPS-12"), ..ask };
            let mut steps = vec![Step::Ask { who, on_behalf_of: None, ask }];
            for (place, how, owner) in hows {
                steps.push(Step::Apply { who: Who::Owner, edits: vec![how.edit(PEOPLE[place])] });
                if owner {
                    steps.push(Step::Apply { who: Who::Owner, edits: vec![Edit::Owner("dee", false)] });
                }
                steps.push(Step::Review { who: reviewer, back: 0 });
            }
            steps.push(Step::Review { who: Who::Owner, back: 0 });
            under(rules, steps)
        });
    // One deny ends it, no matter who approved before and after.
    let denied = (needy(), plain(), prop_oneof![3 => Just(Who::Approver), 1 => decider()]).prop_map(
        move |(who, ask, denier)| {
            let ask = Step::Ask { who, on_behalf_of: None, ask };
            let deny = Step::Deny { who: denier, back: 0 };
            vec![adopt(FOUR_EYES), ask, approve(Who::Approver), deny, approve(Who::Approver), drop_it(FOUR_EYES)]
        },
    );
    // Some of what is held is reviewed, and what nobody keeps ends.
    let certifier =
        || prop_oneof![2 => person().prop_map(Who::Principal), 1 => Just(Who::Owner), 1 => Just(Who::Promoted)];
    let certify = move || {
        (certifier(), 0usize..24, prop::bool::weighted(0.6)).prop_map(|(who, item, keeps)| Step::Certify {
            who,
            item,
            keeps,
        })
    };
    let recertify = move || {
        let starter = prop_oneof![4 => Just(Who::Owner), 2 => certifier()];
        let length = prop::sample::select(&[HOUR, 4 * HOUR, DAY][..]);
        (starter, 0..REVIEWERS.len(), prop::bool::weighted(0.4), length)
            .prop_map(|(who, named, permanent, length)| Step::Recertify { who, named, permanent, length })
    };
    let between = prop_oneof![
        6 => certify(),
        1 => certifier().prop_map(|who| Step::CancelReview { who }),
        2 => prop::sample::select(&[1, HOUR, DAY][..]).prop_map(Step::Pass),
        2 => edit().prop_map(|edit| Step::Apply { who: Who::Owner, edits: vec![edit] }),
        2 => Just(Step::Expire),
        2 => recertify(),
    ];
    let lasts = prop_oneof![2 => Just(Ends::Never), 1 => Just(Ends::After(2 * DAY))];
    let recertified = (
        (needy(), plain(), lasts),
        recertify(),
        prop::collection::vec(between, 2..7),
        prop::sample::select(&[-1, 0, 0, 1][..]),
    )
        .prop_map(move |((who, ask, end), start, between, from)| {
            let ask = Step::Ask { who, on_behalf_of: None, ask: Ask { end, start: None, ..ask } };
            let mut steps = vec![ask, approve(Who::Approver), approve(Who::LastApprover), start];
            steps.extend(between);
            steps.extend([Step::Next(from), Step::Expire, Step::Certify { who: Who::Owner, item: 0, keeps: true }]);
            steps
        });
    // The clock was wrong for a while.
    let set_back = prop::sample::select(&[HOUR, DAY, 8 * DAY][..])
        .prop_map(|by| vec![Step::Pass(by), Step::Expire, Step::Pass(-by), Step::AcceptClock { who: Who::Owner }]);
    // Nobody decides for long.
    let left = (
        needy(),
        plain(),
        prop::sample::select(&[LATE, LATER][..]),
        prop::collection::vec(prop::sample::select(&[-1, 0, 0, 1][..]), 1..4),
        decider(),
        prop::option::weighted(0.3, needy()),
    )
        .prop_map(move |(who, ask, rule, nexts, decider, promoted)| {
            let mut steps = vec![adopt(rule), Step::Ask { who, on_behalf_of: None, ask }];
            // An admin for a while, who is none any more when people are reminded.
            if let Some(promoted) = promoted {
                let ask = Ask { resource: "role:admin", end: Ends::After(HOUR), start: None, ..ask };
                let ask = Step::Ask { who: promoted, on_behalf_of: None, ask };
                steps.splice(0..0, [ask, approve(Who::Approver), approve(Who::Approver)]);
                steps.push(Step::Pass(DAY));
            }
            steps.extend(nexts.into_iter().flat_map(|from| [Step::Next(from), Step::Expire]));
            steps.extend([approve(decider), approve(Who::Approver)]);
            steps
        });
    // A target is taken out and comes back, or something becomes production, after the first approval.
    let grown = (
        (needy(), plain(), prop::sample::select(wide.to_vec())),
        prop::sample::select(&["target:web", "target:both", "target:db"][..]),
        any::<bool>(),
        prop::option::weighted(0.3, how()),
    )
        .prop_map(move |((who, ask, resource), target, turns, how)| {
            let change = |edit| Step::Apply { who: Who::Owner, edits: vec![edit] };
            let (before, after) = match turns {
                true => (None, Edit::Environment("stage")),
                false => (Some(change(Edit::Item(target))), Edit::Item(target)),
            };
            let mut steps = vec![adopt(FOUR_EYES)];
            steps.extend(before);
            steps.extend([Step::Ask { who, on_behalf_of: None, ask: Ask { resource, ..ask } }, approve(Who::Approver)]);
            // The approver is another person then.
            steps.extend(how.map(|how| Step::Change { whom: Who::Voter, back: 0, how }));
            steps.extend([change(after), approve(Who::Approver), approve(Who::LastApprover), drop_it(FOUR_EYES)]);
            steps.extend(turns.then(|| change(Edit::Environment("stage"))));
            steps
        });
    // What is to begin later, or waits for its last approval, when the team changes.
    let rejudged = (
        (needy(), plain(), prop::sample::select(&[HOUR, DAY][..]), any::<bool>()),
        prop::collection::vec(edit(), 1..4),
        prop::option::weighted(0.3, (resource(), end())),
    )
        .prop_map(move |((who, ask, start, waits), edits, new)| {
            let ask = Ask { start: Some(start), ..ask };
            let mut steps = if waits { vec![adopt(FOUR_EYES)] } else { Vec::new() };
            steps.extend([Step::Ask { who, on_behalf_of: None, ask }, approve(Who::Approver)]);
            let (resource, end) = new.unzip();
            steps.push(Step::Approve { who: Who::LastApprover, back: 0, resource, end });
            steps.extend([
                Step::Apply { who: Who::Owner, edits },
                approve(Who::Approver),
                approve(Who::LastApprover),
                Step::Extend { who: Who::Requester, back: 0, length: None, ticket: None },
                Step::Next(0),
                Step::Expire,
            ]);
            steps.extend(waits.then(|| drop_it(FOUR_EYES)));
            steps
        });
    prop_oneof![
        1 => left,
        3 => rejudged,
        2 => grown,
        1 => denied,
        1 => set_back,
        20 => step.prop_map(|step| vec![step]),
        2 => given,
        1 => given_for_another,
        1 => parted,
        2 => changed,
        1 => orphaned,
        2 => modified,
        2 => edited,
        2 => chained,
        3 => burnt,
        4 => split,
        3 => laid,
        3 => promoted,
        2 => reviewed,
        3 => recertified,
    ]
}

/// First a team picks some rules.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rules = prop::collection::vec((0..RULES.len()).prop_map(Edit::Rule), 0..6);
    (rules, prop::collection::vec(some(), 1..24)).prop_map(|(edits, steps)| {
        let first = vec![Step::Apply { who: Who::Owner, edits }];
        [vec![first], steps].concat().concat()
    })
}
