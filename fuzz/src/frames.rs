//! Frames of the socket: what a client sends, and what a server answers.

use std::io::Cursor;

use access::error::Kind;
use access::frame::{self, Answer, Broken};
use access::server::{Sent, read_call};
use access::service;
use access::service::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::shaped::Shaped;

/// The calls whose fields and answers are read. `tests/fuzz.rs` compares them with those of the service.
macro_rules! calls {
    ($($call:ident)+) => {
        pub const CALLS: &[&str] = &[$(stringify!($call)),+];

        fn each_call(name: &str, fields: &Value) {
            $(if name == <service::$call as Call>::NAME {
                stays::<service::$call>(fields);
            })+
        }

        /// The first byte says whose answer it is, as a client knows.
        fn answers(data: &[u8]) {
            let Some((which, body)) = data.split_first() else { return };
            let readers: &[fn(&[u8])] = &[$(answer::<service::$call>),+];
            readers[usize::from(*which) % readers.len()](body);
        }

        /// Calls and answers whose shape their types say. The first two bytes say which.
        pub fn shapes(data: &[u8]) {
            let Some(([which, kind], rest)) = data.split_first_chunk() else { return };
            let readers: &[[fn(&[u8]); 2]] =
                &[$([shaped::<service::$call>, shaped::<Answer<<service::$call as Call>::Row, <service::$call as Call>::Reply>>]),+];
            readers[usize::from(*which) % readers.len()][usize::from(*kind) % 2](rest);
        }
    };
}

calls! {
    AcceptClock ApprovalToSign Approve Audit AuditCheckpoint AuditConsistency
    AuditExport AuditExportRaw AuditProve AuditSignature AuditVerify Backup
    CancelRecertification Check CheckpointKeys CloseSessions CompareCheckpoint Complete DecideItem
    Deliver Deny DesiredAccess Doctor EditRequest Expire
    Extend FetchJournal Find HasRequests HolderOfKey Holdings HostsBehind
    Inbox IssueCertificate JudgeSessions LeaseConnector List LogPosition
    MarkRead Needs NeedsToExtend NotifyTest OpenSession OpenSessions
    Outbox OutboxDiscard OutboxRetry PeriodReport Prefer Preferences
    Principals PublishJournal Queue Recertifications RecordProvisioning ReleaseConnector
    ReplaceOwner Resources ReviewEmergency Revoke RevokeMember RevokedCertificates
    RotateCheckpointKey Show ShowRecertification StartRecertification StillHeld SubmitRequest
    TakeCheckpoint TeamApply TeamShow Unread Who Whoami
    Withdraw
}

pub fn check(data: &[u8]) {
    frames(data);
    answers(data);
    let mut sent = frame::GREETING.to_vec();
    frame::write(&mut sent, data).unwrap();
    // Whatever a client sends is a call, or refused.
    for bytes in [data, &sent] {
        match read_call(Cursor::new(bytes), 1 << 12) {
            Ok(None) => assert!(bytes.is_empty()),
            Ok(Some(Sent { name, fields, rest })) => {
                assert!(bytes.starts_with(&frame::GREETING) && rest.position() <= bytes.len() as u64);
                each_call(&name, &fields);
            }
            Err(failure) => assert_eq!(failure.kind, Kind::Refused, "{}", failure.message),
        }
    }
}

fn frames(data: &[u8]) {
    for most in [0, 7, 1 << 12] {
        let mut from = Cursor::new(data);
        let length = data.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
        match (frame::read(&mut from, most), length) {
            (Ok(body), Some(length)) => {
                assert!(body.len() == length && length <= most && body == data[4..4 + length]);
                let mut again = Vec::new();
                frame::write(&mut again, &body).unwrap();
                assert_eq!(again, data[..4 + length]);
            }
            (Err(Broken::TooLong), Some(length)) => assert!(length > most),
            (Err(Broken::Half), Some(length)) => assert!(data.len() - 4 < length && length <= most),
            (Err(Broken::Half), None) => assert!((1..4).contains(&data.len())),
            (Err(Broken::Nothing), None) => assert!(data.is_empty()),
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// What a value means, it means again after it was sent on.
fn stays<T: Serialize + DeserializeOwned>(value: &Value) {
    if let Ok(read) = serde_json::from_value::<T>(value.clone()) {
        is_kept(&read);
    }
}

fn shaped<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(read) = T::deserialize(&mut Shaped::new(bytes)) {
        is_kept(&read);
    }
}

fn is_kept<T: Serialize + DeserializeOwned>(value: &T) {
    let sent = serde_json::to_value(value).unwrap();
    let again: T = serde_json::from_value(sent.clone()).unwrap_or_else(|why| panic!("{why}: {sent}"));
    assert_eq!(serde_json::to_value(&again).unwrap(), sent);
}

fn answer<C: Call>(body: &[u8]) {
    if let Ok(value) = serde_json::from_slice(body) {
        stays::<Answer<C::Row, C::Reply>>(&value);
    }
}
