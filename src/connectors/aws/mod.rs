//! What the connectors for AWS share: keys, signed requests, and retries of throttled calls.

mod client;
mod keys;

use std::path::PathBuf;

use clap::Args;

use self::keys::KeySource;
use super::NotDone;
use super::web::Website;
use crate::domain::text::acts_or_hides;
use crate::error::Failure;

pub use client::{AwsClient, AwsEndpoint};

// (A doc comment here would replace the help of the connectors.)
#[derive(Debug, Args)]
pub struct AwsArgs {
    /// The file with the access key, as the AWS tools write it
    #[arg(long, value_name = "FILE", required_unless_present = "instance_role")]
    pub credentials_file: Option<PathBuf>,
    /// The section of that file
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub profile: String,
    /// Use the role of the EC2 instance that this runs on
    #[arg(long, conflicts_with = "credentials_file")]
    pub instance_role: bool,
    /// The instance metadata service (IMDSv2)
    #[arg(long, value_name = "URL", default_value = "http://169.254.169.254")]
    pub metadata_url: String,
    /// Allow http://
    #[arg(long)]
    pub allow_plain: bool,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl AwsArgs {
    pub fn client(&self, region: &str) -> Result<AwsClient, Failure> {
        let keys = match &self.credentials_file {
            Some(path) => KeySource::Known(keys::read(path, &self.profile)?),
            None => KeySource::InstanceRole(Website::new(&self.metadata_url, true, None)?),
        };
        Ok(AwsClient::new(keys, region.to_owned()))
    }

    /// `service`: its name in signatures.
    pub fn endpoint(&self, service: &'static str, url: &str) -> Result<AwsEndpoint, Failure> {
        let website = Website::new(url, self.allow_plain, self.ca_file.as_deref())?;
        Ok(AwsEndpoint { website, service })
    }
}

/// Why a call failed.
pub enum AwsProblem {
    /// What it names is not there. The text of AWS says what.
    Missing(String),
    NotDone(NotDone),
}

impl AwsProblem {
    /// Where what is missing has to be there.
    pub fn not_done(self) -> NotDone {
        match self {
            AwsProblem::Missing(why) => NotDone::Failed(why),
            AwsProblem::NotDone(why) => why,
        }
    }
}

/// A text of AWS, fit to be shown.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !acts_or_hides(*c)).take(300).collect()
}

/// An error of AWS in words: `AWS says: You may not. (400 AccessDenied)`.
pub fn words(status: u16, code: &str, text: &str) -> String {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(50).collect();
    format!("AWS says: {} ({status} {code})", shown(text))
}
