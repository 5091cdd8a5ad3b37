//! Who is there and what time it is, as the operating system says. Never from the environment, except in builds
//! for tests (the feature `test-overrides`), which nobody installs.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::{Uid, User, getegid, geteuid, getgid, getuid};

use crate::domain::contact::Timezone;
use crate::domain::member::Login;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};

/// The Unix user of this process, by the system's user database.
pub fn login() -> Result<Login, Failure> {
    #[cfg(feature = "test-overrides")]
    if let Ok(login) = std::env::var("ACCESS_TEST_USER") {
        return login.parse().map_err(|why| Failure::new(Kind::Usage, format!("ACCESS_TEST_USER: {why}")));
    }
    name_of(getuid())
}

/// A name service that takes longer is taken for one that does not answer. Less than a client waits for the greeting.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(8);

/// Looks something up in the system's user database, which may be a service elsewhere: slow, or not there. On a thread,
/// because the look-up itself knows no time limit; one that hangs ends with the process.
fn look_up<T: Send + 'static>(find: impl FnOnce() -> nix::Result<T> + Send + 'static) -> Result<T, Failure> {
    let (answer, answered) = mpsc::channel();
    let looking = thread::Builder::new().stack_size(256 << 10).spawn(move || answer.send(find()));
    looking.map_err(|error| unavailable(&format!("can't be asked ({error})")))?;
    match answered.recv_timeout(LOOK_UP_WITHIN) {
        Ok(found) => found.map_err(|error| unavailable(&format!("can't be read ({})", error.desc()))),
        Err(_) => Err(unavailable("does not answer")),
    }
}

/// It can't be found out now: no answer, and not the answer no.
fn unavailable(why: &str) -> Failure {
    Failure::new(Kind::Unavailable, format!("the system's user database {why}; nothing was done"))
        .hint("try again; if it stays so, look at the name service (`getent passwd`)")
}

fn unknown(uid: Uid, why: &str) -> Failure {
    Failure::new(Kind::Failure, format!("the system does not know the user with the number {uid}: {why}"))
        .hint("look at `id`; without a user name nobody can be told from anybody")
}

fn name_of(uid: Uid) -> Result<Login, Failure> {
    let user = User::from_uid(uid);
    login_in(uid, user.map_err(|error| unavailable(&format!("can't be read ({})", error.desc())))?)
}

fn login_in(uid: Uid, user: Option<User>) -> Result<Login, Failure> {
    let name = user.ok_or_else(|| unknown(uid, "no such user"))?.name;
    name.parse().map_err(|why| unknown(uid, &format!("{name:?} is no user name: {why}")))
}

/// Whom the kernel says is there, by the system's user database at this moment. The name has to lead back to the same
/// number: of two users of one name, or of those whom the kernel could not map (the overflow number), nobody can tell
/// who it is. A failure of the kind `Unavailable` says that it can't be found out now, any other that it is nobody.
pub fn login_of(uid: Uid) -> Result<Login, Failure> {
    if uid.as_raw() == overflow_uid() {
        return Err(unknown(uid, "it stands for every user that can't be mapped"));
    }
    let (user, back) = look_up(move || {
        let user = User::from_uid(uid)?;
        let back = user.as_ref().map_or(Ok(None), |user| User::from_name(&user.name))?;
        Ok((user, back))
    })?;
    let login = login_in(uid, user)?;
    match back {
        Some(user) if user.uid == uid => Ok(login),
        Some(_) | None => Err(unknown(uid, &format!("{login} is another user's name too"))),
    }
}

/// Whether somebody can connect as this Unix user name: whether `login_of` gives this name for its number. A second name of
/// one number, another spelling of a name and the overflow number are nobody's. Root's is no person's: root decides nothing
/// on a shared host.
pub fn has_account(login: &Login) -> Result<bool, Failure> {
    let name = login.to_string();
    let found = look_up(move || {
        let user = User::from_name(&name)?;
        let back = user.as_ref().map_or(Ok(None), |user| User::from_uid(user.uid))?;
        Ok(user.zip(back))
    })?;
    Ok(found.is_some_and(|(user, back)| {
        let leads_back = [&user, &back].into_iter().all(|it| it.name == login.as_str() && it.uid == user.uid);
        leads_back && !user.uid.is_root() && user.uid.as_raw() != overflow_uid()
    }))
}

fn overflow_uid() -> u32 {
    const USUAL: u32 = 65534;
    let told = std::fs::read_to_string("/proc/sys/kernel/overflowuid");
    told.ok().and_then(|told| told.trim().parse().ok()).unwrap_or(USUAL)
}

/// A program that runs with rights other than its caller's (a set-id bit) can't be told who calls.
pub fn no_borrowed_rights() -> Result<(), Failure> {
    if getuid() == geteuid() && getgid() == getegid() {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, "access runs with rights that are not its caller's, and does nothing then")
        .hint("take the set-user-id and set-group-id bits off it: chmod ug-s"))
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

/// Whether this machine's database of time zones has this one.
pub fn knows_zone(zone: &Timezone) -> bool {
    tz::TimeZone::from_posix_tz(&format!(":{zone}")).is_ok()
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
