//! `access completions`: the completion script of a shell, and what the script completes.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::app::App;
use super::{Cli, Run};
use crate::completion;
use crate::error::{Failure, Kind};

/// The variable by which a completion script asks for candidates. Not clap's `COMPLETE`, which other programs use as well.
pub const COMPLETE: &str = "_ACCESS_COMPLETE";

/// Bash breaks words at colons and equal signs. The script joins what was typed as one word (`target:orders-db`,
/// `--duration=4h`), and returns only the part of each candidate that follows the break, because bash replaces only that.
const BASH: &str = r#"# bash completion for access

_access() {
    local line=${COMP_LINE:0:COMP_POINT} words=() before="" rest candidate i
    for ((i = 0; i < COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        if ((i > 0)) && [[ $rest == "$line" ]]; then
            words[${#words[@]} - 1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
        line=${rest#"${COMP_WORDS[i]}"}
    done
    if [[ $line == [[:space:]]* ]]; then
        words+=("$2")
    else
        # The cursor is behind a break, or at one, when $2 is empty.
        [[ -n $2 ]] || words[${#words[@]} - 1]+=$line
        before=${words[${#words[@]} - 1]}
        words[${#words[@]} - 1]+=$2
    fi
    COMPREPLY=()
    while IFS= read -r candidate || [[ -n $candidate ]]; do
        COMPREPLY+=("${candidate#"$before"}")
    done < <(_ACCESS_COMPLETE=bash _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) access -- "${words[@]}" 2>/dev/null)
    if [[ ${COMPREPLY[0]-} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

complete -o nosort -F _access access 2>/dev/null || complete -F _access access
"#;

/// If zsh autoloads the script from a folder of `fpath`, the script itself must answer the first Tab.
const ZSH_AUTOLOADED: &str = r#"
if [[ $funcstack[1] == _access ]]; then
    _clap_dynamic_completer_access "$@"
fi
"#;

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
        app.printer.raw(&script(self.shell)?)?;
        Ok(0)
    }
}

/// The script for a shell to source. It calls `access` for candidates at each Tab.
fn script(shell: Shell) -> Result<Vec<u8>> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => return Ok(BASH.into()),
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Elvish => &Elvish,
        Shell::PowerShell => &Powershell,
        _ => return Err(Failure::new(Kind::Usage, format!("there is no completion for {shell}")).into()),
    };
    let mut script = Vec::new();
    completer.write_registration(COMPLETE, "access", "access", "access", &mut script)?;
    if shell == Shell::Zsh {
        script.extend(ZSH_AUTOLOADED.bytes());
    }
    Ok(script)
}

/// The command line for completion. Options are hidden until a dash is typed, so that `access approve <Tab>` offers requests
/// only, and completes the only one.
pub fn completed_command() -> clap::Command {
    let (words, current) = completion::typed();
    let dash = words.get(current).is_some_and(|word| word.starts_with('-'));
    if dash { Cli::command() } else { without_options(Cli::command()) }
}

fn without_options(command: clap::Command) -> clap::Command {
    let command = command.disable_help_flag(true).disable_version_flag(true);
    command.mut_args(|arg| if arg.is_positional() { arg } else { arg.hide(true) }).mut_subcommands(without_options)
}
