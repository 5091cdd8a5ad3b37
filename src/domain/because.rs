//! Why access or a request ended before its time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::recertification::ItemId;
use super::resource::Resource;
use super::terms::RequestId;
use super::time::Timestamp;

/// Why a request was withdrawn or a grant revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Somebody asked for it.
    Asked,
    /// The team file no longer has the member it was for, or has disabled them.
    MemberGone,
    /// The team file no longer has the member who filed it.
    FilerGone,
    /// The team file no longer has this.
    Gone(Resource),
    /// The grant that it extends, of this request, was revoked.
    Fell(RequestId),
    /// It was filed or granted while the clock was ahead of this time, which was then accepted as the right one.
    ClockAccepted(Timestamp),
    /// A review of what people hold did not keep it: a reviewer revoked it, or nobody decided until the due time.
    NotKept(ItemId),
    /// By the rules and the team that were applied, this grant would not be given. The text says why; it is bounded.
    NoLongerGiven(String),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Asked => f.write_str("as asked"),
            Because::MemberGone => f.write_str("the member was removed or disabled, or has another login"),
            Because::FilerGone => f.write_str("the member who filed it was removed, or has another login"),
            Because::Gone(resource) => write!(f, "{resource} was removed from the team"),
            Because::Fell(request) => write!(f, "the grant that it extends, {request}, was revoked"),
            Because::ClockAccepted(time) => {
                write!(f, "the clock was ahead when it was made; {time} was accepted instead")
            }
            Because::NotKept(item) => write!(f, "it was not kept in a recertification (item {item})"),
            Because::NoLongerGiven(why) => write!(f, "the team file no longer gives it: {why}"),
        }
    }
}
