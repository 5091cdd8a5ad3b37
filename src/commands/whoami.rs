//! `access whoami`: your role, scopes and live access.

use std::io::IsTerminal as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use super::outage::Outage;
use crate::domain::duration::{brief, spell};
use crate::domain::text::quantity;
use crate::error::{Failure, Kind};
use crate::protocol::ProfileView;
use crate::service::Whoami;
use crate::time_format::day_or_hour;
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::{Sheet, counted, request};

/// Show your role, scopes and active access, with the time left
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// Redraw each second until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// As of this time in the past
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past, conflicts_with = "watch")]
    pub at: Option<TypedTime>,
}

impl Run for WhoamiArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.watch {
            app.refuse_json("--watch")?;
            return app.watch();
        }
        let at = app.look_back(self.at)?;
        let view = app.backend()?.answer(Whoami { at })?;
        app.printer.object(&view, |sheet| profile(sheet, &view, brief))?;
        app.mention_past(at);
        Ok(0)
    }
}

impl App {
    fn watch(&mut self) -> Result<u8> {
        if !std::io::stdout().is_terminal() {
            return Err(Failure::new(Kind::Usage, "--watch needs a terminal on standard output").into());
        }
        self.printer.raw(b"\x1b[2J")?;
        let mut outage = Outage::default();
        loop {
            match self.backend()?.answer(Whoami { at: None }) {
                Ok(view) => {
                    outage = Outage::default();
                    self.printer.redraw(|sheet| profile(sheet, &view, spell))?;
                }
                Err(failure) => {
                    outage.begin();
                    if !outage.is_bearable(&failure) {
                        return Err(failure.into());
                    }
                }
            }
            if self.printer.is_closed() {
                return Ok(0);
            }
            sleep(Duration::from_secs(1));
        }
    }
}

fn profile(sheet: &mut Sheet, view: &ProfileView, left: fn(i64) -> String) {
    let raised = if view.effective_role == view.role {
        String::new()
    } else {
        format!(" ({} for now, by a grant)", view.effective_role)
    };
    sheet.line(&format!("{}, {}{raised}", view.member, view.role));
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    sheet.field("groups", &or_none(request::names(&view.groups)));
    sheet.field("scopes", &or_none(request::names(&view.scopes)));
    let live: Vec<String> = view
        .grants
        .iter()
        .filter_map(|held| {
            let grant = held.grant.as_ref()?;
            let left = match grant.remaining_seconds {
                Some(seconds) => format!("{} left", left(seconds)),
                None => "permanent".to_owned(),
            };
            let until = grant.ends_at.map(|end| format!(", until {}", day_or_hour(end, view.now))).unwrap_or_default();
            let provisioned = request::provisioned(held).map(|state| format!(", {state}")).unwrap_or_default();
            Some(format!("{}  {left}{until} (request {}){provisioned}", grant.resource, held.id))
        })
        .collect();
    // Not "access": a role or a scope gives access too, without a grant.
    sheet.field("grants", &or_none(live.join("\n")));
    if view.at.is_some() {
        return;
    }
    sheet.field("unread", &counted(view.unread + u64::from(view.more_unread)));
    if view.to_review > 0 {
        let items = quantity(view.to_review, "item", "items");
        sheet.field("to review", &format!("{items} of recertifications: `access recertify keep`"));
    }
}
