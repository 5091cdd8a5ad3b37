//! SSH keys, and the words of a command that a member gives over SSH.

use access::commands::ssh::words::words;
use access::domain::ssh_key::{KeyFingerprint, SshKey};
use access::domain::ssh_signature::SshSignature;
use access::domain::text::is_hostile;

use super::reads_back;

/// The key that signed the text `terms` of the seeds, for the namespace of approvals.
const SIGNER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL8YzYNhlkad8aR8EPNazOmHfic6JXulkND1Khx/MvQ7";

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(key) = reads_back::<SshKey>(text) {
        assert!(!key.as_str().contains(is_hostile), "{key} is a part of a file of one key a line");
        let parts: Vec<&str> = key.as_str().splitn(3, ' ').collect();
        assert_eq!(key.blob(), parts[1]);
        assert_eq!(key.without_comment(), format!("{} {}", parts[0], parts[1]));
        assert!(!parts[0].contains(['"', ',', '=', '\\']), "options of sshd");
        let without: SshKey = key.without_comment().parse().unwrap();
        assert_eq!(without.fingerprint(), key.fingerprint(), "a comment makes no other key");
    }
    reads_back::<KeyFingerprint>(text);
    if let Some(signature) = reads_back::<SshSignature>(text) {
        assert_eq!(signature.armored().parse().as_ref(), Ok(&signature));
        let key: SshKey = SIGNER.parse().unwrap();
        let signs = |namespace: &str, terms: &str| signature.verify([&key], namespace, terms).is_ok();
        assert!(!signs("access-approval", "other terms\n") && !signs("file", "terms\n"), "nobody signed that");
    }
    if let Ok(read) = words(text) {
        let single: Vec<String> = read.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        assert_eq!(words(&single.join(" ")).as_ref(), Ok(&read), "in single quotes");
        let escape = |c: char| if "\"\\$`".contains(c) { format!("\\{c}") } else { c.to_string() };
        let double = |word: &String| format!("\"{}\"", word.chars().map(escape).collect::<String>());
        let double: Vec<String> = read.iter().map(double).collect();
        assert_eq!(words(&double.join("\t")), Ok(read), "in double quotes");
    }
}
