//! `access review`: closing the review of an emergency.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::service::ReviewEmergency;
use crate::ui::request;

/// Review emergency access
#[derive(Debug, Args)]
#[command(after_help = "`access show` names those who can review it. Its requester never can.

Example:
  access review 12 --note 'Went through it with bob; all in order'")]
pub struct ReviewArgs {
    /// Request number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::reviewable))]
    pub id: RequestId,
    /// What you found
    #[arg(short, long, value_name = "TEXT")]
    pub note: Option<Text>,
}

impl Run for ReviewArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let mut seen = None;
        if self.note.is_none() && app.prompt.is_some() {
            let view = app.look_at(self.id)?;
            seen = view.seen();
            app.preview_request(&view);
        }
        let note = app.text(self.note, "--note", "What did you find?")?;
        let view = app.backend()?.answer(ReviewEmergency { id: self.id, note, seen })?;
        let now = app.printer.now();
        app.printer.object(&view, |sheet| request::reviewed(sheet, &view, now))?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}
