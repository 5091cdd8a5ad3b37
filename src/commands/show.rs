//! `access show`: one request in detail.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::terms::RequestId;
use crate::service::Show;
use crate::ui::request;

/// Show one request in detail
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Request number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::requests))]
    pub id: RequestId,
}

impl Run for ShowArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let view = app.backend()?.answer(Show { id: self.id })?;
        let now = app.printer.now();
        app.printer.object(&view, |sheet| request::whole(sheet, &view, now))?;
        Ok(0)
    }
}
