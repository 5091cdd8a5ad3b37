//! LDAP: membership of a group.

mod dn;
mod session;

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use ldap3::{Mod, Scope, SearchEntry};

use self::dn::Template;
use self::session::{Directory, Url};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::{NotDone, System};
use crate::domain::binding::Parameters;
use crate::error::{Failure, Kind};
use crate::tls;

/// LDAP: membership of a group (parameter: group, its distinguished name)
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
    /// The entry of a login: uid={login},ou=people,dc=example,dc=com (memberUid needs none)
    #[arg(long, value_name = "DN", required_unless_present_any = ["memberuid"])]
    pub login_dn: Option<String>,
    /// Members are logins, in the attribute memberUid of a posixGroup
    #[arg(long, conflicts_with_all = ["login_dn", "attribute"])]
    pub memberuid: bool,
    /// The member to put into a group that would be empty, which a groupOfNames can't be
    #[arg(long, value_name = "DN")]
    pub empty_member: Option<String>,
}

impl LdapArgs {
    pub fn open(self) -> Result<Ldap, Failure> {
        let url = Url::check(&self.url, self.starttls, self.allow_plain)?;
        let tls = if url.is_encrypted { Some(tls::client_config(self.ca_file.as_deref(), None)?) } else { None };
        let password = self.password_file.as_deref().map(tls::secret).transpose()?;
        let bind = self.bind_dn.clone().zip(password);
        if bind.is_none() && !url.is_local {
            return Err(Failure::new(Kind::Usage, "--bind-dn and --password-file are missing"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !self.attribute.chars().all(plain) {
            return Err(Failure::new(Kind::Usage, format!("--attribute is not valid: {}", self.attribute)));
        }
        let template = self.login_dn.as_deref().map(Template::parse).transpose()?;
        let attribute = if self.memberuid { "memberUid".to_owned() } else { self.attribute };
        Ok(Ldap { directory: Directory::new(url, tls, bind), attribute, template, empty_member: self.empty_member })
    }
}

pub struct Ldap {
    directory: Directory,
    attribute: String,
    /// None: the members are logins.
    template: Option<Template>,
    empty_member: Option<String>,
}

/// Result codes (RFC 4511, appendix A.2).
mod code {
    pub const SUCCESS: u32 = 0;
    pub const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub const ALREADY_THERE: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const INVALID_DN: u32 = 34;
    pub const OBJECT_CLASS_VIOLATION: u32 = 65;
}

impl System for Ldap {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(group) = only(all, "group").and_then(spelled) else { continue };
            for member in self.members(group)? {
                // A member that is no login: another group, a service.
                let Some(login) = self.login(&member)?.and_then(|login| login.parse().ok()) else { continue };
                holders.push(Holder { login, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = spelled(only(&act.parameters, "group")?)?;
        let member = self.member(act.login.as_str());
        if self.template.is_some() {
            match self.spelling(&member)? {
                Some(spelling) if spelling == act.login.as_str() => {}
                Some(spelling) => {
                    let why = format!("the directory has no login {}, but {spelling}", act.login);
                    return Err(NotDone::Failed(why));
                }
                None => return Err(NotDone::Failed(format!("there is no entry {member}"))),
            }
        }
        let add = || vec![Mod::Add(self.attribute.clone(), HashSet::from([member.clone()]))];
        let result = self.directory.with(|session| session.modify(group, add()))?;
        match result.rc {
            code::SUCCESS | code::ALREADY_THERE => Ok(None),
            code::NO_SUCH_OBJECT => Err(no_group(group)),
            _ => Err(session::not_done(&result)),
        }
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
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

/// The name of a group, if it is written as it has to be: otherwise one group would be several, and a pattern of `allow` could
/// let through what nobody sees in it.
fn spelled(group: &str) -> Result<&str, NotDone> {
    match dn::canonical(group) {
        Some(canonical) if canonical.eq_ignore_ascii_case(group) => Ok(group),
        Some(canonical) => Err(NotDone::Failed(format!("write the group as {canonical}"))),
        None => Err(NotDone::Failed(format!("{group} is no distinguished name"))),
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
                // Gone, or hidden from this login? It is gone if the login can see the entry above.
                let Some(above) = dn::parent(group) else { return Err(no_group(group)) };
                let seen = self.directory.with(|session| session.read(above, &["objectClass"]))?;
                return if seen.is_ok() { Ok(Vec::new()) } else { Err(no_group(group)) };
            }
            Err(result) => return Err(session::not_done(&result)),
        };
        if entry.attrs.keys().any(|name| name.contains(';')) {
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

    /// The login of a member.
    fn login(&mut self, member: &str) -> Result<Option<String>, NotDone> {
        let Some(template) = &self.template else { return Ok(Some(member.to_owned())) };
        match template.login(member) {
            // A group can have another spelling than the entry.
            Some(login) if login.chars().any(char::is_uppercase) => Ok(self.spelling(member)?.or(Some(login))),
            login => Ok(login),
        }
    }

    /// The login as its own entry spells it. None: there is no such entry.
    fn spelling(&mut self, entry: &str) -> Result<Option<String>, NotDone> {
        let Some(template) = &self.template else { return Ok(None) };
        let (attribute, wanted) = (template.attribute().to_owned(), template.login(entry));
        match self.directory.with(|session| session.read(entry, &[&attribute]))? {
            Ok(entry) => {
                let spellings = values(&entry, &attribute);
                let exact = spellings.iter().find(|spelling| wanted.as_ref() == Some(*spelling));
                let same = |spelling: &&String| {
                    wanted.as_ref().is_some_and(|wanted| wanted.to_lowercase() == spelling.to_lowercase())
                };
                Ok(exact.or_else(|| spellings.iter().find(same)).cloned().or(wanted))
            }
            Err(result) if result.rc == code::NO_SUCH_OBJECT => Ok(None),
            Err(result) => Err(session::not_done(&result)),
        }
    }
}

/// The values of an attribute. Its name may come in another case.
fn values(entry: &SearchEntry, attribute: &str) -> Vec<String> {
    let named = |(name, _): &(&String, &Vec<String>)| name.eq_ignore_ascii_case(attribute);
    entry.attrs.iter().find(named).map(|(_, values)| values.clone()).unwrap_or_default()
}

/// The entry itself.
const SELF: Scope = Scope::Base;
