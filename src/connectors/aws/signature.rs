//! Signatures of requests to AWS (Signature Version 4). Connectors only post to the root of a service.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use ureq::http::Uri;

use crate::connectors::web::encode;
use crate::domain::audit::hex;

/// It has no `Debug`, so that no message shows the secret.
#[derive(Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
    /// Of temporary keys.
    pub session_token: Option<String>,
}

pub struct Post<'p> {
    pub uri: &'p Uri,
    pub region: &'p str,
    pub service: &'p str,
    /// With names in lower case.
    pub headers: &'p [(&'p str, &'p str)],
    pub body: &'p str,
    /// As `20261124T090000Z`.
    pub time: &'p str,
}

impl AccessKey {
    /// The headers that the signature adds to a request.
    pub fn sign(&self, post: &Post<'_>) -> Vec<(&'static str, String)> {
        let mut added = vec![("x-amz-date", post.time.to_owned())];
        added.extend(self.session_token.clone().map(|token| ("x-amz-security-token", token)));
        let host = host(post.uri);
        let mut headers: BTreeMap<&str, &str> = post.headers.iter().copied().collect();
        headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
        headers.insert("host", &host);

        let names = headers.keys().copied().collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let path = post.uri.path().split('/').map(encode).collect::<Vec<_>>().join("/");
        let request = format!("POST\n{path}\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(post.body)));

        let day = &post.time[..post.time.len().min(8)];
        let scope = [day, post.region, post.service, "aws4_request"];
        let key = scope.iter().fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| hmac(&key, part));
        let scope = scope.join("/");
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", post.time, hex(&Sha256::digest(request)));
        let signature = hex(&hmac(&key, &text));
        let id = &self.id;
        added.push((
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
        ));
        added
    }
}

/// As the HTTP client sends it: with the port, unless the scheme implies it.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port_u16()) {
        (_, None) | (Some("https"), Some(443)) | (Some("http"), Some(80)) => host.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two are of the test suite that AWS published, the others are botocore's.
    #[test]
    fn signatures_are_those_of_aws() {
        let signature = |uri: &str, headers: &[(&str, &str)], body: &str, token: Option<&str>| {
            let key = AccessKey {
                id: "AKIDEXAMPLE".to_owned(),
                secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                session_token: token.map(str::to_owned),
            };
            let uri: Uri = uri.parse().unwrap();
            let time = "20150830T123600Z";
            let added = key.sign(&Post { uri: &uri, region: "us-east-1", service: "service", headers, body, time });
            let of = |name: &str| added.iter().find(|header| header.0 == name).map(|header| header.1.as_str());
            assert_eq!(of("x-amz-security-token"), token);
            assert_eq!(of("x-amz-date"), Some(time));
            let text = of("authorization").unwrap();
            assert!(text.starts_with(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
            ));
            text.rsplit_once('=').unwrap().1.to_owned()
        };
        let (url, form) = ("https://example.amazonaws.com/", ("content-type", "application/x-www-form-urlencoded"));
        assert_eq!(signature(url, &[], "", None), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
        assert_eq!(
            signature(url, &[form], "Param1=value1", None),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        let headers = [("x-amz-target", "AWSIdentityStore.ListUsers"), ("content-type", "application/x-amz-json-1.1")];
        assert_eq!(
            signature("https://example.amazonaws.com:443/a%20b/", &headers, r#"{"x":"é"}"#, Some("the/token==")),
            "be37dfd013d59643b1b8d28158ea715caf1a08246d3af2cf8b44df9af6e387ba"
        );
        assert_eq!(
            signature("http://127.0.0.1:8080/", &headers, r#"{"x":"é"}"#, Some("the/token==")),
            "4faef28e1b66e3d0b230a8c78a118990c0681322c86f09e26267dedb8ba90332"
        );
    }
}
