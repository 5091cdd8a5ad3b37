//! The current user and the current time, from the operating system. The environment can override them only in test builds (the
//! feature `test-overrides`).

use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Uid, User, getegid, geteuid, getgid, getuid};

use crate::domain::member::Login;
use crate::domain::replica::{HostClocks, Replica};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};

/// The login of the user who runs this process.
pub fn login() -> Result<Login, Failure> {
    #[cfg(feature = "test-overrides")]
    if let Ok(login) = std::env::var("ACCESS_TEST_USER") {
        return login.parse().map_err(|why| Failure::new(Kind::Usage, format!("ACCESS_TEST_USER: {why}")));
    }
    name_of(getuid())
}

/// The timeout of a name service look-up. It is less than the time that a client waits for the greeting.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(8);

/// Looks something up in the system's user database, which can be a slow or unreachable network service. Runs on a thread, because
/// look-ups have no timeout. A look-up that hangs ends with the process.
fn look_up<T: Send + 'static>(find: impl FnOnce() -> nix::Result<T> + Send + 'static) -> Result<T, Failure> {
    let (answer, answered) = mpsc::channel();
    let started = thread::Builder::new().stack_size(256 << 10).spawn(move || answer.send(find()));
    started.map_err(|error| unavailable(&format!("can't be asked ({error})")))?;
    match answered.recv_timeout(LOOK_UP_WITHIN) {
        Ok(found) => found.map_err(|error| unavailable(&format!("can't be read ({})", error.desc()))),
        Err(_) => Err(unavailable("does not answer")),
    }
}

/// The look-up failed, so it is unknown whether the user exists.
fn unavailable(why: &str) -> Failure {
    Failure::new(Kind::Unavailable, format!("the system's user database {why}; nothing was done"))
        .hint("try again; if this continues, check the name service with `getent passwd`")
}

fn unknown(uid: Uid, why: &str) -> Failure {
    Failure::new(Kind::Failure, format!("the system has no user name for the user ID {uid}: {why}"))
        .hint("check with `id`; access identifies people by their user names")
}

fn name_of(uid: Uid) -> Result<Login, Failure> {
    let user = User::from_uid(uid);
    login_in(uid, user.map_err(|error| unavailable(&format!("can't be read ({})", error.desc())))?)
}

fn login_in(uid: Uid, user: Option<User>) -> Result<Login, Failure> {
    let name = user.ok_or_else(|| unknown(uid, "no such user"))?.name;
    name.parse().map_err(|why| unknown(uid, &format!("{name:?} is not a valid user name: {why}")))
}

/// The login of a user ID that the kernel reports. The name has to map back to the same ID: if two users share a name, or for the
/// overflow ID, which is reported for all users that the kernel can't map, it is unclear who it is. The failure has the kind
/// `Unavailable` if the look-up failed, and another kind if there is no such login.
pub fn login_of(uid: Uid) -> Result<Login, Failure> {
    if uid.as_raw() == overflow_uid() {
        return Err(unknown(uid, "it stands for all users that can't be mapped"));
    }
    let (user, back) = look_up(move || {
        let user = User::from_uid(uid)?;
        let back = user.as_ref().map_or(Ok(None), |user| User::from_name(&user.name))?;
        Ok((user, back))
    })?;
    let login = login_in(uid, user)?;
    match back {
        Some(user) if user.uid == uid => Ok(login),
        Some(_) | None => Err(unknown(uid, &format!("{login} is also the name of another user"))),
    }
}

/// Whether someone can connect with this login, that is, whether `login_of` returns it for its user ID. That excludes a second name
/// of an ID, another spelling of a name, and the overflow ID. It also excludes root, who cannot be a member on a shared host.
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
    let text = std::fs::read_to_string("/proc/sys/kernel/overflowuid");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL)
}

/// Refuses to run with a set-user-ID or set-group-ID bit, since the caller's identity would be ambiguous.
pub fn refuse_setid() -> Result<(), Failure> {
    if getuid() == geteuid() && getgid() == getegid() {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, "access does not run with rights other than its caller's")
        .hint("remove the set-user-ID and set-group-ID bits from the program: chmod ug-s"))
}

/// The current time. In a copy of a shared log, the time of the log's database counts.
pub fn clock_of(replica: Option<&Replica>) -> Result<Timestamp, Failure> {
    let Some(replica) = replica else { return clock() };
    replica.contact.now(&clocks()?).map_err(|why| Failure::new(Kind::Failure, format!("the shared log's time: {why}")))
}

/// The clocks of this host: since it started, and by the wall.
pub fn clocks() -> Result<HostClocks, Failure> {
    #[cfg(feature = "test-overrides")]
    if std::env::var_os("ACCESS_TEST_NOW").is_some() {
        let now = clock()?.unix() * 1000;
        return Ok(HostClocks { boot_id: "test".to_owned(), since_boot: now, wall: now });
    }
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let wrong = |error: String| Failure::new(Kind::Failure, format!("the system's clocks can't be read: {error}"));
    let boot_id = match BOOT_ID.get() {
        Some(known) => known,
        None => {
            let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let read = read.map_err(|error| wrong(error.to_string()))?;
            BOOT_ID.get_or_init(|| read.trim().to_owned())
        }
    };
    let milliseconds = |clock| {
        let time = clock_gettime(clock).map_err(|error| wrong(error.to_string()))?;
        Ok::<i64, Failure>(time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000)
    };
    let since_boot = milliseconds(ClockId::CLOCK_BOOTTIME)?;
    Ok(HostClocks { boot_id: boot_id.clone(), since_boot, wall: milliseconds(ClockId::CLOCK_REALTIME)? })
}

/// The current time, from the system's clock.
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

/// Whether the user of this process owns a file.
pub fn owns(path: &std::path::Path) -> bool {
    #[cfg(feature = "test-overrides")]
    if std::env::var("ACCESS_TEST_USER").is_ok() {
        return is_root();
    }
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.uid() == getuid().as_raw())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    #[cfg(feature = "test-overrides")]
    if let Ok(login) = std::env::var("ACCESS_TEST_USER") {
        return login == "root";
    }
    getuid().is_root()
}
