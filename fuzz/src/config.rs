//! The configuration file.

use std::path::Path;

use access::config::parse;
use access::error::Kind;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(Path::new("config.toml"), text) {
        Ok(config) => {
            assert!(toml::from_str::<toml::Table>(text).is_ok(), "it is not TOML");
            for path in config.ssh.iter().flat_map(|ssh| [&ssh.krl, &ssh.ca]) {
                assert!(path.is_absolute(), "{path:?} depends on the folder of the caller");
            }
            for connector in config.connectors.iter().flatten() {
                // It is missing here, which is no panic.
                let _ = connector.program();
            }
            if let Some(log) = &config.log {
                // A URL that is not valid is an error.
                let _ = log.resolve();
            }
        }
        Err(failure) => {
            assert_eq!(failure.kind, Kind::Invalid);
            assert!(failure.message.starts_with("config.toml"), "{}", failure.message);
        }
    }
}
