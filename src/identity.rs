//! Who is there and what time it is, as the operating system says. Never from the environment, except in builds
//! for tests (the feature `test-overrides`), which nobody installs.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{User, getuid};

use crate::domain::team::Login;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};

/// The Unix user of this process, by the system's user database.
pub fn login() -> Result<Login, Failure> {
    #[cfg(feature = "test-overrides")]
    if let Ok(login) = std::env::var("ACCESS_TEST_USER") {
        return login.parse().map_err(|why| Failure::new(Kind::Usage, format!("ACCESS_TEST_USER: {why}")));
    }
    let uid = getuid();
    let unknown = |why: String| {
        Failure::new(Kind::Failure, format!("the system does not know the user with the number {uid}: {why}"))
            .hint("look at `id`; without a user name nobody can be told from anybody")
    };
    let user = User::from_uid(uid).map_err(|error| unknown(error.desc().to_owned()))?;
    let name = user.ok_or_else(|| unknown("no such user".to_owned()))?.name;
    name.parse().map_err(|why| unknown(format!("{name:?} is no user name: {why}")))
}

/// Now, by the system's clock.
pub fn clock() -> Result<Timestamp, Failure> {
    #[cfg(feature = "test-overrides")]
    if let Ok(time) = std::env::var("ACCESS_TEST_NOW") {
        return time.parse().map_err(|why| Failure::new(Kind::Usage, format!("ACCESS_TEST_NOW: {why}")));
    }
    let wrong = || Failure::new(Kind::Failure, "the system's clock is not set").hint("set it, then try again");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| wrong())?;
    Timestamp::from_unix(seconds).map_err(|_| wrong())
}

/// Whether this process's user owns a file.
pub fn owns(path: &std::path::Path) -> bool {
    #[cfg(feature = "test-overrides")]
    if std::env::var("ACCESS_TEST_USER").is_ok() {
        return is_root();
    }
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.uid() == getuid().as_raw())
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    #[cfg(feature = "test-overrides")]
    if let Ok(login) = std::env::var("ACCESS_TEST_USER") {
        return login == "root";
    }
    getuid().is_root()
}
