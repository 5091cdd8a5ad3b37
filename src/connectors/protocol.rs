//! What the reconciler and a connector say to each other: JSON, one object a line. docs/connectors.md describes it.

use serde::{Deserialize, Serialize};

use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// One line on the connector's standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Who holds these parameters now? Each element is the parameters of one binding.
    List {
        parameters: Vec<Parameters>,
    },
    Grant(Provision),
    Revoke(Provision),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    pub login: Login,
    pub parameters: Parameters,
    /// The request that gives it. None: baseline access.
    pub request: Option<RequestId>,
    /// When access ends. None: permanent.
    pub until: Option<Timestamp>,
    /// Whether a revoke ends open sessions too.
    #[serde(default)]
    pub end_sessions: bool,
    /// The same for each try of the same act.
    pub key: String,
}

/// One line on its standard output, in the order of the operations. A `grant` or `revoke` needs no line if the exit status
/// says enough: 0 done, 75 try later, anything else failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorAnswer {
    /// `{"holds":[{"login":"bob","parameters":{"group":"docker"}}]}`
    Holds(Vec<Holder>),
    /// `{"done":{}}`
    Done {
        /// What the act does not reach, such as open sessions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// A `grant` changed nothing, because the login had it already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        was_there: bool,
    },
    /// `{"later":"the server is restarting"}`
    Later(String),
    /// `{"failed":"there is no role orders_rw"}`
    Failed(String),
}

impl ConnectorAnswer {
    pub fn done() -> ConnectorAnswer {
        ConnectorAnswer::Done { note: None, was_there: false }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub login: Login,
    pub parameters: Parameters,
}
