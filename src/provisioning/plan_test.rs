//! The decisions of the reconciler against a model that knows who put each thing there.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::answers::Answered;
    use super::super::plan::{ActKind, Aftermath, Desired, Entries, FoundHoldings, Now, Unseen, conclude, plan};
    use crate::connectors::protocol::{ConnectorAnswer, Operation};
    use crate::domain::binding::Holding;
    use crate::domain::time::Timestamp;
    use crate::protocol::{DesiredView, OutcomeView, ProvisioningOutcome, RecordedState, RecordedView};
    use crate::store::{JournalEntry, JournalState};

    fn holding(number: u8) -> Holding {
        Holding {
            connector: "doors".parse().unwrap(),
            login: format!("u{number}").parse().unwrap(),
            parameters: BTreeMap::new(),
        }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    fn wanted(number: u8, until: Option<i64>) -> DesiredView {
        DesiredView {
            holding: holding(number),
            member: "bob".parse().unwrap(),
            requests: vec![i64::from(number + 1).try_into().unwrap()],
            until: until.map(time),
            end_sessions: false,
        }
    }

    #[test]
    fn what_was_tried_before_comes_last_and_in_another_order_each_time() {
        let found: FoundHoldings = (0..40).map(holding).collect();
        let entry = |state| JournalEntry {
            state,
            since: time(0),
            requests: Vec::new(),
            until: None,
            end_sessions: false,
            key: "k".to_owned(),
        };
        let tried = |number: u8| number % 4 != 1;
        let state = |number| if tried(number) { JournalState::Revoking } else { JournalState::Granted };
        let journal: Entries = (0..40).map(|number| (holding(number), entry(state(number)))).collect();
        let order = |nonce: &str| -> Vec<Holding> {
            let now = Now { now: time(1), nonce, end_sessions: &|_| None };
            plan(&Desired::new(), &found, &journal, &now).acts.into_iter().map(|act| act.holding).collect()
        };
        let (one, other) = (order("one"), order("other"));
        let first: Vec<Holding> =
            one.iter().filter(|it| !(0..40).any(|n| tried(n) && holding(n) == **it)).cloned().collect();
        assert_eq!((&one[..10], &other[..10]), (&first[..], &first[..]));
        assert_ne!(one, other);
        assert_eq!(BTreeSet::from_iter(one), BTreeSet::from_iter(other));
    }

    /// Where a run is killed, or what goes wrong in it.
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        None,
        /// Killed once the intents are written.
        AfterIntents,
        /// Killed after so many acts, before the journal knows of them.
        AfterActs(usize),
        /// All acts are done, but the program does not say so.
        Silent,
        /// The program says that all is done, and does nothing.
        Lies,
        /// The program fails each act.
        Fails,
        /// All acts are done, but the list after them fails.
        NoList,
        /// The program was stopped, and the system does it all later.
        Late,
        /// The program says that it may work later, and the system does it all then.
        Later,
        /// The list lacks all that access gave. The acts work, or they all fail.
        Blind(bool),
        /// The first list lacks what somebody else put there. Whether the list after the acts shows it; None: that one fails.
        Hidden(Option<bool>),
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Want(u8, Option<i64>),
        Unwant(u8),
        /// Somebody else gives it, or takes it away.
        Give(u8),
        Take(u8),
        Run(Fault),
        /// What the system still had to do is done.
        Land,
    }

    #[derive(Default)]
    struct Model {
        desired: Desired,
        system: FoundHoldings,
        /// What somebody else put there.
        foreign: BTreeSet<Holding>,
        journal: Entries,
        /// What the system has begun. It does things in order.
        pending: Vec<(ActKind, Holding)>,
        runs: u32,
    }

    impl Model {
        fn step(&mut self, step: Step) {
            match step {
                Step::Want(number, until) => {
                    self.desired.insert(holding(number), wanted(number, until));
                }
                Step::Unwant(number) => {
                    self.desired.remove(&holding(number));
                }
                Step::Give(number) => {
                    let ours =
                        self.journal.get(&holding(number)).is_some_and(|entry| entry.state != JournalState::Before);
                    // While access is about to give it, nobody can tell who did.
                    if self.system.insert(holding(number)) && !ours {
                        self.foreign.insert(holding(number));
                    }
                }
                Step::Take(number) => {
                    self.system.remove(&holding(number));
                    self.foreign.remove(&holding(number));
                }
                Step::Run(fault) => self.run(fault),
                Step::Land => self.land(None),
            }
        }

        /// Does what is pending, about one holding or all.
        fn land(&mut self, only: Option<&Holding>) {
            let concerns = |holding: &Holding| only.is_none_or(|only| only == holding);
            let (landed, kept) = std::mem::take(&mut self.pending).into_iter().partition(|(_, it)| concerns(it));
            self.pending = kept;
            let landed: Vec<(ActKind, Holding)> = landed;
            landed.into_iter().for_each(|(kind, holding)| self.act(kind, &holding));
        }

        fn act(&mut self, kind: ActKind, holding: &Holding) {
            match kind {
                ActKind::Grant => self.system.insert(holding.clone()),
                ActKind::Revoke => {
                    assert!(!self.foreign.contains(holding), "{holding} is not ours");
                    self.system.remove(holding)
                }
            };
        }

        fn write(&mut self, holding: &Holding, entry: Option<JournalEntry>) {
            match entry {
                Some(entry) => self.journal.insert(holding.clone(), entry),
                None => self.journal.remove(holding),
            };
        }

        fn run(&mut self, fault: Fault) {
            self.runs += 1;
            // Nobody can see through a program that lies about a system that is late.
            let lies = matches!(fault, Fault::Lies) && !self.pending.is_empty();
            let fault = if lies { Fault::Fails } else { fault };
            let nonce = self.runs.to_string();
            let now = Now { now: time(i64::from(self.runs)), nonce: &nonce, end_sessions: &|_| None };
            let all_but_foreign = |model: &Model| model.system.difference(&model.foreign).cloned().collect();
            let first = match fault {
                Fault::Blind(_) => self.foreign.clone(),
                Fault::Hidden(_) => all_but_foreign(self),
                _ => self.system.clone(),
            };
            let planned = plan(&self.desired, &first, &self.journal, &now);
            for (holding, entry) in planned.settled {
                self.write(&holding, entry);
            }
            let before = self.journal.clone();
            for act in &planned.acts {
                self.write(&act.holding, Some(act.intent.clone()));
            }
            let done = match fault {
                Fault::AfterIntents | Fault::Lies | Fault::Fails | Fault::Late | Fault::Later | Fault::Blind(false) => {
                    0
                }
                Fault::AfterActs(count) => count,
                Fault::None | Fault::Silent | Fault::NoList | Fault::Blind(true) | Fault::Hidden(_) => {
                    planned.acts.len()
                }
            };
            let mut were_there = BTreeSet::new();
            for act in planned.acts.iter().take(done) {
                self.land(Some(&act.holding));
                if act.kind == ActKind::Grant && self.system.contains(&act.holding) {
                    were_there.insert(act.holding.clone());
                }
                self.act(act.kind, &act.holding);
            }
            if matches!(fault, Fault::Late | Fault::Later) {
                self.pending.extend(planned.acts.iter().map(|act| (act.kind, act.holding.clone())));
            }
            if matches!(fault, Fault::AfterIntents | Fault::AfterActs(_)) {
                return;
            }
            let answer = |holding: &Holding| -> Answered {
                match fault {
                    Fault::Silent | Fault::Late => Err("no answer".to_owned()),
                    Fault::Fails | Fault::Blind(false) => Ok(ConnectorAnswer::Failed("no".to_owned())),
                    Fault::Later => Ok(ConnectorAnswer::Later("not now".to_owned())),
                    _ => Ok(ConnectorAnswer::Done { note: None, was_there: were_there.contains(holding) }),
                }
            };
            let after: Option<FoundHoldings> = match fault {
                Fault::NoList | Fault::Hidden(None) => None,
                Fault::Blind(_) => Some(self.foreign.clone()),
                Fault::Hidden(Some(false)) => Some(all_but_foreign(self)),
                _ => Some(self.system.clone()),
            };
            for act in &planned.acts {
                let is_found = after.as_ref().map(|after| after.contains(&act.holding));
                let (entry, _) = conclude(act, is_found, &answer(&act.holding), before.get(&act.holding));
                self.write(&act.holding, entry);
            }
        }
    }

    fn fault() -> impl Strategy<Value = Fault> {
        prop_oneof![
            4 => Just(Fault::None),
            1 => Just(Fault::AfterIntents),
            2 => (0_usize..3).prop_map(Fault::AfterActs),
            1 => Just(Fault::Silent),
            1 => Just(Fault::Lies),
            1 => Just(Fault::Fails),
            1 => Just(Fault::NoList),
            2 => Just(Fault::Late),
            1 => Just(Fault::Later),
            2 => any::<bool>().prop_map(Fault::Blind),
            3 => any::<Option<bool>>().prop_map(Fault::Hidden),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u8..4, prop_oneof![Just(None), (1_i64..4).prop_map(Some)]).prop_map(|(it, until)| Step::Want(it, until)),
            3 => (0_u8..4).prop_map(Step::Unwant),
            1 => (0_u8..4).prop_map(Step::Give),
            1 => (0_u8..4).prop_map(Step::Take),
            4 => fault().prop_map(Step::Run),
            1 => Just(Step::Land),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_goes_wrong_the_next_run_ends_in_the_same_state(steps in prop::collection::vec(step(), 0..40)) {
            let mut model = Model::default();
            for step in steps {
                model.step(step);
            }
            model.run(Fault::None);
            model.land(None);
            let mut expected: FoundHoldings = model.desired.keys().cloned().collect();
            expected.extend(model.foreign.iter().cloned());
            prop_assert_eq!(&model.system, &expected);
            // The system knows the ends, and nothing is left to do.
            let now = Now { now: time(0), nonce: "n", end_sessions: &|_| None };
            let again = plan(&model.desired, &model.system, &model.journal, &now);
            prop_assert!(again.acts.is_empty() && again.settled.is_empty(), "{:?}", again);
            let unexplained: BTreeSet<Holding> = again.differences.into_iter().map(|it| it.holding).collect();
            let foreign: BTreeSet<Holding> =
                model.foreign.iter().filter(|holding| !model.desired.contains_key(*holding)).cloned().collect();
            prop_assert_eq!(unexplained, foreign);
        }
    }

    #[test]
    fn a_new_end_is_given_to_the_system() {
        let mut model = Model::default();
        model.step(Step::Want(0, Some(100)));
        model.run(Fault::None);
        model.step(Step::Want(0, Some(200)));
        let now = Now { now: time(5), nonce: "n", end_sessions: &|_| None };
        let planned = plan(&model.desired, &model.system, &model.journal, &now);
        let Operation::Grant(provision) = planned.acts[0].operation() else { panic!("it is given again") };
        assert_eq!(provision.until, Some(time(200)));
        // Whether that worked can't be seen in the list, so it takes an answer.
        for (answer, state) in [
            (Err("no answer".to_owned()), JournalState::Granting),
            (Ok(ConnectorAnswer::Failed("no".to_owned())), JournalState::Granting),
            (Ok(ConnectorAnswer::done()), JournalState::Granted),
        ] {
            let (entry, _) = conclude(&planned.acts[0], Some(true), &answer, model.journal.get(&holding(0)));
            assert_eq!(entry.unwrap().state, state, "{answer:?}");
        }
    }

    #[test]
    fn what_is_not_listed_is_forgotten_only_once_the_program_says_that_it_is_taken_back() {
        let mut model = Model::default();
        model.step(Step::Want(0, None));
        model.run(Fault::None);
        model.step(Step::Unwant(0));
        let now = Now { now: time(5), nonce: "n", end_sessions: &|_| None };
        let planned = plan(&model.desired, &FoundHoldings::new(), &model.journal, &now);
        assert_eq!(planned.acts[0].kind, ActKind::Revoke);
        for (answer, is_over) in [
            (Err("no answer".to_owned()), false),
            (Ok(ConnectorAnswer::Failed("no".to_owned())), false),
            (Ok(ConnectorAnswer::Later("not now".to_owned())), false),
            (Ok(ConnectorAnswer::done()), true),
        ] {
            let (entry, done) = conclude(&planned.acts[0], Some(false), &answer, model.journal.get(&holding(0)));
            assert_eq!((entry.is_none(), done.is_ok()), (is_over, is_over), "{answer:?}");
        }
    }

    /// What the list did not show was there before, unless an earlier try of ours can have given it.
    #[test]
    fn what_a_grant_found_is_ours_only_if_we_can_have_given_it() {
        use JournalState::{Before, Granted, Granting, Revoking};
        let mut model = Model::default();
        model.step(Step::Want(0, None));
        let now = Now { now: time(5), nonce: "n", end_sessions: &|_| None };
        let planned = plan(&model.desired, &FoundHoldings::new(), &model.journal, &now);
        let answer = Ok(ConnectorAnswer::Done { note: None, was_there: true });
        for (known, expected) in [
            (None, Before),
            (Some(Before), Before),
            (Some(Granting), Granted),
            (Some(Granted), Granted),
            (Some(Revoking), Granted),
        ] {
            let entry = known.map(|state| JournalEntry { state, ..planned.acts[0].intent.clone() });
            let (after, done) = conclude(&planned.acts[0], Some(true), &answer, entry.as_ref());
            assert_eq!((after.unwrap().state, done), (expected, Ok(())), "{known:?}");
        }
        for is_found in [None, Some(false)] {
            let (after, done) = conclude(&planned.acts[0], is_found, &answer, None);
            assert!(after.unwrap().state == Before && done.is_err(), "{is_found:?}");
        }
    }

    #[test]
    fn a_try_that_goes_on_keeps_its_key() {
        let mut model = Model::default();
        model.step(Step::Want(0, None));
        model.run(Fault::AfterIntents);
        let key = model.journal[&holding(0)].key.clone();
        model.run(Fault::AfterIntents);
        assert_eq!(model.journal[&holding(0)].key, key);
        model.step(Step::Want(0, Some(9)));
        model.run(Fault::AfterIntents);
        assert_ne!(model.journal[&holding(0)].key, key, "it is another act");
    }

    /// What is recorded of bob's holding: by request 1 by default.
    struct Known {
        desired: bool,
        found: Option<bool>,
        journal: Option<JournalState>,
        recorded: Option<RecordedState>,
        failure: Option<&'static str>,
    }

    fn outcomes(known: &Known) -> Vec<ProvisioningOutcome> {
        let desired: Desired = known.desired.then(|| (holding(0), wanted(0, None))).into_iter().collect();
        let found: Option<FoundHoldings> = known.found.map(|found| found.then(|| holding(0)).into_iter().collect());
        let entry = |state| JournalEntry {
            state,
            since: time(1),
            requests: vec![1.try_into().unwrap()],
            until: None,
            end_sessions: false,
            key: String::new(),
        };
        let journal: Entries = known.journal.map(|state| (holding(0), entry(state))).into_iter().collect();
        let row = |state| RecordedView {
            holding: holding(0),
            request: Some(1.try_into().unwrap()),
            state,
            error: None,
            at: time(1),
        };
        let recorded: Vec<RecordedView> = known.recorded.map(row).into_iter().collect();
        let failures = known.failure.map(|why| (holding(0), why.to_owned())).into_iter().collect();
        let failure = known.found.is_none().then_some("it is down");
        let aftermath = Aftermath {
            desired: &desired,
            found: found.as_ref(),
            unseen: &Unseen::new(),
            journal: &journal,
            recorded: &recorded,
            failures: &failures,
            failure,
        };
        aftermath.outcomes().into_iter().map(|OutcomeView { outcome, .. }| outcome).collect()
    }

    #[test]
    fn what_is_recorded_follows_from_how_it_is() {
        use JournalState::{Before, Granted, Revoking};
        let known = |desired, found, journal, recorded| Known { desired, found, journal, recorded, failure: None };
        let failing = |known: Known| Known { failure: Some("no"), ..known };
        let (granted, failed) = (Some(RecordedState::Granted), Some(RecordedState::RevokeFailed));
        let grant_failed = |why: &str| vec![ProvisioningOutcome::GrantFailed { why: why.to_owned() }];
        let revoke_failed = |why: &str| vec![ProvisioningOutcome::RevokeFailed { why: why.to_owned() }];
        let revoked = |still_held| vec![ProvisioningOutcome::Revoked { still_held, note: None }];
        for (known, expected) in [
            (known(true, Some(true), Some(Granted), None), vec![ProvisioningOutcome::Granted]),
            (known(true, Some(true), Some(Before), None), vec![ProvisioningOutcome::Granted]),
            (known(true, Some(true), Some(Granted), granted), vec![]),
            (failing(known(true, Some(false), None, None)), grant_failed("no")),
            (failing(known(true, Some(true), None, granted)), grant_failed("no")),
            (known(true, None, None, None), grant_failed("it is down")),
            // It was given, and nobody knows that it is gone.
            (known(true, None, Some(Granted), granted), vec![]),
            (known(false, Some(false), None, granted), revoked(false)),
            (known(false, Some(true), Some(Before), granted), revoked(true)),
            // The program has not said that it is taken back, so the list may be wrong.
            (known(false, Some(false), Some(Revoking), granted), vec![]),
            (failing(known(false, Some(false), Some(Revoking), granted)), revoke_failed("no")),
            // The journal is lost.
            (known(false, Some(true), None, granted), revoked(true)),
            (failing(known(false, Some(true), Some(Revoking), granted)), revoke_failed("no")),
            (known(false, None, Some(Granted), granted), revoke_failed("it is down")),
            (known(false, None, Some(Granted), failed), revoke_failed("it is down")),
            // A run was killed before it could record that it gave this.
            (known(false, None, Some(Granted), None), revoke_failed("it is down")),
            // It was never given, so nobody is notified that it is not taken back.
            (known(false, None, None, Some(RecordedState::GrantFailed)), revoked(false)),
            (known(false, Some(false), None, None), vec![]),
            (known(false, Some(true), None, None), vec![]),
        ] {
            let Known { desired, found, journal, recorded, failure } = &known;
            assert_eq!(outcomes(&known), expected, "{desired} {found:?} {journal:?} {recorded:?} {failure:?}");
        }
    }
}
