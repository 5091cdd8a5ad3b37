//! How HTTP clients are opened: for deliveries, and for connectors.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A client that trusts these authorities only. `limit`: how long a request may take, unless it says so itself.
pub fn open(trusted: &[CertificateDer<'static>], limit: Option<Duration>) -> Agent {
    let trusted: Vec<_> = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(trusted)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // Redirects are not followed: they could lead anywhere, with the secret.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("access")
        // By default the library takes one from the environment.
        .proxy(None)
        .timeout_global(limit)
        .tls_config(tls);
    config.build().into()
}
