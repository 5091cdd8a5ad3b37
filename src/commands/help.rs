//! `access help`.

use anyhow::Result;
use clap::{Args, Command, CommandFactory as _};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::app::App;
use super::{Cli, Run};

/// Print the help of a command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access help
  access help request
  access help team apply")]
pub struct HelpArgs {
    /// The command
    #[arg(value_name = "COMMAND", add = ArgValueCandidates::new(commands))]
    pub words: Vec<String>,
}

impl Run for HelpArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        // `main` has answered it: help is an error of clap's.
        let _ = app;
        Ok(0)
    }
}

fn commands() -> Vec<CompletionCandidate> {
    let offer = |command: &Command| CompletionCandidate::new(command.get_name()).help(command.get_about().cloned());
    Cli::command().get_subcommands().map(offer).collect()
}
