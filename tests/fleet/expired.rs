//! Certificates that have ended, on both sides of the line.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::reads::{Hosts, certificates};
use crate::tools::run;

/// Signs what there is again, for a time that is over.
fn end(folder: &Path, name: &str) {
    std::fs::write(
        folder.join("ca.conf"),
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
         policy = any\ncopy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n",
    )
    .unwrap();
    std::fs::write(folder.join("index"), "").unwrap();
    let openssl = |words: &[&str]| run(Command::new("openssl").args(words).current_dir(folder));
    let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
    let names = ["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")];
    openssl(&[&["req", "-new", "-key", &key, "-out", &request], &names[..]].concat());
    let dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"];
    let files = ["-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in", &request, "-out", &certificate];
    openssl(&[&["ca", "-batch", "-notext"], &dates[..], &files].concat());
}

#[test]
fn a_certificate_that_has_ended_is_refused_at_once_and_named() {
    let mut hosts = Hosts::start();
    let folder = hosts.folder().to_owned();
    certificates(&folder, &[("localhost", "localhost", "60"), ("h1", "h1", "60"), ("h2", "h2", "60")]);
    std::fs::write(folder.join("hba"), "local all all trust\nhostssl acme h1,h2 all cert\n").unwrap();
    let serve = |hosts: &mut Hosts| {
        let files = [
            ("localhost.crt", "server.crt"),
            ("localhost.key", "server.key"),
            ("ca.crt", "ca.crt"),
            ("hba", "pg_hba.conf"),
        ];
        for (file, name) in files {
            hosts.cluster.put(&folder.join(file), name);
        }
        hosts.cluster.configure("ssl = on\nssl_ca_file = 'ca.crt'\n");
    };
    serve(&mut hosts);
    for host in ["h1", "h2"] {
        hosts.log_in_with_certificate(host, host, host);
        hosts.run(host, &["follow", "--once"]).exits(0);
    }
    let fails = |hosts: &Hosts, host: &str, why: &str| {
        for args in [&["follow", "--once"][..], &["--as", "bob", "request", "connection:staging", "--reason", "x"]] {
            let begun = Instant::now();
            hosts.run(host, args).exits(69).says(why);
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        }
        // Nothing was changed, and the copy goes on.
        hosts.run(host, &["pending"]).exits(0);
        hosts.run(host, &["--as", "bob", "check", "connection:staging"]).exits(1);
    };
    end(&folder, "h2");
    fails(&hosts, "h2", "this host's certificate has ended");
    hosts.run("h1", &["follow", "--once"]).exits(0);

    end(&folder, "localhost");
    serve(&mut hosts);
    fails(&hosts, "h1", "the server's certificate has ended");
}
