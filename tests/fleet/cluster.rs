//! Acknowledgements of a real cluster: three nodes, one of them the leader, and one its synchronous standby.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use access::log::PatroniSettings;
use postgres::{Client, Config, NoTls};

use crate::nodes::Nodes;
use crate::shared_log::{Body, Calls as _, Place, SQL};

/// Longer than an honest answer takes.
const PATIENCE: Duration = Duration::from_secs(4);

fn config(nodes: &Nodes, node: &str, user: &str) -> Config {
    let mut config = nodes.config(node, user);
    config.dbname("acme");
    config
}

fn install(nodes: &Nodes) {
    let leader = nodes.leader().unwrap();
    nodes.config(&leader, "postgres").connect(NoTls).unwrap().batch_execute("CREATE DATABASE acme").unwrap();
    let mut admin = config(nodes, &leader, "postgres").connect(NoTls).unwrap();
    admin.batch_execute(SQL).unwrap();
    admin.batch_execute("SELECT access.create('acme', 3), access.open()").unwrap();
    for (host, may) in [("alpha", "decide"), ("beta", "decide"), ("leaf", "read")] {
        let password = nodes.password();
        admin
            .batch_execute(&format!(
                "CREATE ROLE {host} LOGIN PASSWORD '{password}'; GRANT access_host TO {host};
                 SELECT access.allow('{host}', '{may}')"
            ))
            .unwrap();
    }
}

/// A session whose notices are kept: an answer counts if there is none.
fn noting(mut config: Config) -> (Config, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&notices);
    config.notice_callback(move |notice| noted.lock().unwrap().push(notice.message().to_owned()));
    (config, notices)
}

/// Gives a verdict.
type Call = Box<dyn FnOnce() -> Result<String, postgres::Error> + Send>;

/// What a call answers, later if at all.
fn later<T: Send + 'static>(call: impl FnOnce() -> Result<T, postgres::Error> + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || call().map(|answer| sender.send(answer)));
    receiver
}

/// A host that appends to whatever leads, with one session after the other.
#[derive(Default)]
struct Writer {
    /// The session whose turn it is. The others end.
    session: AtomicU64,
    appended: AtomicU64,
    acknowledged: Mutex<Vec<(Place, String)>>,
}

impl Writer {
    fn begin(self: &Arc<Writer>, config: Config) {
        let session = self.session.fetch_add(1, Ordering::SeqCst) + 1;
        let writer = Arc::clone(self);
        std::thread::spawn(move || {
            // A new leader refuses for a moment.
            while writer.is_current(session) && writer.write(session, config.clone()).is_err() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    }

    fn write(&self, session: u64, config: Config) -> Result<(), postgres::Error> {
        let (config, notices) = noting(config);
        let mut client = config.connect(NoTls)?;
        let mut end = Place::empty();
        for number in 0.. {
            if !self.is_current(session) {
                return Ok(());
            }
            while let Some((last, ..)) = client.since(end.0, 10_000)?.pop() {
                end = last;
            }
            let detail = format!(r#"{{"request":1,"by":"alice","note":"{session}-{number}"}}"#);
            let body = Body::new("alpha", end.0 + 1).action("request.approved", &detail).text();
            let (verdict, place) = client.append(&end, std::slice::from_ref(&body))?;
            if verdict == "ok" && notices.lock().unwrap().is_empty() {
                self.acknowledged.lock().unwrap().push((place, body));
                self.appended.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn is_current(&self, session: u64) -> bool {
        self.session.load(Ordering::SeqCst) == session
    }

    fn end(&self) {
        self.session.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.appended.load(Ordering::SeqCst)
    }
}

/// Waits until the writer has appended this many more.
#[track_caller]
fn until_it_appends(nodes: &Nodes, writer: &Writer, more: u64) {
    let before = writer.count();
    nodes.until("the writer goes on", 30, |_| writer.count() >= before + more);
}

/// The log as its leader has it, believed because the contact after it succeeded. Each entry is in its place.
fn read(client: &mut Client) -> Vec<(Place, String)> {
    let (mut entries, mut place) = (Vec::new(), Place::empty());
    loop {
        let page = client.since(place.0, 10_000).unwrap();
        if page.is_empty() {
            assert_eq!(client.contact(&place).unwrap(), "ok");
            return entries;
        }
        for (at, body, _) in page {
            place = place.after(std::slice::from_ref(&body));
            assert_eq!(at, place);
            entries.push((at, body));
        }
    }
}

#[track_caller]
fn assert_kept(nodes: &Nodes, writer: &Writer) {
    let leader = nodes.leader().unwrap();
    let entries = read(&mut config(nodes, &leader, "leaf").connect(NoTls).unwrap());
    let bodies: BTreeSet<&String> = entries.iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), entries.len(), "nothing is recorded twice");
    let acknowledged = writer.acknowledged.lock().unwrap();
    let lost: Vec<&Place> = acknowledged
        .iter()
        .filter(|(place, body)| {
            let index = usize::try_from(place.0 - 1).unwrap();
            entries.get(index).is_none_or(|(at, there)| (at, there) != (place, body))
        })
        .map(|(place, _)| place)
        .collect();
    assert!(lost.is_empty(), "{} of {} acknowledged entries are lost: {lost:?}", lost.len(), acknowledged.len());
    println!("{} acknowledged, {} in the log", acknowledged.len(), entries.len());
}

/// The standby is frozen, and the wait for it is cancelled: success, with a warning.
fn a_cancelled_wait_shows(nodes: &Nodes) {
    let leader = nodes.leader().unwrap();
    let standby = nodes.with_role("sync_standby").unwrap();
    let mut admin = config(nodes, &leader, "postgres").connect(NoTls).unwrap();
    let (session, notices) = noting(config(nodes, &leader, "alpha"));
    let mut turn = session.connect(NoTls).unwrap();
    let mut append = session.connect(NoTls).unwrap();
    let bodies = [Body::new("alpha", 1).text()];
    let frozen = nodes.freeze_server(&standby);
    let calls: [Call; 2] = [
        Box::new(move || {
            turn.batch_execute("SET synchronous_commit = off; BEGIN")?;
            let verdict = turn.turn(&Place::empty())?;
            turn.batch_execute("COMMIT").map(|()| verdict)
        }),
        Box::new(move || {
            append.batch_execute("SET synchronous_commit = off")?;
            append.append(&Place::empty(), &bodies).map(|(verdict, _)| verdict)
        }),
    ];
    for call in calls {
        let answer = later(call);
        let waiting = "SELECT pid FROM pg_stat_activity WHERE usename = 'alpha' AND wait_event = 'SyncRep'";
        nodes.until("the commit waits", 10, |_| admin.query_opt(waiting, &[]).unwrap().is_some());
        assert!(answer.try_recv().is_err());
        admin.batch_execute(&format!("SELECT pg_cancel_backend(pid) FROM ({waiting}) AS session")).unwrap();
        assert_eq!(answer.recv_timeout(PATIENCE).unwrap(), "ok");
        let notices = std::mem::take(&mut *notices.lock().unwrap());
        assert!(
            notices.iter().any(|notice| notice.contains("canceling wait for synchronous replication")),
            "{notices:?}"
        );
    }
    frozen.thaw();
}

/// On a server that leads no longer and does not know it: reads are answered, and nothing else.
fn a_zombie_acknowledges_nothing(nodes: &Nodes, zombie: &str, writer: &Writer) {
    let connect = |user: &str| config(nodes, zombie, user).connect(NoTls).unwrap();
    let mut leaf = connect("leaf");
    let (first, body) = writer.acknowledged.lock().unwrap()[0].clone();
    let read = leaf.since(first.0 - 1, 1).unwrap();
    assert_eq!((&read[0].0, &read[0].1), (&first, &body), "it answers reads");
    assert!(
        !leaf.query_one("SELECT pg_is_in_recovery()", &[]).unwrap().get::<_, bool>(0),
        "it takes itself for the leader"
    );
    // The second writes no row.
    let contacts = [leaf, connect("leaf")].map(|mut leaf| {
        let place = first.clone();
        later(move || leaf.contact(&place))
    });
    let (mut alpha, mut beta) = (connect("alpha"), connect("beta"));
    // What an honest host asks after an answer that it did not get.
    let before = alpha.since(first.0 - 2, 1).unwrap().pop().unwrap().0;
    let already = later(move || alpha.append(&before, &[body]));
    let end = beta.since(first.0, 10_000).unwrap().pop().unwrap().0;
    let append = later(move || beta.append(&end, &[Body::new("beta", end.0 + 1).text()]));
    let lease = config(nodes, zombie, "alpha");
    let lease = later(move || lease.connect(NoTls)?.query_one("SELECT access.lease('lease/delivery', 60)", &[]));
    std::thread::sleep(PATIENCE);
    for contact in contacts {
        assert!(contact.try_recv().is_err(), "a contact with a zombie succeeds");
    }
    assert!(already.try_recv().is_err(), "a zombie says that an entry is there");
    assert!(append.try_recv().is_err(), "a zombie appends");
    assert!(lease.try_recv().is_err(), "a zombie gives a lease");
}

fn patroni_says_how_it_is_set(nodes: &Nodes) {
    let settings = PatroniSettings::ask(&nodes.rest(&nodes.leader().unwrap()), None).unwrap();
    assert!(settings.is_synchronous && settings.is_strict && !settings.is_old(), "{settings:?}");
    assert!(PatroniSettings::ask("http://127.0.0.1:9", None).is_err());
}

/// The leader's host freezes for longer than its lease and thaws, its server before its agent.
#[test]
fn what_is_acknowledged_stays() {
    let nodes = Nodes::start();
    install(&nodes);
    patroni_says_how_it_is_set(&nodes);
    a_cancelled_wait_shows(&nodes);
    nodes.until("three nodes are ready again", 60, Nodes::is_whole);

    let old = nodes.leader().unwrap();
    let writer = Arc::new(Writer::default());
    writer.begin(config(&nodes, &old, "alpha"));
    until_it_appends(&nodes, &writer, 50);
    let begun = Instant::now();
    let agent = nodes.freeze_agent(&old);
    let server = nodes.freeze_server(&old);
    nodes.until("another node leads", 60, |nodes| nodes.leader().is_some_and(|leader| leader != old));
    let new = nodes.leader().unwrap();
    writer.begin(config(&nodes, &new, "alpha"));
    until_it_appends(&nodes, &writer, 50);
    println!("writes go on {:?} after the leader froze", begun.elapsed());

    server.thaw();
    a_zombie_acknowledges_nothing(&nodes, &old, &writer);
    agent.thaw();
    nodes.until("the old leader follows", 90, Nodes::is_whole);
    until_it_appends(&nodes, &writer, 10);
    writer.end();
    assert_kept(&nodes, &writer);
}
