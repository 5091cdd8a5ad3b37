//! What can be asked for, written `kind:name`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::role::Role;
use super::{Malformed, read_by_parsing};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    Connection,
    Target,
    Feature,
    Scope,
    Role,
}

impl ResourceKind {
    pub const ALL: [ResourceKind; 5] = [
        ResourceKind::Connection,
        ResourceKind::Target,
        ResourceKind::Feature,
        ResourceKind::Scope,
        ResourceKind::Role,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::Connection => "connection",
            ResourceKind::Target => "target",
            ResourceKind::Feature => "feature",
            ResourceKind::Scope => "scope",
            ResourceKind::Role => "role",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ResourceKind {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ResourceKind, Malformed> {
        ResourceKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Malformed::new("a kind is one of connection, target, feature, scope, role"))
    }
}

/// `role:owner` is a resource that can be named, and one that is always refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Connection(Name),
    Target(Name),
    Feature(Name),
    Scope(Name),
    Role(Role),
}

impl Resource {
    pub fn kind(&self) -> ResourceKind {
        match self {
            Resource::Connection(_) => ResourceKind::Connection,
            Resource::Target(_) => ResourceKind::Target,
            Resource::Feature(_) => ResourceKind::Feature,
            Resource::Scope(_) => ResourceKind::Scope,
            Resource::Role(_) => ResourceKind::Role,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Resource::Connection(name) | Resource::Target(name) | Resource::Feature(name) | Resource::Scope(name) => {
                name.as_str()
            }
            Resource::Role(role) => role.as_str(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        f.write_str(":")?;
        f.write_str(self.name())
    }
}

impl FromStr for Resource {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Resource, Malformed> {
        let (kind, name) = text
            .split_once(':')
            .ok_or_else(|| Malformed::new("a resource is written kind:name, like connection:prod-aws"))?;
        Ok(match kind.parse()? {
            ResourceKind::Connection => Resource::Connection(name.parse()?),
            ResourceKind::Target => Resource::Target(name.parse()?),
            ResourceKind::Feature => Resource::Feature(name.parse()?),
            ResourceKind::Scope => Resource::Scope(name.parse()?),
            ResourceKind::Role => Resource::Role(name.parse()?),
        })
    }
}

read_by_parsing!(Resource);

/// What a person types to name a resource: `kind:name`, or the name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceOrName {
    Resource(Resource),
    Name(Name),
}

impl FromStr for ResourceOrName {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ResourceOrName, Malformed> {
        let name = if text.contains(':') { None } else { text.parse().ok() };
        match name {
            Some(name) => Ok(ResourceOrName::Name(name)),
            None => text.parse().map(ResourceOrName::Resource),
        }
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_kind_and_name() {
        for text in ["connection:prod-aws", "target:orders-db", "feature:x", "scope:y", "role:admin", "role:owner"] {
            assert_eq!(text.parse::<Resource>().unwrap().to_string(), text);
        }
        for text in ["prod-aws", "role:root", "host:x", "connection:", "connection:A", "target:a:b", ":x", ""] {
            assert!(text.parse::<Resource>().is_err(), "{text}");
        }
    }
}
