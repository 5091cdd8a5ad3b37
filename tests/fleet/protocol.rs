//! What honest hosts rely on: turns, pages, epochs, imports, and a log that is closed.

use crate::postgres_cluster::Cluster;
use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused, verdict};

#[test]
fn hosts_take_turns() {
    for cluster in Cluster::of_both_kinds() {
        let log = SharedLog::on(cluster);
        let writers: Vec<_> = ["alpha", "beta", "alpha", "beta"]
            .map(|host| {
                let mut client = log.connect(host);
                std::thread::spawn(move || {
                    let mut end = Place::empty();
                    for _ in 0..25 {
                        let mut transaction = client.transaction().unwrap();
                        let row =
                            transaction.query_one("SELECT * FROM access.turn($1, $2)", &[&end.0, &end.1]).unwrap();
                        assert_eq!(row.get::<_, String>("verdict"), "ok");
                        assert_eq!(row.get::<_, i64>("epoch"), 1);
                        // Catches up in the turn; then nobody else has come between.
                        if let Some((last, ..)) = transaction.since(end.0, 10_000).unwrap().pop() {
                            end = last;
                        }
                        assert_eq!(Place(row.get("seq"), row.get("hash")), end);
                        let bodies = [Body::new(host, end.0 + 1).text()];
                        assert_eq!(verdict(transaction.append(&end, &bodies)), "ok");
                        transaction.commit().unwrap();
                        end = end.after(&bodies);
                    }
                })
            })
            .into();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut place = Place::empty();
        for (at, body, host) in log.connect("leaf").since(0, 10_000).unwrap() {
            place = place.after(std::slice::from_ref(&body));
            assert_eq!(at, place);
            assert!(body.contains(&format!(r#""host":"{host}""#)));
        }
        assert_eq!(place.0, 100);
    }
}

#[test]
fn an_epoch_ends_what_was_under_way() {
    let log = SharedLog::start();
    let (mut alpha, mut owner) = (log.connect("alpha"), log.connect("keeper"));
    let empty = Place::empty();
    let first = [Body::new("alpha", 1).text()];
    assert_eq!(verdict(alpha.append(&empty, &first)), "ok");
    let one = empty.after(&first);
    let raise = |owner: &mut postgres::Client, known: i64| {
        owner.query_one("SELECT access.raise_epoch($1)", &[&known]).unwrap().get::<_, i64>(0)
    };
    assert_eq!(raise(&mut owner, 0), 2);
    let next = [Body::new("alpha", 2).text()];
    assert_eq!(verdict(alpha.append(&one, &next)), "epoch");
    // What is there is there.
    assert_eq!(verdict(alpha.append(&empty, &first)), "already");
    assert_eq!(verdict(alpha.append_in(2, &one, &next)), "ok");
    // Two restores of one backup do not get the same number.
    assert_eq!(raise(&mut owner, 7), 8);
    let row = alpha.query_one("SELECT * FROM access.contact($1, $2, 3)", &[&one.0, &one.1]).unwrap();
    assert_eq!((row.get::<_, &str>("verdict"), row.get::<_, i64>("epoch"), row.get::<_, i64>("seq")), ("ok", 8, 2));
    // A host that is ahead of a restored log.
    assert_eq!(alpha.contact(&Place(9, vec![1; 32])).unwrap(), "fork");
    assert_eq!(alpha.turn(&Place(9, vec![1; 32])).unwrap(), "fork");
    assert_refused(alpha.batch_execute("SELECT access.raise_epoch()"), "42501", "permission denied");
}

#[test]
fn a_log_is_imported_then_opened_then_closed() {
    let log = SharedLog::start();
    let mut owner = log.connect("keeper");
    owner.batch_execute("DROP SCHEMA access CASCADE").unwrap();
    log.install();
    owner.batch_execute("SELECT access.create('acme', 3), access.allow('alpha', 'decide')").unwrap();
    let mut alpha = log.connect("alpha");
    let empty = Place::empty();

    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/");
    let written = std::fs::read_to_string(format!("{fixtures}log-v2-team.jsonl")).unwrap();
    let bodies: Vec<String> = written.lines().map(str::to_owned).collect();
    let end = empty.after(&bodies);
    let import = |client: &mut postgres::Client, after: &Place, bodies: &[String]| {
        let sql = "SELECT verdict, seq, hash FROM access.import($1, $2, $3)";
        client.query_one(sql, &[&after.0, &after.1, &bodies]).map(|row| row.get::<_, String>(0))
    };
    assert_refused(import(&mut alpha, &empty, &bodies), "42501", "permission denied");
    assert_eq!(verdict(alpha.append(&empty, &[Body::new("alpha", 1).text()])), "closed");
    assert_eq!(import(&mut owner, &empty, &bodies[..2]).unwrap(), "ok");
    assert_eq!(import(&mut owner, &empty, &bodies[..2]).unwrap(), "already");
    assert_eq!(import(&mut owner, &empty, &[bodies[1].clone()]).unwrap(), "fork");
    let two = empty.after(&bodies[..2]);
    assert_eq!(import(&mut owner, &Place(2, vec![1; 32]), &bodies[2..]).unwrap(), "fork");
    assert_refused(import(&mut owner, &two, &bodies[3..]), "22023", "says that it is 4");
    assert_eq!(import(&mut owner, &two, &bodies[2..]).unwrap(), "ok");

    // Byte for byte, with the hashes of the export. Of no host.
    let copied = alpha.since(0, 10_000).unwrap();
    assert_eq!(copied.last().unwrap().0, end);
    assert!(copied.iter().map(|(_, body, host)| (body, host.as_str())).eq(bodies.iter().map(|body| (body, ""))));

    owner.batch_execute("SELECT access.open()").unwrap();
    assert_refused(import(&mut owner, &end, &bodies), "55000", "before it is opened");
    let first = [Body::new("alpha", end.0 + 1).text()];
    assert_eq!(verdict(alpha.append(&end, &first)), "ok");
    owner.batch_execute("SELECT access.close()").unwrap();
    let place = end.after(&first);
    let second = [Body::new("alpha", place.0 + 1).text()];
    assert_eq!(verdict(alpha.append(&place, &second)), "closed");
    assert_eq!(verdict(alpha.append(&end, &first)), "already");
    assert_eq!(alpha.turn(&place).unwrap(), "closed");
    let row = alpha.query_one("SELECT verdict, state FROM access.contact($1, $2, 3)", &[&place.0, &place.1]).unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ok", "closed"));
    // Opened again, it is another epoch: entries may have been written elsewhere meanwhile.
    owner.batch_execute("SELECT access.open()").unwrap();
    assert_eq!(verdict(alpha.append(&place, &second)), "epoch");
    assert_eq!(verdict(alpha.append_in(2, &place, &second)), "ok");
}

#[test]
fn a_format_is_written_once_every_host_reads_it() {
    let log = SharedLog::start();
    let mut owner = log.connect("keeper");
    let contact = |host: &str, format: i32| {
        let sql = "SELECT access.contact(0, decode(repeat('00', 32), 'hex'), $1)";
        log.connect(host).execute(sql, &[&format]).unwrap();
    };
    contact("alpha", 4);
    contact("beta", 3);
    owner.batch_execute("SELECT access.allow('desk', NULL)").unwrap();
    assert_refused(
        owner.batch_execute("SELECT access.raise_format(4)"),
        "55000",
        "do not read format 4 yet: beta, leaf",
    );
    // A second later, so that it is noted.
    log.set_clock("clock_timestamp() + interval '5 seconds'");
    contact("beta", 5);
    contact("leaf", 4);
    owner.batch_execute("SELECT access.raise_format(4)").unwrap();
    let mut body = Body::new("alpha", 1);
    body.v = 4;
    assert_eq!(verdict(log.connect("alpha").append(&Place::empty(), &[body.text()])), "ok");
    owner.batch_execute("SELECT access.raise_format(3)").unwrap();
    let format = owner.query_one("SELECT write_format FROM access.log", &[]).unwrap().get::<_, i32>(0);
    assert_eq!(format, 4, "never lowered");
}
