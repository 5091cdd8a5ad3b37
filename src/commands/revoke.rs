//! `access revoke`: ends access before its end time.

use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::each;
use crate::completion;
use crate::domain::duration::Length;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::text::{Text, joined};
use crate::error::{Failure, Kind};
use crate::identity;
use crate::prompt::{Prompt, cancelled};
use crate::protocol::{HostBehindView, RequestView, Seen};
use crate::service::{HostsBehind, Revoke, RevokeMember};
use crate::time_format::in_full;
use crate::ui::request;

/// How long `--wait` waits, and the pause between two looks.
const PATIENCE: Wait = Wait::from_secs(10);
const POLL: Wait = Wait::from_millis(200);

/// End access now, before its end time
#[derive(Debug, Args)]
#[command(
    after_help = "Admins may end anyone's access; you may end your own. Extensions of a grant end with it; the output lists \
them, and on a terminal they are listed before you confirm.

With --member, all grants of a member end together, or none does. Access that the team file gives stays.

Examples:
  access revoke 12
  access revoke 12 --reason 'The incident is over'
  access revoke --member bob --reason 'Laptop stolen'
  access revoke 12 --wait --timeout 1m"
)]
pub struct RevokeArgs {
    /// Numbers of the granted requests
    #[arg(required_unless_present = "member", value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::revocable))]
    pub ids: Vec<RequestId>,
    /// End all grants of this member
    #[arg(long, value_name = "MEMBER", conflicts_with = "ids", add = ArgValueCandidates::new(completion::members))]
    pub member: Option<Name>,
    /// Reason, which the member sees
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// Wait until every host of a shared log knows it. Exit 1: some do not yet
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this (default: 10s)
    #[arg(long, value_name = "LENGTH", requires = "wait")]
    pub timeout: Option<Length>,
}

impl Run for RevokeArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let (code, ids) = match &self.member {
            Some(member) => (0, app.revoke_all(member, self.reason.as_ref())?),
            None => (app.revoke(&self.ids, self.reason.as_ref())?, self.ids),
        };
        if ids.is_empty() {
            return Ok(code);
        }
        if self.wait {
            let waited = app.wait_for_hosts(ids, self.timeout)?;
            return Ok(if code == 0 { waited } else { code });
        }
        if app.as_of().is_some() {
            app.printer
                .hint("other hosts know it within seconds; `access revoke --wait` waits, and names those that do not");
        }
        Ok(code)
    }

    fn changes(&self) -> bool {
        true
    }
}

impl App {
    fn revoke(&mut self, ids: &[RequestId], reason: Option<&Text>) -> Result<u8> {
        let live = |view: &RequestView| matches!(view.state, State::Active | State::Scheduled);
        // Extensions that end with it are shown too.
        let look = |app: &App, view: &mut RequestView| {
            view.also_ended = app.following(view)?;
            let mut all: Vec<&RequestView> = std::iter::once(&*view).chain(&view.also_ended).collect();
            all.sort_by_key(|view| view.id);
            Ok(Some(Seen::of(all.into_iter().filter_map(|view| view.last_seq))))
        };
        let ask = |prompt: &Prompt, view: &RequestView| {
            let also = joined(view.also_ended.iter().map(|next| next.id));
            let with = if also.is_empty() { String::new() } else { format!(", and with it {also}") };
            if !prompt.confirm(&format!("Revoke request {}{with}?", view.id))? {
                return Ok(None);
            }
            let hint = "the member is notified; may stay empty";
            let why = reason.map_or_else(|| prompt.optional_text("Why?", hint, ""), |given| Ok(Some(given.clone())))?;
            Ok(Some(why))
        };
        each(self, ids, look, live, ask, |app, id, why, shown| {
            let seen = shown.and_then(|shown| shown.seen);
            app.backend()?.answer(Revoke { id, reason: why.unwrap_or_else(|| reason.cloned()), seen })
        })
    }

    /// The open requests that extend this one's grant, directly or through another extension.
    fn following(&self, view: &RequestView) -> Result<Vec<RequestView>, Failure> {
        let mut ids = view.extended_by.clone();
        let mut found = Vec::new();
        let mut next = 0;
        while let Some(&id) = ids.get(next) {
            let view = self.look_at(id)?;
            ids.extend(&view.extended_by);
            found.extend(view.state.is_open().then_some(view));
            next += 1;
        }
        Ok(found)
    }

    /// Ends all grants of a member. On a terminal it lists them and asks first.
    /// Returns the requests that ended.
    fn revoke_all(&mut self, member: &Name, reason: Option<&Text>) -> Result<Vec<RequestId>> {
        let call = |seen, dry_run| RevokeMember { member: member.clone(), reason: reason.cloned(), seen, dry_run };
        let mut seen = None;
        if let Some(prompt) = &self.prompt {
            let mut views: Vec<RequestView> = Vec::new();
            self.backend()?.call(call(None, true), &mut |view| {
                views.push(view);
                Ok(())
            })?;
            if !views.is_empty() {
                let now = self.printer.now();
                let lines: Vec<String> =
                    views.iter().map(|view| format!("  {}\n", request::in_short(view, now))).collect();
                self.printer.preview(|sheet| sheet.push(&lines.concat()));
                let what = if views.len() == 1 { "this".to_owned() } else { format!("all {}", views.len()) };
                if !prompt.confirm(&format!("Revoke {what} of {member}'s?"))? {
                    return Err(cancelled().into());
                }
            }
            seen = Some(Seen::of(views.iter().filter_map(|view| view.last_seq)));
        }
        let mut ended = Vec::new();
        let ((), count) = self.rows_to_the_end(call(seen, false), |list, view| {
            let now = list.now();
            ended.push(view.id);
            list.item(&view, |sheet| request::outcomes(sheet, &view, now))
        })?;
        self.access_changed = count > 0;
        if count == 0 {
            self.printer.status(&format!("{member} has no granted access; nothing was revoked"));
        }
        self.printer
            .hint("access that the team file gives stays; to end it too, set `disabled = true` for this member there");
        Ok(ended)
    }

    /// Waits until every host of a shared log knows what was revoked, and names those that do not. Exit 0: all know it.
    fn wait_for_hosts(&mut self, requests: Vec<RequestId>, timeout: Option<Length>) -> Result<u8> {
        let Some(as_of) = self.as_of() else { return Ok(0) };
        let patience = timeout.map_or(PATIENCE, |length| Wait::from_secs(length.seconds().unsigned_abs()));
        let begun = Instant::now();
        loop {
            let call = HostsBehind { seq: as_of.position.seq, requests: requests.clone() };
            let behind = self.backend()?.answer(call);
            let is_over = begun.elapsed() >= patience;
            match behind {
                Ok(behind) if behind.is_empty() => {
                    self.printer.status("Every host knows it, or denies already");
                    return Ok(0);
                }
                Ok(behind) if is_over => {
                    for HostBehindView { host, denies_by } in behind {
                        let by = in_full(denies_by, identity::clock()?);
                        self.printer.warn(&format!("{host} does not know it yet; it denies by {by} at the latest"));
                    }
                    return Ok(1);
                }
                Err(failure) if is_over || failure.kind != Kind::Unavailable => {
                    let why = failure.message;
                    self.printer.warn(&format!("it is revoked, but which hosts know it can't be asked: {why}"));
                    return Ok(1);
                }
                Ok(_) | Err(_) => sleep(POLL),
            }
        }
    }
}
