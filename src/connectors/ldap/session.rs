//! The connection to the directory, and what its errors mean.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::exop::Exop;
use ldap3::result::ExopResult;
use ldap3::{LdapConn, LdapConnSettings, LdapError, LdapResult, Mod, ResultEntry, Scope, SearchEntry};
use rustls::ClientConfig;

use super::code;
use super::entries::REFRESH;
use crate::connectors::NotDone;
use crate::error::{Failure, Kind};

/// How long the directory may take for an answer, or for the next entry.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a whole search may take.
const SEARCH: Duration = Duration::from_secs(30);
/// The most entries of a search.
const ENTRIES: usize = 100_000;

pub struct Url {
    text: String,
    starttls: bool,
    pub is_encrypted: bool,
    /// A socket of this machine.
    pub is_local: bool,
}

impl Url {
    pub fn check(text: &str, starttls: bool, allow_plain: bool) -> Result<Url, Failure> {
        // The URL is not repeated: it may have a password, and members read this.
        let usage = |why: &str| Err(Failure::new(Kind::Usage, format!("--url {why}")));
        let Some((scheme, rest)) = text.split_once("://") else { return usage("is not valid") };
        if rest.split(['/', ':']).next().is_none_or(str::is_empty) {
            return usage("names no host");
        }
        if rest.contains('@') {
            return usage("has a user: use --bind-dn and --password-file");
        }
        let (is_encrypted, is_local) = match scheme {
            "ldaps" => (true, false),
            "ldapi" => (false, true),
            "ldap" if starttls || allow_plain => (starttls, false),
            "ldap" => return usage("is not encrypted (--starttls)"),
            _ => return usage("begins with ldaps://, ldap:// or ldapi://"),
        };
        if starttls && scheme != "ldap" {
            return usage("does not go with --starttls");
        }
        Ok(Url { text: text.to_owned(), starttls, is_encrypted, is_local })
    }
}

/// Opens sessions.
pub struct Directory {
    url: Url,
    tls: Option<Arc<ClientConfig>>,
    /// Who logs in, with which password. None: by SASL EXTERNAL.
    bind: Option<(String, String)>,
    session: Option<LdapSession>,
    /// Set when no connection was possible. The other operations of this run then do not try for as long again.
    down: Option<NotDone>,
}

pub struct LdapSession(LdapConn);

impl LdapSession {
    pub fn modify(&mut self, dn: &str, changes: Vec<Mod<String>>) -> Result<LdapResult, LdapError> {
        self.0.with_timeout(LIMIT).modify(dn, changes)
    }

    /// Reads one entry, or returns the result that says why not.
    pub fn read(&mut self, dn: &str, attributes: &[&str]) -> Result<Result<SearchEntry, LdapResult>, LdapError> {
        let (entries, mut result) = self.search(dn, Scope::Base, attributes)?;
        let entry = entries.into_iter().next().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        if let (Some(entry), code::SUCCESS) = (entry, result.rc) {
            return Ok(Ok(SearchEntry::construct(entry)));
        }
        if result.rc == code::SUCCESS {
            // Hidden from this login.
            result.rc = code::NO_SUCH_OBJECT;
        }
        Ok(Err(result))
    }

    /// The entries right below one, or the result that says why not.
    pub fn children(&mut self, dn: &str, attribute: &str) -> Result<Result<Vec<SearchEntry>, LdapResult>, LdapError> {
        let (entries, result) = self.search(dn, Scope::OneLevel, &[attribute])?;
        if result.rc != code::SUCCESS {
            return Ok(Err(result));
        }
        let real = entries.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(Ok(real.map(SearchEntry::construct).collect()))
    }

    /// A search that ends, whatever the server sends.
    fn search(
        &mut self,
        dn: &str,
        scope: Scope,
        attributes: &[&str],
    ) -> Result<(Vec<ResultEntry>, LdapResult), LdapError> {
        let until = Instant::now() + SEARCH;
        let mut found = self.0.with_timeout(LIMIT).streaming_search(dn, scope, "(objectClass=*)", attributes)?;
        let mut entries = Vec::new();
        while let Some(entry) = found.next()? {
            if Instant::now() > until {
                return Err(std::io::Error::from(ErrorKind::TimedOut).into());
            }
            if entries.len() >= ENTRIES {
                let text = format!("it sends more than {ENTRIES} entries");
                return Ok((Vec::new(), LdapResult { rc: code::SIZE_LIMIT_EXCEEDED, text, ..found.result() }));
            }
            entries.push(entry);
        }
        Ok((entries, found.result()))
    }

    pub fn add(&mut self, dn: &str, attributes: Vec<(String, HashSet<String>)>) -> Result<LdapResult, LdapError> {
        self.0.with_timeout(LIMIT).add(dn, attributes)
    }

    pub fn delete(&mut self, dn: &str) -> Result<LdapResult, LdapError> {
        self.0.with_timeout(LIMIT).delete(dn)
    }

    /// Sets the time to live of an entry, in seconds (RFC 2589). Returns what the directory set.
    pub fn refresh(&mut self, dn: &str, ttl: i32) -> Result<Result<i32, LdapResult>, LdapError> {
        let request = Exop { name: Some(REFRESH.to_owned()), val: Some(refresh_request(dn, ttl)) };
        let ExopResult(answer, result) = self.0.with_timeout(LIMIT).extended(request)?;
        if result.rc != code::SUCCESS {
            return Ok(Err(result));
        }
        Ok(answer.val.and_then(|value| refresh_answer(&value)).ok_or(result))
    }
}

/// `SEQUENCE { entryName [0] LDAPDN, requestTtl [1] INTEGER }`, in BER.
fn refresh_request(dn: &str, ttl: i32) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&[tag, 0x84], &length[..], content].concat()
    };
    element(0x30, &[element(0x80, dn.as_bytes()), element(0x81, &ttl.to_be_bytes())].concat())
}

/// `SEQUENCE { responseTtl [1] INTEGER }`. None: it is not valid.
fn refresh_answer(value: &[u8]) -> Option<i32> {
    let (sequence, content) = value.split_first_chunk::<2>()?;
    let (integer, digits) = content.split_first_chunk::<2>()?;
    let is_whole = usize::from(sequence[1]) == content.len() && usize::from(integer[1]) == digits.len();
    if sequence[0] != 0x30 || integer[0] != 0x81 || !is_whole || !(1..=4).contains(&digits.len()) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| (number << 8) | i32::from(*digit)))
}

impl Directory {
    pub fn new(url: Url, tls: Option<Arc<ClientConfig>>, bind: Option<(String, String)>) -> Directory {
        Directory { url, tls, bind, session: None, down: None }
    }

    /// Does the work, which is the same if it is done twice: if the server ends the session meanwhile, a second time.
    pub fn with<T>(&mut self, work: impl Fn(&mut LdapSession) -> Result<T, LdapError>) -> Result<T, NotDone> {
        let mut again = self.session.is_some();
        let mut lost = false;
        loop {
            let mut session = self.session().map_err(|why| if lost { why.later() } else { why })?;
            match work(&mut session) {
                Ok(done) => {
                    self.session = Some(session);
                    return Ok(done);
                }
                // The session is of no use any more. A server that does not answer in time is not asked again.
                Err(error) if again && !is_slow(&error) => (again, lost) = (false, true),
                Err(error) => {
                    // The request was sent, and may have had its effect.
                    let why = unreachable(&error).later();
                    if is_slow(&error) {
                        self.down = Some(why.clone());
                    }
                    return Err(why);
                }
            }
        }
    }

    fn session(&mut self) -> Result<LdapSession, NotDone> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        self.open().inspect_err(|why| self.down = Some(why.clone()))
    }

    fn open(&self) -> Result<LdapSession, NotDone> {
        let mut settings = LdapConnSettings::new().set_conn_timeout(LIMIT).set_starttls(self.url.starttls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let opened = LdapConn::with_settings(settings, &self.url.text);
        let mut connection = opened.map_err(|error| unreachable(&error))?;
        connection.with_timeout(LIMIT);
        let bound = match &self.bind {
            Some((dn, password)) => connection.simple_bind(dn, password),
            None => connection.sasl_external_bind(),
        };
        let bound = bound.map_err(|error| unreachable(&error))?;
        if bound.rc == code::SUCCESS { Ok(LdapSession(connection)) } else { Err(not_done(&bound)) }
    }
}

/// No answer came in time, or no end of it.
fn is_slow(error: &LdapError) -> bool {
    match error {
        LdapError::Timeout { .. } => true,
        LdapError::Io { source } => source.kind() == ErrorKind::TimedOut,
        _ => false,
    }
}

/// The connection failed.
fn unreachable(error: &LdapError) -> NotDone {
    let lasting = match error {
        LdapError::LdapResult { result } => return not_done(result),
        LdapError::Io { source } => {
            // A certificate that is not trusted is invalid data.
            use ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
            [InvalidData, InvalidInput, PermissionDenied, Unsupported].contains(&source.kind())
        }
        LdapError::OpSend { .. }
        | LdapError::ResultRecv { .. }
        | LdapError::IdScrubSend { .. }
        | LdapError::MiscSend { .. }
        | LdapError::Timeout { .. }
        | LdapError::EndOfStream => false,
        _ => true,
    };
    let text = match error {
        error if is_slow(error) => "the directory does not answer in time".to_owned(),
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            "the directory closed the connection".to_owned()
        }
        error => format!("the directory can't be reached: {error}"),
    };
    if lasting { NotDone::Failed(text) } else { NotDone::Later(text) }
}

/// The directory refused.
pub fn not_done(result: &LdapResult) -> NotDone {
    let text = match result.rc {
        10 => "the directory refers to another server: name that one in --url".to_owned(),
        49 => "the directory does not accept the login of this connector (49, invalidCredentials)".to_owned(),
        50 => "the login of this connector may not do this (50, insufficientAccessRights)".to_owned(),
        _ => format!("the directory says: {result}"),
    };
    // Time limit, busy, unavailable.
    if [3, 51, 52].contains(&result.rc) { NotDone::Later(text) } else { NotDone::Failed(text) }
}
