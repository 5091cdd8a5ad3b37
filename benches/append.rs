//! Appends to a shared log with turns, as hosts do, but without a copy: what the database's side can take.
//!
//! `append URL PASSWORD_FILE WRITERS SECONDS`: each writer has a connection of its own; all are the host that the URL names.
//! Prints how many appends a second that were, and how many seconds the median and the slowest hundredth took.

use std::error::Error;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use access::domain::audit::LogPlace;
use access::domain::time::Timestamp;
use access::log::{Appended, Contacted, Engine, EngineError, LogConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, password, writers, seconds] = words.as_slice() else {
        return Err("append URL PASSWORD_FILE WRITERS SECONDS".into());
    };
    let (writers, seconds) = (writers.parse::<usize>()?, Duration::from_secs(seconds.parse()?));
    let config = || LogConfig {
        url: url.clone(),
        password_file: Some(password.into()),
        certificate: None,
        key: None,
        ca_file: None,
        allow_plain: true,
        patroni: None,
    };
    let running: Vec<_> = (0..writers)
        .map(|number| {
            let config = config();
            spawn(move || write(&config, number, seconds).map_err(|error| error.to_string()))
        })
        .collect();
    let mut times = Vec::new();
    for writer in running {
        times.extend(writer.join().map_err(|_| "a writer failed")??);
    }
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64();
    let rate = times.len() as f64 / seconds.as_secs_f64();
    #[expect(clippy::print_stdout, reason = "the figures")]
    {
        println!("{rate:.0} {} {}", at(50), at(99));
    }
    Ok(())
}

fn write(config: &LogConfig, number: usize, seconds: Duration) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut engine = Engine::new(config.resolve().map_err(|failure| failure.message)?);
    let host = engine.identity().map_err(|error| format!("{error:?}"))?.0;
    let (mut at, mut times) = (LogPlace::START, Vec::new());
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        let begun = Instant::now();
        let (contacted, entries) = match engine.turn(&at) {
            Ok(answer) => answer,
            // Nobody gave the turn in time.
            Err(EngineError::Busy(_)) => {
                sleep(Duration::from_millis(10));
                continue;
            }
            Err(error) => return Err(format!("{error:?}").into()),
        };
        let Contacted::Open(state) = contacted else { return Err("the log is not open".into()) };
        at = entries.iter().fold(at, |place, entry| place.then(entry.body.as_bytes()));
        if at != state.head {
            engine.let_go();
            continue;
        }
        let body = format!(
            r#"{{"v":3,"seq":{},"at":"{}","actor":"alice","os_user":"alice","host":"{host}","nonce":"{number}-{}","event":{{"action":"attempt.refused","detail":{{"command":"approve","why":"no"}}}}}}"#,
            at.seq + 1,
            Timestamp::from_unix(state.now / 1000)?,
            times.len()
        );
        let after = at.then(body.as_bytes());
        match engine.append(state.epoch, &at, &[body]).map_err(|error| format!("{error:?}"))? {
            Appended::Done => at = after,
            other => return Err(format!("{other:?}").into()),
        }
        times.push(begun.elapsed());
    }
    Ok(times)
}
