//! Candidates for the completion of the command line. Errors yield none: a completion must never disturb what is typed.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use crate::backend::Backend;
use crate::domain::grant::State;
use crate::domain::notification::NotificationKind;
use crate::domain::text::is_hostile;
use crate::error::Failure;
use crate::service::{Candidate, Complete, Words};

/// With the start and the end of the program, a completion takes at most half a second.
const TIMEOUT: Duration = Duration::from_millis(350);

/// The words of the line, and the index of the one to complete.
pub fn typed() -> (Vec<String>, usize) {
    let words: Vec<String> = std::env::args().skip_while(|word| word != "--").skip(1).collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let current = index.unwrap_or(words.len().saturating_sub(1));
    (words, current)
}

pub fn resources() -> Vec<CompletionCandidate> {
    words(Words::Resources)
}

/// Resources, and without its kind each name that only one kind has. A name alone is offered once its first letter is typed,
/// and until the colon is.
pub fn resources_or_names() -> Vec<CompletionCandidate> {
    let mut offered = resources();
    let (words, current) = typed();
    let typed = words.get(current).map_or("", |word| word.rsplit('=').next().unwrap_or_default());
    if typed.is_empty() || typed.contains(':') {
        return offered;
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let all: Vec<String> = offered.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect();
    for (_, name) in all.iter().filter_map(|resource| resource.split_once(':')) {
        *times.entry(name).or_default() += 1;
    }
    let names = times.into_iter().filter(|(_, times)| *times == 1).map(|(name, _)| CompletionCandidate::new(name));
    offered.extend(names);
    offered
}

pub fn scopes() -> Vec<CompletionCandidate> {
    words(Words::Scopes)
}

pub fn members() -> Vec<CompletionCandidate> {
    words(Words::Members)
}

pub fn requests() -> Vec<CompletionCandidate> {
    words(Words::Requests)
}

pub fn decidable() -> Vec<CompletionCandidate> {
    words(Words::Decidable)
}

pub fn withdrawable() -> Vec<CompletionCandidate> {
    words(Words::Withdrawable)
}

pub fn revocable() -> Vec<CompletionCandidate> {
    words(Words::Revocable)
}

pub fn reviewable() -> Vec<CompletionCandidate> {
    words(Words::Reviewable)
}

pub fn recertification_items() -> Vec<CompletionCandidate> {
    words(Words::Items)
}

pub fn recertifications() -> Vec<CompletionCandidate> {
    words(Words::Recertifications)
}

pub fn extendable() -> Vec<CompletionCandidate> {
    words(Words::Extendable)
}

pub fn durations() -> Vec<CompletionCandidate> {
    let offered =
        [("1h", "1 hour"), ("4h", "4 hours"), ("1d", "1 day"), ("1w", "1 week"), ("permanent", "until it is revoked")];
    offered.into_iter().map(|(value, help)| CompletionCandidate::new(value).help(Some(help.into()))).collect()
}

pub fn states() -> Vec<CompletionCandidate> {
    State::ALL.into_iter().map(|state| CompletionCandidate::new(state.as_str())).collect()
}

pub fn events() -> Vec<CompletionCandidate> {
    NotificationKind::ALL.into_iter().map(|notice| CompletionCandidate::new(notice.as_str())).collect()
}

pub fn events_or_all() -> Vec<CompletionCandidate> {
    events().into_iter().chain([CompletionCandidate::new("all")]).collect()
}

/// The server, the file and the user database may take seconds to answer, or never answer. So another thread asks; if it is
/// too late, it ends with the process.
fn words(words: Words) -> Vec<CompletionCandidate> {
    let (answer, answered) = mpsc::channel();
    let asking = thread::Builder::new().spawn(move || answer.send(ask(words).unwrap_or_default()));
    asking.ok().and_then(|_| answered.recv_timeout(TIMEOUT).ok()).unwrap_or_default()
}

fn ask(words: Words) -> Result<Vec<CompletionCandidate>, Failure> {
    let backend = Backend::choose(
        option("--db").map(Into::into),
        option("--as").and_then(|name| name.parse().ok()),
        Default::default(),
    )?;
    let mut candidates = Vec::new();
    let harmless = |text: &str| !text.contains(is_hostile);
    backend.call(Complete { words }, &mut |Candidate { word, help }| {
        if harmless(&word) {
            let help = help.filter(|help| harmless(help));
            candidates.push(CompletionCandidate::new(word).help(help.map(Into::into)));
        }
        Ok(())
    })?;
    Ok(candidates)
}

/// The value of a global option on the line.
fn option(flag: &str) -> Option<String> {
    let (mut words, current) = typed();
    // A value that is still being typed does not count.
    words.truncate(current);
    let spaced = words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
    let joined = || words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('=').map(str::to_owned));
    spaced.or_else(joined)
}
