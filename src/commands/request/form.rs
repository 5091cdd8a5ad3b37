//! The interactive request form. It knows the rules' requirements before it asks, and keeps all answers until the request
//! is filed or the user leaves.

use anyhow::Result;

use super::super::app::App;
use super::{RequestArgs, summary};
use crate::domain::duration::{Duration, Length};
use crate::domain::policy::pattern::TicketPattern;
use crate::domain::resource::Resource;
use crate::domain::terms::{End, RequestId, Terms};
use crate::domain::text::{Text, Ticket, quantity};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::prompt::{Item, Picked, Prompt, cancelled};
use crate::protocol::{NeedView, NeedsView, RequestView, ResourceView};
use crate::service::{Needs, NeedsToExtend, Resources, SubmitRequest, Warned};
use crate::time_format::{date_and_time, with_local_times};
use crate::time_input::{Pick, TypedTime};

/// The answers so far.
struct Form<'f> {
    args: &'f RequestArgs,
    /// Whether it is shown, and can be changed, before it is filed: always, unless the line says what for how long.
    last_look: bool,
    start: Option<Timestamp>,
    needs: NeedsView,
    end: Option<End>,
    reason: Option<Text>,
    ticket: Option<Ticket>,
}

/// A part of a request that is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Reason,
    Ticket,
}

impl App {
    /// Asks for what the line leaves out, and files the request.
    pub(in crate::commands) fn submit_by_form(
        &mut self,
        prompt: Prompt,
        args: &RequestArgs,
    ) -> Result<Warned<RequestView>> {
        let mut form = self.begin_form(prompt, args)?;
        while let Some(field) = self.missing(&form) {
            self.ask_field(prompt, &mut form, field)?;
        }
        loop {
            let failure = match self.judged(form.ask(true)?) {
                Ok(_) if !form.last_look || args.dry_run => match self.submit(form.ask(args.dry_run)?) {
                    Ok(filed) => return Ok(filed),
                    Err(failure) => mendable(failure)?,
                },
                Ok(Warned { answer: view, warnings }) => {
                    let now = self.printer.now();
                    self.printer.preview(|sheet| summary::draft(sheet, &view, now));
                    self.warn_all(&warnings);
                    match self.last_look(prompt, &form, true)? {
                        None => match self.submit(form.ask(false)?) {
                            Ok(filed) => return Ok(filed),
                            Err(failure) => mendable(failure)?,
                        },
                        Some(field) => {
                            self.ask_again(prompt, &mut form, field)?;
                            continue;
                        }
                    }
                }
                Err(failure) => mendable(failure)?,
            };
            self.mend(prompt, &mut form, failure)?;
        }
    }

    fn begin_form<'f>(&mut self, prompt: Prompt, args: &'f RequestArgs) -> Result<Form<'f>> {
        let start = args.start.map(|start| self.resolve(start, Pick::Next)).transpose()?;
        let end = match (args.duration, args.until) {
            (Some(duration), _) => Some(duration.into()),
            (None, Some(until)) => Some(End::At(self.resolve(until, Pick::Next)?)),
            (None, None) => None,
        };
        let wanted = |resource| Needs {
            resource,
            requester: args.requester.clone(),
            start,
            end: None,
            emergency: args.emergency,
        };
        let whole = args.resource.is_none();
        let needs = match &args.resource {
            Some(resource) => {
                let resource = self.resource(resource.clone())?;
                self.needs(wanted(resource))?
            }
            None => self.pick(prompt, args, wanted)?,
        };
        self.printer.preview(|sheet| summary::needs(sheet, &needs));
        let last_look = whole || end.is_none();
        // With the resource on the line the default is an hour, as everywhere; a whole form asks.
        let hour = End::After(Length::HOUR);
        let can_be_an_hour = needs.lengths.iter().any(|need| need.end == hour);
        let end = end.or((!whole && can_be_an_hour).then_some(hour));
        Ok(Form { args, last_look, start, needs, end, reason: args.reason.clone(), ticket: args.ticket.clone() })
    }

    /// A resource that can be asked for, with what it takes.
    fn pick(&mut self, prompt: Prompt, args: &RequestArgs, wanted: impl Fn(Resource) -> Needs) -> Result<NeedsView> {
        let mut offered = self.offered(None)?;
        if args.requester.is_none() {
            // Access that you hold permanently can't be requested.
            offered.retain(|view| !view.held || view.until.is_some());
        }
        if offered.is_empty() {
            return Err(Failure::new(Kind::Conflict, "you already have all access that can be requested").into());
        }
        loop {
            let resource = prompt.resource("What do you need?", &offered)?.ok_or_else(cancelled)?;
            match self.needs(wanted(resource)) {
                Ok(needs) => return Ok(needs),
                // Another resource may be allowed.
                Err(failure) => self.printer.fail(&mendable(failure)?),
            }
        }
    }

    /// Everything that can be asked for. `covering`: only what gives access to this too.
    pub fn offered(&self, covering: Option<Resource>) -> Result<Vec<ResourceView>, Failure> {
        let mut offered = Vec::new();
        self.backend()?.call(Resources { kind: None, mine: false, at: None, covering }, &mut |view| {
            offered.push(view);
            Ok(())
        })?;
        Ok(offered)
    }

    /// Asks for the reason of an extension, and for the ticket where that of the request before does not do.
    pub fn ask_to_extend(
        &mut self,
        prompt: Prompt,
        id: RequestId,
        length: Option<Length>,
        given: Option<Ticket>,
    ) -> Result<(Text, Option<Ticket>), Failure> {
        let needs = self.backend()?.answer(NeedsToExtend { id, length })?;
        self.printer.preview(|sheet| summary::needs(sheet, &needs));
        let need = needs.usual();
        let reason = reason(prompt, None, need.and_then(|need| need.reason_min))?;
        let patterns = need.map(|need| need.tickets.as_slice()).unwrap_or_default();
        let fits = given.as_ref().is_some_and(|given| patterns.iter().all(|pattern| pattern.matches(given)));
        let ticket = if patterns.is_empty() || fits { given } else { ticket(prompt, given.as_ref(), patterns)? };
        Ok((reason, ticket))
    }

    fn needs(&self, wanted: Needs) -> Result<NeedsView, Failure> {
        self.backend()?.answer(wanted)
    }

    /// What a request takes that ends so, or why it can't be asked for.
    fn need(&self, form: &Form<'_>, end: End) -> Result<NeedView, Failure> {
        if let Some(need) = form.needs.lengths.iter().find(|need| need.end == end) {
            return Ok(need.clone());
        }
        let mut found = self.needs(Needs { end: Some(end), ..form.wanted() })?;
        found.lengths.pop().ok_or_else(|| Failure::new(Kind::Internal, "what the request needs was not shown"))
    }

    /// The outcome of filing the request, by all rules. Files nothing.
    fn judged(&self, submit: SubmitRequest) -> Result<Warned<RequestView>, Failure> {
        self.backend()?.answer(submit)
    }

    /// The next field that has to be asked for. A ticket is, where the rules demand one for this length.
    fn missing(&self, form: &Form<'_>) -> Option<Field> {
        let Some(end) = form.end else { return Some(Field::Length) };
        if form.reason.is_none() {
            return Some(Field::Reason);
        }
        let demanded = form.ticket.is_none() && self.need(form, end).is_ok_and(|need| !need.tickets.is_empty());
        demanded.then_some(Field::Ticket)
    }

    fn ask_field(&self, prompt: Prompt, form: &mut Form<'_>, field: Field) -> Result<(), Failure> {
        match field {
            Field::Length => form.end = Some(self.length(prompt, form)?),
            Field::Reason => {
                let least = self.need(form, form.end()).ok().and_then(|need| need.reason_min);
                form.reason = Some(reason(prompt, form.reason.as_ref(), least)?);
            }
            Field::Ticket => {
                let patterns = self.need(form, form.end()).map(|need| need.tickets).unwrap_or_default();
                form.ticket = ticket(prompt, form.ticket.as_ref(), &patterns)?;
            }
        }
        Ok(())
    }

    /// The same for a field that has an answer. Leaving the question keeps that answer.
    fn ask_again(&self, prompt: Prompt, form: &mut Form<'_>, field: Field) -> Result<(), Failure> {
        match self.ask_field(prompt, form, field) {
            Err(failure) if failure == cancelled() => Ok(()),
            asked => asked,
        }
    }

    fn length(&self, prompt: Prompt, form: &Form<'_>) -> Result<End, Failure> {
        let offered = offered_lengths(&form.needs);
        let usual = form.needs.usual();
        let mut items: Vec<Item> =
            offered.iter().map(|need| Item::with(label(need.end), remark(need, usual, form.needs.longest))).collect();
        items.push(Item::new("Custom …"));
        let before = form.end.or(usual.map(|need| need.end));
        // A custom length stays chosen.
        let at = offered.iter().position(|need| Some(need.end) == before).unwrap_or(offered.len());
        let initial = match prompt.choose_or_type("For how long?", &items, at)?.ok_or_else(cancelled)? {
            Picked::Item(index) => match (offered.get(index), form.end) {
                (Some(need), _) => return Ok(need.end),
                (None, Some(End::After(length))) => length.to_string(),
                (None, _) => String::new(),
            },
            Picked::Typed(text) => text,
        };
        let most = match form.needs.longest {
            Some(End::After(length)) if length < Length::LONGEST => format!(", at most {length}"),
            Some(End::After(_) | End::At(_) | End::Never) | None => String::new(),
        };
        const LIKE: &str = "such as 90m, 2d12h or 17:00";
        let check = |text: &str| {
            let end = self.read_end(text, LIKE)?;
            self.need(form, end).map(drop).map_err(|failure| with_local_times(&failure.message))
        };
        let hint = format!("{LIKE}{most}");
        let text = prompt.input("How long?", &hint, &initial, &check)?.ok_or_else(cancelled)?;
        self.read_end(&text, LIKE).map_err(|why| Failure::new(Kind::Usage, why))
    }

    /// A length, or the time at which it ends. `like`: examples of what can be typed.
    pub fn read_end(&self, text: &str, like: &str) -> Result<End, String> {
        let text = text.trim();
        let why = match text.parse::<Duration>() {
            Ok(duration) => return Ok(duration.into()),
            Err(why) if why == Length::unreadable() => format!("write a length or a time, {like}"),
            Err(why) => why.to_string(),
        };
        let when: TypedTime = text.parse().map_err(|_| why)?;
        when.resolve(self.clock, Pick::Next).map(|meant| End::At(meant.at)).map_err(|why| why.to_string())
    }

    /// Shows what is wrong, and asks again for the field concerned.
    fn mend(&mut self, prompt: Prompt, form: &mut Form<'_>, failure: Failure) -> Result<()> {
        // The rules may have changed since the form began.
        let wrong = match self.needs(form.wanted()) {
            Ok(needs) => {
                form.needs = needs;
                self.wrong(form)
            }
            Err(_) => Vec::new(),
        };
        if wrong.is_empty() && !form.last_look {
            return Err(failure.into());
        }
        self.printer.fail(&failure);
        for &field in &wrong {
            self.ask_field(prompt, form, field)?;
        }
        if wrong.is_empty()
            && let Some(field) = self.last_look(prompt, form, false)?
        {
            self.ask_again(prompt, form, field)?;
        }
        Ok(())
    }

    /// The fields whose answers the rules refuse.
    fn wrong(&self, form: &Form<'_>) -> Vec<Field> {
        let Ok(need) = self.need(form, form.end()) else { return vec![Field::Length] };
        let mut wrong = Vec::new();
        let long = form.reason.as_ref().map_or(0, |reason| reason.as_str().chars().count());
        if need.reason_min.is_some_and(|least| long < least as usize) {
            wrong.push(Field::Reason);
        }
        let fits = |ticket: &Ticket| need.tickets.iter().all(|pattern| pattern.matches(ticket));
        if !need.tickets.is_empty() && !form.ticket.as_ref().is_some_and(fits) {
            wrong.push(Field::Ticket);
        }
        wrong
    }

    /// Asks what to do with a form that is complete. None: file it. `can_file`: whether that is offered.
    fn last_look(&self, prompt: Prompt, form: &Form<'_>, can_file: bool) -> Result<Option<Field>, Failure> {
        let ticket = if form.ticket.is_some() { "Change the ticket" } else { "Add a ticket" };
        let mut choices = vec![
            (Item::new("File it"), Some(None)),
            (Item::new("Change how long"), Some(Some(Field::Length))),
            (Item::new("Change the reason"), Some(Some(Field::Reason))),
            (Item::new(ticket), Some(Some(Field::Ticket))),
            (Item::new("Leave without filing"), None),
        ];
        if !can_file {
            choices.remove(0);
        }
        let (items, answers): (Vec<Item>, Vec<_>) = choices.into_iter().unzip();
        let question = if can_file { "File this request?" } else { "What now?" };
        let index = prompt.choose_silently(question, &items, 0)?.ok_or_else(cancelled)?;
        answers.into_iter().nth(index).flatten().ok_or_else(cancelled)
    }
}

impl Form<'_> {
    fn wanted(&self) -> Needs {
        Needs {
            resource: self.needs.resource.clone(),
            requester: self.args.requester.clone(),
            start: self.start,
            end: None,
            emergency: self.args.emergency,
        }
    }

    /// The end asked for, or that of what most people ask for.
    fn end(&self) -> End {
        self.end.or_else(|| self.needs.usual().map(|need| need.end)).unwrap_or(End::After(Length::HOUR))
    }

    fn ask(&self, dry_run: bool) -> Result<SubmitRequest, Failure> {
        let reason = self.reason.clone().ok_or_else(|| Failure::new(Kind::Internal, "no reason was asked for"))?;
        let asked = Terms { resource: self.needs.resource.clone(), end: self.end(), start: self.start };
        Ok(SubmitRequest { dry_run, ..self.args.submit(asked, reason, self.ticket.clone()) })
    }
}

/// A failure that other answers may avoid. Any other ends the form.
fn mendable(failure: Failure) -> Result<Failure, Failure> {
    match failure.kind {
        Kind::Usage | Kind::Refused | Kind::Conflict => Ok(failure),
        Kind::Failure
        | Kind::NotFound
        | Kind::Invalid
        | Kind::Unavailable
        | Kind::Internal
        | Kind::Io
        | Kind::Busy
        | Kind::Interrupted => Err(failure),
    }
}

fn reason(prompt: Prompt, before: Option<&Text>, least: Option<u32>) -> Result<Text, Failure> {
    let least = least.unwrap_or(0);
    let hint = if least > 1 { format!("at least {least} characters") } else { String::new() };
    let check = |text: &str| {
        if text.trim().is_empty() {
            return Err("write why you need it".to_owned());
        }
        text.parse::<Text>().map_err(|why| why.to_string())?;
        match text.chars().count() {
            count if count < least as usize => {
                Err(format!("it has {}, but needs at least {least}", quantity(count, "character", "characters")))
            }
            _ => Ok(()),
        }
    };
    let text = prompt.input("Why?", &hint, before.map_or("", Text::as_str), &check)?.ok_or_else(cancelled)?;
    text.parse().map_err(|why| Failure::new(Kind::Usage, format!("the reason is not valid: {why}")))
}

/// None where none is demanded, and none is given.
fn ticket(prompt: Prompt, before: Option<&Ticket>, patterns: &[TicketPattern]) -> Result<Option<Ticket>, Failure> {
    let like: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    let hint = if like.is_empty() { "may stay empty".to_owned() } else { format!("like {}", like.join(" and ")) };
    let check = |text: &str| match (text.trim(), like.is_empty()) {
        ("", true) => Ok(()),
        (text, _) => {
            let ticket = text.parse::<Ticket>().map_err(|why| why.to_string())?;
            let other = patterns.iter().find(|pattern| !pattern.matches(&ticket));
            other.map_or(Ok(()), |pattern| Err(format!("it must match {pattern}")))
        }
    };
    let initial = before.map_or("", Ticket::as_str);
    let text = prompt.input("Which ticket?", &hint, initial, &check)?.ok_or_else(cancelled)?;
    Ok(text.trim().parse().ok())
}

/// A few lengths to choose from: those that people ask for most, or the longest that there are.
fn offered_lengths(needs: &NeedsView) -> Vec<&NeedView> {
    let length = |need: &&NeedView| match need.end {
        End::After(length) => Some(length),
        End::At(_) | End::Never => None,
    };
    let finite = needs.lengths.iter().filter(|need| length(need).is_some());
    // A length one minute above another only shows what longer access needs. It is not offered.
    let odd = |need: &NeedView| {
        let before = length(&need).and_then(|length| Length::from_seconds(length.seconds() - 60).ok());
        Some(need.end) != needs.longest
            && needs.lengths.iter().any(|other| length(&other) == before && before.is_some())
    };
    let finite: Vec<&NeedView> = finite.filter(|need| !odd(need)).collect();
    let longest = finite.last().and_then(length);
    let mut offered: Vec<&NeedView> = match longest {
        Some(longest) if longest >= Length::WEEK => {
            let hours = |need: &&NeedView| length(need).map_or(0, |length| length.seconds() / 3600);
            let most = |need: &&NeedView| length(need) == Some(longest) && longest < Length::LONGEST;
            finite.into_iter().filter(|need| [1, 4, 24, 7 * 24].contains(&hours(need)) || most(need)).collect()
        }
        _ => finite[finite.len().saturating_sub(4)..].to_vec(),
    };
    offered.extend(needs.lengths.iter().filter(|need| need.end == End::Never));
    offered
}

/// `2 hours`, `1h30m`, `Permanent`.
fn label(end: End) -> String {
    let length = match end {
        End::After(length) => length,
        End::At(time) => return format!("until {}", date_and_time(time)),
        End::Never => return "Permanent".to_owned(),
    };
    let text = length.to_string();
    let (count, unit) = text.split_at(text.len() - 1);
    let word = match unit {
        "w" => "week",
        "d" => "day",
        "h" => "hour",
        "m" => "minute",
        _ => "second",
    };
    match count.parse::<u32>() {
        Ok(1) => format!("1 {word}"),
        Ok(count) => format!("{count} {word}s"),
        Err(_) => text,
    }
}

/// What is special about a length.
fn remark(need: &NeedView, usual: Option<&NeedView>, longest: Option<End>) -> String {
    let mut remarks: Vec<String> = Vec::new();
    if Some(need.end) == longest && matches!(need.end, End::After(length) if length < Length::LONGEST) {
        remarks.push("the longest".to_owned());
    }
    if let Some(usual) = usual.filter(|usual| !usual.takes_the_same_as(need)) {
        match (need.at_once, need.approvals.need) {
            (true, _) => remarks.push("granted at once".to_owned()),
            (false, 1) => remarks.push("other approvers".to_owned()),
            (false, many) => remarks.push(quantity(many, "approval", "approvals")),
        }
        if need.tickets != usual.tickets {
            remarks.push("needs a ticket".to_owned());
        }
        if need.reason_min != usual.reason_min {
            remarks.extend(
                need.reason_min.map(|least| format!("a reason of {}", quantity(least, "character", "characters"))),
            );
        }
    }
    remarks.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_words() {
        for (length, words) in
            [("1h", "1 hour"), ("2h", "2 hours"), ("90m", "1h30m"), ("30m", "30 minutes"), ("1w", "1 week")]
        {
            assert_eq!(label(End::After(length.parse().unwrap())), words);
        }
        assert_eq!(label(End::Never), "Permanent");
    }
}
