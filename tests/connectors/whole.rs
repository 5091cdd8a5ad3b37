//! From a request to the systems and back: one grant, carried to five of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::{ACCOUNT, Aws};
use crate::directory::Directory;
use crate::harness::{TEAM, World, shows};
use crate::postgres_cluster::Cluster;
use crate::scim::Service;
use crate::{Connector, wait_until};

/// The team file's bindings of one target.
const BINDINGS: &str = r#"
[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
role = "orders_rw"
end_sessions = true

[[bindings]]
resource = "target:orders-db"
connector = "directory"
group = "cn=orders,ou=groups,dc=example,dc=com"

[[bindings]]
resource = "target:orders-db"
connector = "id"
group = "orders"

[[bindings]]
resource = "target:orders-db"
connector = "aws"
group = "orders"

[[bindings]]
resource = "target:orders-db"
connector = "cloud"
account = "123456789012"
permission-set = "Operator"
"#;

pub struct Systems {
    pub cluster: Cluster,
    pub directory: Directory,
    pub service: Service,
    /// The id of the group there, and of each user.
    pub group: String,
    users: BTreeMap<String, String>,
    pub aws: Aws,
    /// The id of the permission set there, and of each person.
    permission_set: String,
    people: BTreeMap<String, String>,
}

impl Systems {
    pub fn start() -> Systems {
        let service = Service::start();
        let group = service.group("orders", &[]);
        let aws = Aws::start();
        aws.create("orders", &["bob"]);
        let permission_set = aws.permission_set("Operator");
        let (cluster, directory) = (Cluster::start().with_orders(), Directory::start());
        let (users, people) = (BTreeMap::new(), BTreeMap::new());
        let mut systems = Systems { cluster, directory, service, group, users, aws, permission_set, people };
        systems.add_user("bob");
        systems
    }

    /// To the SCIM service and the identity store of AWS. Returns the id in the first.
    pub fn add_user(&mut self, login: &str) -> String {
        self.people.insert(login.to_owned(), self.aws.person(login));
        let id = self.service.user(login);
        self.users.insert(login.to_owned(), id.clone());
        id
    }

    /// Configures these of the connectors.
    pub fn write(&self, world: &World, names: &[&str]) {
        let section = |name: &str, connector: &Connector, allow: &str| {
            if !names.contains(&name) {
                return String::new();
            }
            let words = [&[env!("CARGO_BIN_EXE_access").to_owned(), "connector".to_owned()][..], &connector.0].concat();
            format!("[[connectors]]\nname = {name:?}\ncommand = {words:?}\nallow = {{ {allow} }}\n\n")
        };
        let text = section("orders-pg", &self.cluster.connector("access"), "role = [\"orders_*\"]")
            + &section("directory", &self.directory.connector(), "group = [\"cn=orders,ou=groups,dc=example,dc=com\"]")
            + &section("id", &self.service.connector(), "group = [\"orders\"]")
            + &section("aws", &self.aws.connector(), "group = [\"orders\"]")
            + &section("cloud", &self.aws.center(), &format!("account = [\"{ACCOUNT}\"], permission-set = [\"Op*\"]"));
        let folder = world.folder().join(".config/access");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }

    /// Configures all, and binds two targets to them.
    pub fn configure(&self, world: &World) {
        self.write(world, &ALL);
        let others = BINDINGS.replace("target:orders-db", "target:billing-db");
        world.apply("olivia", &format!("{TEAM}{BINDINGS}{others}")).ok();
    }

    /// Whether a login really has it in a system.
    pub fn has(&self, system: &str, login: &str) -> bool {
        match system {
            "aws" => self.aws.groups_of(login) == ["orders"],
            "cloud" => self.people.get(login).is_some_and(|id| self.aws.assigned(&self.permission_set).contains(id)),
            "directory" => self.directory.can_read(login),
            "id" => self.users.get(login).is_some_and(|id| self.service.members(&self.group).contains(id)),
            "orders-pg" => self.cluster.can_set_role(login, "orders_rw"),
            _ => unreachable!("{system}"),
        }
    }

    /// In which systems bob really has it.
    pub fn of_bob(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|system| self.has(system, "bob")).collect()
    }
}

pub const ALL: [&str; 5] = ["aws", "cloud", "directory", "id", "orders-pg"];

fn states(world: &World, id: &str) -> Vec<(String, String)> {
    let shown = world.json("olivia", &["show", id])["grant"]["provisioning"].clone();
    let text = |of: &Value, key: &str| of[key].as_str().unwrap().to_owned();
    let mut states: Vec<_> =
        shown.as_array().unwrap().iter().map(|it| (text(it, "connector"), text(it, "state"))).collect();
    states.sort();
    states
}

#[test]
fn a_grant_is_carried_to_all_systems_and_ends_in_all_of_them() {
    let systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    assert_eq!(systems.of_bob(), [""; 0]);
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    wait_until("all systems give it", || systems.of_bob() == ALL);
    world.run("root", &["reconcile", "--fix"]).ok();
    assert_eq!(states(&world, &id), ALL.map(|name| (name.to_owned(), "granted".to_owned())));
    let mut session = systems.cluster.session("bob");
    assert_eq!(session.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));

    world.pass("61m");
    world.run("root", &["expire", "--no-deliver"]).ok();
    assert_eq!(systems.of_bob(), [""; 0]);
    assert_eq!(session.ask("SELECT 1"), None, "end_sessions");
    assert_eq!(states(&world, &id), ALL.map(|name| (name.to_owned(), "revoked".to_owned())));
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_system_that_is_down_holds_up_no_other_and_is_never_forgotten() {
    let mut systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    wait_until("all systems give it", || systems.of_bob() == ALL);
    world.run("root", &["reconcile", "--fix"]).ok();

    systems.directory.stop();
    world.pass("61m");
    world.run("root", &["expire", "--no-deliver"]).exits(1);
    systems.directory.restart();
    assert_eq!(systems.of_bob(), ["directory"]);
    world.run("root", &["expire", "--no-deliver"]).ok();
    assert_eq!(systems.of_bob(), [""; 0]);
}

#[test]
fn drift_made_by_hand_is_found_in_each_system() {
    let systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    wait_until("all systems give it", || systems.of_bob() == ALL);
    world.run("root", &["reconcile", "--fix"]).ok();

    // Taken by hand, and given to carol by hand.
    let (group, bob) = (systems.group.clone(), systems.users["bob"].clone());
    systems.cluster.sql("access", "REVOKE orders_rw FROM bob; GRANT orders_rw TO carol");
    let carol = "uid=carol,ou=people,dc=example,dc=com";
    systems.directory.modify(&format!(
        "dn: cn=orders,ou=groups,dc=example,dc=com\nchangetype: modify\ndelete: member\n\
         member: uid=bob,ou=people,dc=example,dc=com\n-\nadd: member\nmember: {carol}\n"
    ));
    let carol_there = systems.service.user("carol");
    systems.service.replace_members(&group, &[&carol_there]);
    systems.aws.call("remove_user_from_group", &json!({ "GroupName": "orders", "UserName": "bob" }));
    systems.aws.call("create_user", &json!({ "UserName": "carol" }));
    systems.aws.call("add_user_to_group", &json!({ "GroupName": "orders", "UserName": "carol" }));
    let (permission_set, carol_in_cloud) = (&systems.permission_set, systems.aws.person("carol"));
    systems.aws.assign("delete", permission_set, "USER", &systems.people["bob"]);
    systems.aws.assign("create", permission_set, "USER", &carol_in_cloud);
    assert_eq!(systems.of_bob(), [""; 0]);

    let ran = world.run("root", &["reconcile", "--json"]).exits(1).json();
    let rows = ran.as_array().unwrap();
    for system in ALL {
        for (login, state) in [("bob", "missing"), ("carol", "unexplained")] {
            let row = rows.iter().find(|row| row["connector"] == system && row["login"] == login);
            shows(row.unwrap_or_else(|| panic!("{system} {login}: {ran}")), &json!({ "state": state }));
        }
    }
    // What is missing is given again. What is unexplained stays, and is reported.
    world.run("root", &["reconcile", "--fix"]).exits(1);
    assert_eq!(systems.of_bob(), ALL);
    assert!(systems.cluster.can_set_role("carol", "orders_rw") && systems.directory.can_read("carol"));
    assert!(systems.service.members(&group).contains(&carol_there) && systems.service.members(&group).contains(&bob));
    assert_eq!(systems.aws.groups_of("carol"), ["orders"]);
    assert!(systems.aws.assigned(permission_set).contains(&carol_in_cloud));
}

#[test]
fn each_connector_passes_the_test_for_connectors() {
    let systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    systems.service.user("carol");
    systems.aws.call("create_user", &json!({ "UserName": "carol" }));
    systems.aws.person("carol");
    let account = format!("account={ACCOUNT}");
    for (name, parameters) in [
        ("orders-pg", &["role=orders_rw"][..]),
        ("directory", &["group=cn=orders,ou=groups,dc=example,dc=com"]),
        ("id", &["group=orders"]),
        ("aws", &["group=orders"]),
        ("cloud", &[&account, "permission-set=Operator"]),
    ] {
        let words = [&["connector", "test", name, "--login", "carol"][..], parameters].concat();
        let ran = world.run("root", &words).ok();
        assert_eq!(ran.out.matches(" ok").count(), 10, "{}", ran.out);
    }
}
