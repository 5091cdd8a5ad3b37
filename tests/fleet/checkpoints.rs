//! Each host signs checkpoints of the one log with a key of its own.

use crate::program::{Fleet, Host};

#[test]
fn each_host_signs_with_its_own_key_and_all_see_one_log() {
    let fleet = Fleet::shared();
    let (alpha, beta, leaf) = (fleet.on("alpha").by("alice"), fleet.on("beta").by("alice"), fleet.on("leaf"));
    let note = ["audit", "checkpoint", "--note"];
    let keep = |name: &str, note: &str| {
        let path = fleet.file(name);
        std::fs::write(&path, note).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let out = |host: Host<'_>, args: &[&str]| String::from_utf8(host.run(args).stdout).unwrap();
    let (by_alpha, by_beta) = (keep("by-alpha", &out(alpha, &note)), keep("by-beta", &out(beta, &note)));
    alpha.succeeds(&["follow", "--once"]);
    let keys: serde_json::Value = serde_json::from_str(&out(alpha, &["audit", "key", "--json"])).unwrap();
    let hosts: Vec<&str> = keys.as_array().unwrap().iter().map(|key| key["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["alpha", "beta"]);
    let name = |n: usize| keys[n]["key"].as_str().unwrap().split('+').next().unwrap();
    assert_eq!(name(0), name(1));
    for host in [alpha, beta] {
        for kept in [&by_alpha, &by_beta] {
            host.succeeds(&["audit", "verify", "--against", kept]);
            host.succeeds(&["audit", "prove", "--consistency", kept]);
        }
    }

    // A host that only reads adds no key.
    fleet.on("alpha").succeeds(&["log", "allow", "leaf", "read", &fleet.url("keeper")]);
    leaf.succeeds(&["log", "join"]);
    let line = leaf.by("alice").succeeds(&["audit", "checkpoint"]);
    assert!(!line.contains("note"), "{line}");
    leaf.by("alice").fails(&note, 69, "this host signs nothing");
    leaf.by("alice").succeeds(&["audit", "verify", "--against", &by_beta]);
}
