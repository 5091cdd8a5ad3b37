//! Encrypted connections, and the files that they need: passwords, keys, and certificates to trust.

pub mod certificate;
pub mod postgres;

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Failure, Kind};

/// The longest file: 4 MiB, for a long list of certificates.
const LONGEST: u64 = 4 << 20;

fn invalid(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Invalid, format!("{}: {why}", path.display()))
}

fn open(path: &Path) -> Result<File, Failure> {
    // Opening a named pipe would wait for a writer.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| invalid(path, &error.to_string()))?;
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if regular { Ok(file) } else { Err(invalid(path, "it is not a regular file")) }
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content).map_err(|error| invalid(path, &error.to_string()))?;
    if content.len() as u64 > LONGEST {
        return Err(invalid(path, &format!("it is longer than {LONGEST} bytes")));
    }
    Ok(content)
}

/// The text of a file that only its owner may read.
pub fn private(path: &Path) -> Result<String, Failure> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(|error| invalid(path, &error.to_string()))?;
    if metadata.uid() != geteuid().as_raw() && metadata.uid() != 0 {
        return Err(invalid(path, "it belongs to another user").hint("make it yours, or root's"));
    }
    if metadata.mode() & 0o077 != 0 {
        let why = format!("others can read or write it (mode {:04o}), so it is not secret", metadata.mode() & 0o777);
        return Err(invalid(path, &why).hint(format!("chmod 600 {}, and replace the secret", path.display())));
    }
    String::from_utf8(read(path, file)?).map_err(|_| invalid(path, "it is not text in UTF-8"))
}

/// A password or token: the only line of a private file.
pub fn secret(path: &Path) -> Result<String, Failure> {
    let text = private(path)?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(invalid(path, "it does not hold one line of text"));
    }
    Ok(text.to_owned())
}

/// The trusted certificates: those in the file, or the system's.
pub fn trusted(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    ca_file.map_or_else(|| Ok(rustls_native_certs::load_native_certs().certs), certificates)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = read(path, open(path)?)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(invalid(path, "it holds no certificates (PEM)")),
    }
}

/// The files with the certificate that shows who this program is, and its key.
pub struct ClientCertificate<'p> {
    pub certificate: &'p Path,
    pub key: &'p Path,
}

/// Encrypts, and checks that the server has a certificate for its name from a trusted authority.
pub fn client_config(ca_file: Option<&Path>, own: Option<ClientCertificate<'_>>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    // The system's list may have certificates that this library does not accept.
    let (added, _) = roots.add_parsable_certificates(trusted(ca_file)?);
    if let (0, Some(path)) = (added, ca_file) {
        return Err(invalid(path, "none of its certificates can be used"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let builder = builder.with_root_certificates(roots);
    let Some(ClientCertificate { certificate, key }) = own else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let parsed = PrivateKeyDer::from_pem_slice(private(key)?.as_bytes());
    let parsed = parsed.map_err(|_| invalid(key, "it holds no private key (PEM)"))?;
    let config = builder.with_client_auth_cert(certificates(certificate)?, parsed);
    Ok(Arc::new(config.map_err(|error| invalid(certificate, &format!("it can't be used with its key: {error}")))?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " hunter2 \n").unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret(&path).is_ok_and(|secret| secret == "hunter2"), accepted, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for content in ["", "\n", "two\nlines", "nul\0"] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(secret(&path).is_err(), "{content:?}");
        }
        assert!(secret(folder.path()).is_err());
        assert!(secret(&folder.path().join("missing")).is_err());
        assert!(trusted(Some(&path)).is_err());
    }
}
