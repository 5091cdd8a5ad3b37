//! `access completions`: the completion script of a shell.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use super::Run;
use super::app::App;
use crate::pages;

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo 'source <(access completions bash)' >> ~/.bashrc
  access completions zsh > ~/.zfunc/_access
  access completions fish > ~/.config/fish/completions/access.fish")]
pub struct CompletionsArgs {
    pub shell: Shell,
}

impl Run for CompletionsArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        app.printer.raw(&pages::completion_script(self.shell)?)?;
        Ok(0)
    }
}
