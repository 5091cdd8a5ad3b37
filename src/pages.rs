//! What is generated from the command line's own definition: the completion scripts and the manual pages.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::Cli;
use crate::error::{Failure, Kind};

/// The variable by which a shell asks for candidates.
pub const COMPLETE: &str = "COMPLETE";

/// The script that a shell sources once: it calls `access` for the candidates, whenever Tab is pressed.
pub fn completion_script(shell: Shell) -> Result<Vec<u8>> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Elvish => &Elvish,
        Shell::PowerShell => &Powershell,
        _ => return Err(Failure::new(Kind::Usage, format!("there is no completion for {shell}")).into()),
    };
    let mut script = Vec::new();
    completer.write_registration(COMPLETE, "access", "access", "access", &mut script)?;
    Ok(script)
}

/// Writes a page for `access` and one for each subcommand. Gives how many.
pub fn write_man_pages(folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let pages = man_pages()?;
    for (name, page) in &pages {
        let path = folder.join(name);
        fs::write(&path, page).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(pages.len())
}

/// File names and contents.
pub fn man_pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(&command, None, &mut pages)?;
    Ok(pages)
}

fn collect(command: &clap::Command, above: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = match above {
        Some(above) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    let man = clap_mangen::Man::new(command.clone().name(name.clone())).source("access").manual("access");
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    for below in command.get_subcommands() {
        collect(below, Some(&name), pages)?;
    }
    Ok(())
}
