//! A directory of a test's own: slapd, with people, groups, and an entry that only a group may read.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Connector, certificates, free_port, private_file, run, wait_until, with_input};

pub struct Directory {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    server: Option<Child>,
    password: PathBuf,
}

const CONFIGURATION: &str = r#"
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload dds
moduleload refint
pidfile FOLDER/slapd.pid
TLSCACertificateFile FOLDER/ca.pem
TLSCertificateFile FOLDER/cert.pem
TLSCertificateKeyFile FOLDER/key.pem
database mdb
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
rootpw root
directory FOLDER/db
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to dn.base="cn=payroll,dc=example,dc=com" by group.exact="cn=orders,ou=groups,dc=example,dc=com" read by * none
access to dn.base="cn=hidden,ou=groups,dc=example,dc=com" by * none
access to dn.base="cn=sealed,ou=groups,dc=example,dc=com" attrs=member by dn.exact="cn=access,dc=example,dc=com" none by * none
access to dn.subtree="ou=closed,dc=example,dc=com" by * none
access to dn.base="uid=Mia,ou=people,dc=example,dc=com" by dn.exact="cn=access,dc=example,dc=com" disclose by * read
access to dn.subtree="ou=grants,dc=example,dc=com" attrs=entryTtl by dn.exact="cn=access,dc=example,dc=com" manage by * read
access to dn.subtree="ou=grants,dc=example,dc=com" by dn.exact="cn=access,dc=example,dc=com" write by dn.exact="cn=reader,dc=example,dc=com" write by users read
access to dn.subtree="ou=groups,dc=example,dc=com" by dn.exact="cn=access,dc=example,dc=com" write by users read
access to * by users read
"#;

const ENTRIES: &str = "
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=alumni,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=grants,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=orders,ou=grants,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=closed,dc=example,dc=com
objectClass: organizationalUnit

dn: cn=access,dc=example,dc=com
objectClass: person
sn: access
userPassword: sesame

dn: cn=reader,dc=example,dc=com
objectClass: person
sn: reader
userPassword: sesame

dn: cn=payroll,dc=example,dc=com
objectClass: device
description: secret

dn: cn=orders,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: cn=nobody

dn: cn=hidden,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: cn=nobody

dn: cn=sealed,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: cn=nobody

dn: cn=inner,ou=closed,dc=example,dc=com
objectClass: groupOfNames
member: cn=nobody

dn: cn=unique,ou=groups,dc=example,dc=com
objectClass: groupOfUniqueNames
uniqueMember: cn=nobody

dn: cn=unix,ou=groups,dc=example,dc=com
objectClass: posixGroup
gidNumber: 5000
";

/// Whose entries there are. `Zoe` is not `zoe`, but a directory takes them for one.
pub const LOGINS: [&str; 11] =
    ["alice", "bob", "carol", "dave", "frank", "o'brien", "a+b", "a\"b", "#1000", "sélect", "Zoe"];

impl Directory {
    pub fn start() -> Directory {
        Directory::with("")
    }

    /// With these lines for the database, such as overlays.
    pub fn with(lines: &str) -> Directory {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        std::fs::create_dir(folder.path().join("db")).unwrap();
        let configuration = format!("{CONFIGURATION}{lines}\n");
        let configuration = configuration.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("slapd.conf"), configuration).unwrap();
        let mut entries = ENTRIES.to_owned();
        for login in LOGINS.iter().copied().chain([longest().as_str()]) {
            let dn = format!("uid={},ou=people,dc=example,dc=com", ldap3::dn_escape(login));
            // In base64, because LDIF is ASCII.
            let encode = |text: &str| {
                let ran = with_input(Command::new("base64").args(["-w", "0"]), text);
                String::from_utf8(ran.stdout).unwrap()
            };
            let (dn, uid) = (encode(&dn), encode(login));
            entries += &format!(
                "\ndn:: {dn}\nobjectClass: inetOrgPerson\nuid:: {uid}\ncn: x\nsn: x\nuserPassword: {}\n",
                "letmein"
            );
        }
        let program = folder.path().join("slapadd");
        symlink("/usr/sbin/slapd", &program).unwrap();
        let ran = with_input(Command::new(program).arg("-f").arg(folder.path().join("slapd.conf")), &entries);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let password = private_file(&folder.path().join("password"), "sesame");
        let mut directory = Directory { folder, port: free_port(), tls_port: free_port(), server: None, password };
        directory.restart();
        directory
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn password(&self) -> &str {
        self.password.to_str().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    pub fn tls_url(&self, host: &str) -> String {
        format!("ldaps://{host}:{}", self.tls_port)
    }

    fn socket(&self) -> String {
        format!("ldapi://{}", self.folder.path().join("socket").to_str().unwrap().replace('/', "%2F"))
    }

    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
            server.wait().unwrap();
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let urls = format!("{} {} {}", self.url(), self.tls_url("localhost"), self.socket());
        let mut command = Command::new("/usr/sbin/slapd");
        command.args(["-d", "0", "-h", &urls, "-f"]).arg(self.folder.path().join("slapd.conf"));
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.server = Some(server.expect("slapd is installed (tests/run.sh)"));
        wait_until("slapd starts", || {
            self.search("cn=reader,dc=example,dc=com", "sesame", "dc=example,dc=com").status.success()
        });
    }

    /// The connector as `cn=access`, over a plain connection of this machine.
    pub fn connector(&self) -> Connector {
        self.connector_as("cn=access,dc=example,dc=com").and(&["--login-dn", "uid={login},ou=people,dc=example,dc=com"])
    }

    pub fn connector_as(&self, dn: &str) -> Connector {
        let words =
            ["ldap", "--url", &self.url(), "--allow-plain", "--bind-dn", dn, "--password-file", self.password()];
        Connector::new(&words)
    }

    fn search(&self, dn: &str, password: &str, base: &str) -> Output {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &self.url(), "-D", dn, "-w", password]);
        command.args(["-b", base, "-s", "base"]).output().expect("ldapsearch is installed (tests/run.sh)")
    }

    /// Whether a login can read what only the group `orders` may read.
    pub fn can_read(&self, login: &str) -> bool {
        let dn = format!("uid={},ou=people,dc=example,dc=com", ldap3::dn_escape(login));
        let ran = self.search(&dn, "letmein", "cn=payroll,dc=example,dc=com");
        String::from_utf8(ran.stdout).unwrap().contains("description: secret")
    }

    /// The lines of an entry.
    pub fn entry(&self, dn: &str) -> String {
        String::from_utf8(self.search("cn=root,dc=example,dc=com", "root", dn).stdout).unwrap()
    }

    /// The time to live that an entry has left. None: it has none, or is not there.
    pub fn ttl(&self, dn: &str) -> Option<i64> {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-LLL", "-H", &self.url(), "-D", "cn=root,dc=example,dc=com", "-w", "root"]);
        let ran = command.args(["-b", dn, "-s", "base", "(objectClass=*)", "entryTtl"]).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        text.lines().find_map(|line| line.strip_prefix("entryTtl: ")?.parse().ok())
    }

    /// Changes by hand, in LDIF.
    pub fn modify(&self, ldif: &str) {
        let file = self.folder.path().join("change.ldif");
        std::fs::write(&file, ldif).unwrap();
        let mut command = Command::new("ldapmodify");
        command.args(["-x", "-H", &self.url(), "-D", "cn=root,dc=example,dc=com", "-w", "root", "-f"]).arg(file);
        run(&mut command);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn longest() -> String {
    "l".repeat(63)
}
