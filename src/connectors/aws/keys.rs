//! Access keys: of a file, or of the role of an EC2 instance.

use std::path::Path;

use serde_json::Value;

use super::signature::AccessKey;
use crate::connectors::NotDone;
use crate::connectors::web::{Website, encode};
use crate::error::{Failure, Kind};
use crate::tls;

pub enum KeySource {
    Known(AccessKey),
    /// To be asked for: the metadata service of the instance.
    InstanceRole(Website),
}

impl KeySource {
    /// The keys of a role last for hours, so a run asks for them once.
    pub fn key(&mut self) -> Result<AccessKey, NotDone> {
        let key = match self {
            KeySource::Known(key) => return Ok(key.clone()),
            KeySource::InstanceRole(metadata) => of_instance(metadata).map_err(|why| match why {
                NotDone::Later(why) => NotDone::Later(format!("instance metadata: {why}")),
                NotDone::Failed(why) => NotDone::Failed(format!("instance metadata: {why}")),
            })?,
        };
        *self = KeySource::Known(key.clone());
        Ok(key)
    }
}

/// Reads a section of a file such as `~/.aws/credentials`.
pub fn read(path: &Path, profile: &str) -> Result<AccessKey, Failure> {
    let text = tls::private(path)?;
    let header = format!("[{profile}]");
    let lines = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    let section: Vec<(&str, &str)> = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let value = |key: &str| section.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(AccessKey { id, secret, session_token: value("aws_session_token") }),
        _ => {
            let why = format!("{}: the section {header} has no access key", path.display());
            Err(Failure::new(Kind::Invalid, why).hint("it needs aws_access_key_id and aws_secret_access_key"))
        }
    }
}

/// How long the token of the metadata service is for, in seconds.
const TOKEN_LIFE: &str = "60";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// IMDSv2: a token by PUT, then the name of the role, then its keys.
fn of_instance(metadata: &mut Website) -> Result<AccessKey, NotDone> {
    let answer = metadata.ask(|agent, base| {
        let request = agent.put(format!("{base}/latest/api/token"));
        request.header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_LIFE).send_empty()
    })?;
    let token = text(answer, "there is no token")?;
    let mut get = |path: &str| {
        metadata.ask(|agent, base| {
            agent.get(format!("{base}{path}")).header("x-aws-ec2-metadata-token", token.trim()).call()
        })
    };
    let roles = text(get(ROLES)?, "this instance has no role")?;
    let role = roles.lines().next().unwrap_or_default().trim();
    let keys = text(get(&format!("{ROLES}{}", encode(role)))?, "the role has no keys")?;
    let keys: Value = serde_json::from_str(&keys).unwrap_or_default();
    let part = |name: &str| keys.get(name).and_then(Value::as_str).map(str::to_owned);
    match (part("AccessKeyId"), part("SecretAccessKey"), part("Token")) {
        (Some(id), Some(secret), Some(token)) => Ok(AccessKey { id, secret, session_token: Some(token) }),
        // For a role that was just attached, or that the instance may not use: `"Code": "AssumeRoleUnauthorizedAccess"`.
        _ => Err(NotDone::Later("the role has no keys yet".to_owned())),
    }
}

fn text((status, text): (u16, String), missing: &str) -> Result<String, NotDone> {
    match status {
        200 if !text.trim().is_empty() => Ok(text),
        200 | 404 => Err(NotDone::Failed(missing.to_owned())),
        429 | 500..=599 => Err(NotDone::Later(format!("it answers {status}"))),
        _ => Err(NotDone::Failed(format!("it answers {status}: it may be turned off"))),
    }
}
