//! `access recertify keep` and `revoke`: decides on items that are named, on all of a recertification, or one by one.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::super::app::App;
use crate::completion;
use crate::domain::Malformed;
use crate::domain::recertification::{ItemId, ItemVerdict, RecertificationId};
use crate::domain::text::{Text, quantity};
use crate::error::{Failure, Kind};
use crate::prompt::{Item, Prompt, cancelled};
use crate::protocol::ItemView;
use crate::service::{DecideItem, Recertifications, ShowRecertification};
use crate::ui::recertification;

#[derive(Debug, Args)]
#[command(
    after_help = "A decision is final. Revoking a grant ends it at once, and its extensions with it. What the team file gives \
stays until the owner changes the team file.
The number of a recertification stands for all of its items that wait for you. You confirm several items by typing how many \
they are, or with --count.

Examples:
  access recertify keep
  access recertify keep 1.4 --reason 'Still on call'
  access recertify revoke 1.5 1.6 --reason 'Left the project'
  access recertify keep 1 --count 12"
)]
pub struct RecertifyDecideArgs {
    /// Items such as 1.4, or a recertification such as 1 for all that wait for you in it
    #[arg(value_name = "ID", add = ArgValueCandidates::new(completion::recertification_items))]
    ids: Vec<NamedItems>,
    /// Reason, which everybody sees who sees the item
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<Text>,
    /// How many items these are; nothing is done if they are others
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

/// What an argument names.
#[derive(Debug, Clone)]
enum NamedItems {
    One(ItemId),
    /// All that wait for the caller.
    AllOf(RecertificationId),
}

impl FromStr for NamedItems {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<NamedItems, Malformed> {
        match text.contains('.') {
            true => Ok(NamedItems::One(text.parse()?)),
            false => Ok(NamedItems::AllOf(text.parse()?)),
        }
    }
}

/// Whether to continue with the next item.
#[derive(PartialEq, Eq)]
enum Next {
    Item,
    Stop,
}

fn verb(verdict: ItemVerdict) -> &'static str {
    match verdict {
        ItemVerdict::Keep => "Keep",
        ItemVerdict::Revoke => "Revoke",
    }
}

impl App {
    pub(super) fn decide_items(&mut self, verdict: ItemVerdict, args: &RecertifyDecideArgs) -> Result<u8> {
        if args.ids.is_empty() {
            return self.review_items(args);
        }
        let (ids, has_all) = self.named_items(&args.ids)?;
        if ids.is_empty() {
            self.printer.status("No items wait for you");
            return Ok(0);
        }
        let reason = self.confirm_items(verdict, args, &ids, has_all)?;
        let many = ids.len() > 1;
        let (mut code, mut done) = (0, Vec::new());
        for id in ids {
            let decided = self.backend()?.answer(DecideItem { id, verdict, reason: reason.clone() });
            let decided = decided.map(|view| done.push(view));
            self.note_failure(decided, many, &mut code)?;
        }
        let is_ended = |view: &ItemView| verdict == ItemVerdict::Revoke && view.held.request().is_some();
        self.access_changed |= done.iter().any(is_ended);
        if let ([view], false) = (done.as_slice(), many) {
            self.printer.object(view, |sheet| recertification::outcome(sheet, view))?;
            return Ok(code);
        }
        let mut list = self.printer.list();
        for view in &done {
            list.item(view, |sheet| recertification::outcome(sheet, view))?;
        }
        list.end()?;
        Ok(code)
    }

    /// The items that the arguments name, each once, and whether any stands for all of a recertification.
    fn named_items(&self, named: &[NamedItems]) -> Result<(Vec<ItemId>, bool), Failure> {
        let (mut ids, mut met, mut has_all) = (Vec::new(), BTreeSet::new(), false);
        for named in named {
            let these = match named {
                NamedItems::One(id) => vec![*id],
                NamedItems::AllOf(id) => {
                    has_all = true;
                    let view = self.backend()?.answer(ShowRecertification { id: *id })?;
                    view.items.into_iter().filter(|item| item.may_decide).map(|item| item.id).collect()
                }
            };
            ids.extend(these.into_iter().filter(|id| met.insert(*id)));
        }
        Ok((ids, has_all))
    }

    /// Asks before several are decided on at once: the number has to be typed or given. Returns the reason.
    fn confirm_items(
        &mut self,
        verdict: ItemVerdict,
        args: &RecertifyDecideArgs,
        ids: &[ItemId],
        has_all: bool,
    ) -> Result<Option<Text>, Failure> {
        let count = quantity(ids.len(), "item", "items");
        match args.count {
            Some(given) if given != ids.len() => {
                let message = format!("--count is {given}, and these are {count}; nothing was done");
                return Err(Failure::new(Kind::Conflict, message).hint("`access recertify show` lists them"));
            }
            Some(_) => return Ok(args.reason.clone()),
            None => {}
        }
        let Some(prompt) = self.prompt else {
            if !has_all {
                return Ok(args.reason.clone());
            }
            let message = format!("--count is missing: you would decide {count} at once");
            return Err(Failure::new(Kind::Usage, message)
                .hint("look at them with `access recertify show`, then add --count")
                .hint("or name single items"));
        };
        if self.printer.is_json() && ids.len() > 1 {
            return Err(Failure::new(Kind::Usage, "with --json, several items can't be confirmed").hint("add --count"));
        }
        let recertifications: BTreeSet<RecertificationId> = ids.iter().map(|id| id.recertification).collect();
        for id in recertifications {
            let view = self.backend()?.answer(ShowRecertification { id })?;
            for item in view.items.iter().filter(|item| ids.contains(&item.id)) {
                self.printer.preview(|sheet| sheet.item("  ", 4, &recertification::item_in_short(item)));
            }
        }
        let verb = verb(verdict);
        if let [id] = ids {
            if !prompt.confirm(&format!("{verb} item {id}?"))? {
                return Err(cancelled());
            }
        } else {
            let expected = ids.len().to_string();
            let check = |text: &str| match text.trim() == expected {
                true => Ok(()),
                false => Err(format!("type {expected} to go on, or press Esc")),
            };
            let question = format!("{verb} all {count}? Type how many they are");
            prompt.input(&question, "", "", &check)?.ok_or_else(cancelled)?;
        }
        match &args.reason {
            Some(reason) => Ok(Some(reason.clone())),
            None => prompt.optional_text("Why?", "may stay empty", ""),
        }
    }

    /// Each item that waits for the caller, one by one.
    fn review_items(&mut self, args: &RecertifyDecideArgs) -> Result<u8> {
        let prompt = self.prompt.filter(|_| !self.printer.is_json() && args.count.is_none());
        let Some(prompt) = prompt else {
            return Err(Failure::new(Kind::Usage, "ID is missing")
                .hint("`access recertify list` and `access recertify show` have the IDs")
                .hint("on a terminal, `access recertify keep` goes through all items that wait for you")
                .into());
        };
        let mut open = Vec::new();
        self.backend()?.call(Recertifications { all: false }, &mut |view| {
            open.extend((view.waiting_for_you > 0).then_some(view.id));
            Ok(())
        })?;
        let mut items = Vec::new();
        for id in open.into_iter().rev() {
            let view = self.backend()?.answer(ShowRecertification { id })?;
            items.extend(view.items.into_iter().filter(|item| item.may_decide));
        }
        if items.is_empty() {
            self.printer.status("No items wait for you");
            return Ok(0);
        }
        let (count, mut code) = (items.len(), 0);
        for (place, view) in items.iter().enumerate() {
            match self.review_next(prompt, view, (place + 1, count), args.reason.as_ref()) {
                Ok(Next::Item) => {}
                Ok(Next::Stop) => break,
                Err(failure) => self.note_failure(Err(failure), true, &mut code)?,
            }
        }
        Ok(code)
    }

    /// Shows one of the items that wait, asks, and does what is answered.
    fn review_next(
        &mut self,
        prompt: Prompt,
        view: &ItemView,
        (place, count): (usize, usize),
        reason: Option<&Text>,
    ) -> Result<Next, Failure> {
        if place > 1 {
            self.printer.status("");
        }
        let now = self.printer.now();
        self.printer.preview(|sheet| recertification::item(sheet, view, now));
        // Not every reviewer may see the request.
        if let Some(request) = view.held.request().and_then(|id| self.look_at(id).ok()) {
            self.preview_request(&request);
        }
        let choices = ["Keep", "Keep, with a reason …", "Revoke …", "Skip", "Stop"].map(Item::new);
        loop {
            let (verdict, asks) = match prompt.choose(&format!("Item {} ({place} of {count})", view.id), &choices, 3)? {
                Some(0) => (ItemVerdict::Keep, false),
                Some(1) => (ItemVerdict::Keep, true),
                Some(2) => (ItemVerdict::Revoke, true),
                Some(3) => return Ok(Next::Item),
                Some(_) | None => return Ok(Next::Stop),
            };
            let reason = match reason {
                None if asks => match prompt.optional_text("Why?", "may stay empty", "") {
                    Ok(reason) => reason,
                    Err(failure) if failure == cancelled() => continue,
                    Err(failure) => return Err(failure),
                },
                given => given.cloned(),
            };
            let decided = self.backend()?.answer(DecideItem { id: view.id, verdict, reason })?;
            self.printer.object(&decided, |sheet| recertification::outcome(sheet, &decided))?;
            self.access_changed |= verdict == ItemVerdict::Revoke && view.held.request().is_some();
            // Not once the last one is decided: that may take a while.
            self.start_reconciler();
            return Ok(Next::Item);
        }
    }
}
