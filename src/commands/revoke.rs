//! `access revoke`: ends access before its end time.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::each;
use crate::completion;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::text::{Text, joined};
use crate::error::Failure;
use crate::prompt::{Prompt, cancelled};
use crate::protocol::{RequestView, Seen};
use crate::service::{Revoke, RevokeMember};
use crate::ui::request;

/// End access now, before its end time
#[derive(Debug, Args)]
#[command(
    after_help = "Admins may end anyone's access; you may end your own. Extensions of a grant end with it; the output lists
them, and on a terminal they are listed before you confirm.
With --member, all grants of a member end together, or none does. Access that the team file gives stays.

Examples:
  access revoke 12
  access revoke 12 --reason 'The incident is over'
  access revoke --member bob --reason 'Laptop stolen'"
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
}

impl Run for RevokeArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match &self.member {
            Some(member) => app.revoke_all(member, self.reason.as_ref()),
            None => app.revoke(&self.ids, self.reason.as_ref()),
        }
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
        each(self, ids, look, live, ask, |id, why, seen| Revoke {
            id,
            reason: why.unwrap_or_else(|| reason.cloned()),
            seen,
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
    fn revoke_all(&mut self, member: &Name, reason: Option<&Text>) -> Result<u8> {
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
        let ((), count) = self.rows_to_the_end(call(seen, false), |list, view| {
            let now = list.now();
            list.item(&view, |sheet| request::outcomes(sheet, &view, now))
        })?;
        self.access_changed = count > 0;
        if count == 0 {
            self.printer.status(&format!("{member} has no granted access; nothing was revoked"));
        }
        self.printer
            .hint("access that the team file gives stays; to end it too, set `disabled = true` for this member there");
        Ok(0)
    }
}
