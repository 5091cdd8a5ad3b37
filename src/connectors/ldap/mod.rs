//! LDAP: membership of a group, or an entry for each grant.

pub mod dn;
mod entries;
mod people;
mod session;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use ldap3::{Mod, SearchEntry};

use self::dn::Template;
use self::entries::LdapEntries;
use self::session::{Directory, Url};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::user_name::no_login;
use super::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::tls;

/// LDAP: membership of a group (parameter: group), or an entry for each grant (parameter: container)
#[derive(Debug, Args)]
pub struct LdapArgs {
    /// ldaps://HOST[:PORT], ldap://HOST[:PORT], or ldapi://%2Frun%2Fslapd%2Fldapi
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Encrypt an ldap:// connection
    #[arg(long)]
    pub starttls: bool,
    /// Allow ldap:// without encryption: everyone on the way can read the password
    #[arg(long, conflicts_with = "starttls")]
    pub allow_plain: bool,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Log in as this entry (default for ldapi://: as the Unix user, by SASL EXTERNAL)
    #[arg(long, value_name = "DN", requires = "password_file")]
    pub bind_dn: Option<String>,
    /// The file with the password
    #[arg(long, value_name = "FILE", requires = "bind_dn")]
    pub password_file: Option<PathBuf>,
    /// The attribute of the group that has its members
    #[arg(long, value_name = "NAME", default_value = "member")]
    pub attribute: String,
    /// The entry of a login: uid={login},ou=people,dc=example,dc=com (memberUid and entries need none)
    #[arg(long, value_name = "DN", required_unless_present_any = ["memberuid", "entry_classes"])]
    pub login_dn: Option<String>,
    /// Members are logins, in the attribute memberUid of a posixGroup
    #[arg(long, conflicts_with_all = ["login_dn", "attribute"])]
    pub memberuid: bool,
    /// The member to put into a group that would be empty, which a groupOfNames can't be
    #[arg(long, value_name = "DN")]
    pub empty_member: Option<String>,
    /// Make an entry of this class for each grant, which the directory deletes at its end (repeatable)
    #[arg(long = "entry-class", value_name = "CLASS", conflicts_with_all = ["attribute", "memberuid", "empty_member"])]
    pub entry_classes: Vec<String>,
    /// The attribute that names such an entry, and has the login
    #[arg(long, value_name = "NAME", default_value = "uid", requires = "entry_classes")]
    pub entry_naming: String,
}

impl LdapArgs {
    pub fn open(self) -> Result<Box<dyn System>, Failure> {
        let url = Url::check(&self.url, self.starttls, self.allow_plain)?;
        let tls = if url.is_encrypted { Some(tls::client_config(self.ca_file.as_deref(), None)?) } else { None };
        let password = self.password_file.as_deref().map(tls::secret).transpose()?;
        let bind = self.bind_dn.clone().zip(password);
        if bind.is_none() && !url.is_local {
            return Err(Failure::new(Kind::Usage, "--bind-dn and --password-file are missing"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let names = [("attribute", &self.attribute), ("entry-naming", &self.entry_naming)].into_iter();
        for (flag, name) in names.chain(self.entry_classes.iter().map(|class| ("entry-class", class))) {
            if name.is_empty() || !name.chars().all(plain) {
                return Err(Failure::new(Kind::Usage, format!("--{flag} is not valid: {name}")));
            }
        }
        let template = self.login_dn.as_deref().map(Template::parse).transpose()?;
        let directory = Directory::new(url, tls, bind);
        if !self.entry_classes.is_empty() {
            return Ok(Box::new(LdapEntries::new(directory, template, self.entry_classes, self.entry_naming)));
        }
        let attribute = if self.memberuid { "memberUid".to_owned() } else { self.attribute };
        Ok(Box::new(Ldap { directory, attribute, template, empty_member: self.empty_member }))
    }
}

struct Ldap {
    directory: Directory,
    attribute: String,
    /// None: the members are logins.
    template: Option<Template>,
    empty_member: Option<String>,
}

/// Result codes (RFC 4511, appendix A.2).
mod code {
    pub const SUCCESS: u32 = 0;
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub const REFERRAL: u32 = 10;
    pub const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub const ALREADY_THERE: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const INVALID_DN: u32 = 34;
    pub const INSUFFICIENT_ACCESS: u32 = 50;
    pub const OBJECT_CLASS_VIOLATION: u32 = 65;
    pub const ENTRY_ALREADY_EXISTS: u32 = 68;
}

impl System for Ldap {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(group) = spelled(all, "group") else { continue };
            for member in self.members(group)? {
                let Some(login) = self.login(&member)? else { continue };
                holders.push(Holder { login, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let group = spelled(&act.parameters, "group")?;
        let member = match &self.template {
            Some(template) => people::entry_of(&mut self.directory, template, &act.login)?,
            None => act.login.to_string(),
        };
        let add = || vec![Mod::Add(self.attribute.clone(), HashSet::from([member.clone()]))];
        let tries = Cell::new(0);
        let result = self.directory.with(|session| {
            tries.set(tries.get() + 1);
            session.modify(group, add())
        })?;
        match result.rc {
            // The first of two tries may have had its effect. Active Directory has another code for it.
            code::ALREADY_THERE | code::ENTRY_ALREADY_EXISTS if tries.get() == 1 => Ok(GrantEffect::WasThere),
            code::SUCCESS | code::ALREADY_THERE | code::ENTRY_ALREADY_EXISTS => Ok(GrantEffect::Given),
            code::NO_SUCH_OBJECT => Err(no_group(group)),
            _ => Err(session::not_done(&result)),
        }
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
        if let Some(template) = &self.template {
            people::check_spelling(&mut self.directory, template, &act.login)?;
        }
        let member = self.member(act.login.as_str());
        let delete = || Mod::Delete(self.attribute.clone(), HashSet::from([member.clone()]));
        let mut result = self.directory.with(|session| session.modify(group, vec![delete()]))?;
        if let (code::OBJECT_CLASS_VIOLATION, Some(empty)) = (result.rc, &self.empty_member) {
            let add = || Mod::Add(self.attribute.clone(), HashSet::from([empty.clone()]));
            result = self.directory.with(|session| session.modify(group, vec![delete(), add()]))?;
        }
        match result.rc {
            code::SUCCESS => Ok(Some("hosts that cache groups, and open sessions, keep it for a while".to_owned())),
            code::NO_SUCH_ATTRIBUTE => Ok(None),
            code::NO_SUCH_OBJECT => {
                Err(NotDone::Later(format!("there is no group {group} now, or this login can't see it")))
            }
            code::OBJECT_CLASS_VIOLATION => Err(NotDone::Failed(format!(
                "{} is the last member of {group}, which can't be empty: add another member, or set --empty-member",
                act.login
            ))),
            _ => Err(session::not_done(&result)),
        }
    }
}

/// The name of a group or container, if it is written as it has to be: otherwise one group would be several, and a pattern of `allow` could
/// let through what nobody sees in it.
fn spelled<'p>(parameters: &'p Parameters, key: &str) -> Result<&'p str, NotDone> {
    let name = only(parameters, key)?;
    match dn::canonical(name) {
        Some(canonical) if canonical.eq_ignore_ascii_case(name) => Ok(name),
        Some(canonical) => Err(NotDone::Failed(format!("write the {key} as {canonical}"))),
        None => Err(NotDone::Failed(format!("{name} is no distinguished name"))),
    }
}

fn no_group(group: &str) -> NotDone {
    NotDone::Failed(format!("there is no group {group}, or this login can't see it"))
}

impl Ldap {
    /// The value that a group has for a login.
    fn member(&self, login: &str) -> String {
        self.template.as_ref().map_or_else(|| login.to_owned(), |template| template.dn(login))
    }

    /// The members of a group, without the one that stands for none. A group that is gone has none.
    fn members(&mut self, group: &str) -> Result<Vec<String>, NotDone> {
        let attributes = [self.attribute.as_str(), "objectClass"];
        let found = self.directory.with(|session| session.read(group, &attributes))?;
        let entry = match found {
            Ok(entry) => entry,
            Err(result) if result.rc == code::INVALID_DN => return Ok(Vec::new()),
            Err(result) if result.rc == code::NO_SUCH_OBJECT => {
                let gone = is_gone(&mut self.directory, group)?;
                return if gone { Ok(Vec::new()) } else { Err(no_group(group)) };
            }
            Err(result) => return Err(session::not_done(&result)),
        };
        if entry.attrs.keys().chain(entry.bin_attrs.keys()).any(|name| name.contains(';')) {
            // Active Directory returns long lists in parts: `member;range=0-1499`.
            return Err(NotDone::Failed(format!("the server does not return all members of {group} at once")));
        }
        let members = values(&entry, &self.attribute);
        let classes = values(&entry, "objectClass");
        let never_empty =
            |class: &String| ["groupofnames", "groupofuniquenames"].contains(&class.to_lowercase().as_str());
        if members.is_empty() && classes.iter().any(never_empty) {
            return Err(NotDone::Failed(format!("this login can't read {} of {group}", self.attribute)));
        }
        let is_empty_member =
            |member: &String| self.empty_member.as_ref().is_some_and(|empty| dn::are_same(member, empty));
        Ok(members.into_iter().filter(|member| !is_empty_member(member)).collect())
    }

    /// The login of a member. A member without a login, such as a person who was renamed, is reported under its own name, unless
    /// it is a group, or nobody.
    fn login(&mut self, member: &str) -> Result<Option<Login>, NotDone> {
        let of_name = |name: String| name.parse().unwrap_or_else(|_| no_login("member", &name));
        let Some(template) = &self.template else { return Ok(Some(of_name(member.to_owned()))) };
        match template.login(member) {
            // A group can have another spelling than the entry, or the same letters in another form of Unicode.
            Some(login) if login.chars().any(|c| c.is_uppercase() || !c.is_ascii()) => {
                Ok(Some(of_name(people::spelling(&mut self.directory, template, member)?.unwrap_or(login))))
            }
            Some(login) => Ok(Some(of_name(login))),
            None => Ok(self.is_somebody(member)?.then(|| dn::as_login(member))),
        }
    }

    fn is_somebody(&mut self, member: &str) -> Result<bool, NotDone> {
        match self.directory.with(|session| session.read(member, &["objectClass"]))? {
            Ok(entry) => {
                let is_group = |class: &String| class.to_lowercase().contains("group");
                Ok(!values(&entry, "objectClass").iter().any(is_group))
            }
            Err(result) if [code::NO_SUCH_OBJECT, code::INVALID_DN].contains(&result.rc) => Ok(false),
            // Of another directory, or hidden. It hides no other member.
            Err(result) if [code::REFERRAL, code::INSUFFICIENT_ACCESS].contains(&result.rc) => Ok(true),
            Err(result) => Err(session::not_done(&result)),
        }
    }
}

/// Whether an entry that can't be found is gone, and not hidden from this login: then the entry above can be seen.
fn is_gone(directory: &mut Directory, entry: &str) -> Result<bool, NotDone> {
    let Some(above) = dn::parent(entry) else { return Ok(false) };
    Ok(directory.with(|session| session.read(above, &["objectClass"]))?.is_ok())
}

/// The values of an attribute. Its name may come in another case. One value that is no text makes all of them bytes.
fn values(entry: &SearchEntry, attribute: &str) -> Vec<String> {
    let texts = entry.attrs.iter().map(|(name, values)| (name, values.clone()));
    let lossy = |values: &Vec<Vec<u8>>| values.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    let bytes = entry.bin_attrs.iter().map(|(name, values)| (name, lossy(values)));
    let mut named = texts.chain(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
    named.next().map(|(_, values)| values).unwrap_or_default()
}
