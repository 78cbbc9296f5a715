use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::*;
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::endpoint::Location;
use crate::fdi::observer::{Operation, RequestObserver};
use crate::fdi::rate_limit::RequestLimiter;

struct Nobody;

impl RequestObserver for Nobody {
    fn request(&self, _: Operation, _: &'static str, _: Duration, _: Duration) {}
}

/// An authority and its PEM certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// The address of a server with a certificate of `authority` for `name`. It answers every request
/// with an empty list.
fn serve(authority: &Authority, name: &str, last_year: i32, versions: &[&'static SupportedProtocolVersion]) -> String {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            let mut request = [0; 4096];
            // A client that does not trust the server ends the handshake here.
            if tls.read(&mut request).is_ok() {
                let body = r#"{"total":0,"entities":[]}"#;
                let _ =
                    write!(tls, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            }
        }
    });
    address
}

async fn list(address: &str, ca_bundle: Option<&str>) -> Result<usize, CallError> {
    let fdi = Fdi::new(FdiConfig { allow_insecure: true, ..FdiConfig::default() }).unwrap();
    let connection = Connection {
        location: Location::Endpoint(format!("https://{address}")),
        project_id: "p".into(),
        instance_id: "i".into(),
        iam_endpoint: None,
        ca_bundle: ca_bundle.map(Into::into),
    };
    let limits = Arc::new(RequestLimiter::new(10, 2));
    Ok(fdi.connect(&connection, SignIn::Token("t".into()), &limits, Arc::new(Nobody))?.list().await?.len())
}

async fn refused(address: &str, ca_bundle: Option<&str>) -> (String, String) {
    let error = list(address, ca_bundle).await.unwrap_err();
    assert_eq!((error.class, error.cause), (Class::Config, Cause::TlsFailed), "{error:?}");
    assert!(error.message.ends_with('.'), "{}", error.message);
    (error.code, error.message)
}

#[tokio::test]
async fn a_bundle_adds_its_authority_for_tls_1_2_and_1_3() {
    let authority = authority();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let address = serve(&authority, "127.0.0.1", 2099, versions);
        assert_eq!(list(&address, Some(&authority.pem)).await, Ok(0));
    }
    let many = format!("{}{}", self::authority().pem, authority.pem);
    let address = serve(&authority, "127.0.0.1", 2099, rustls::ALL_VERSIONS);
    assert_eq!(list(&address, Some(&many)).await, Ok(0), "any certificate of the bundle counts");
}

#[tokio::test]
async fn each_invalid_certificate_has_its_message() {
    let (ours, other) = (authority(), authority());
    let good = serve(&ours, "127.0.0.1", 2099, rustls::ALL_VERSIONS);
    let (code, message) = refused(&good, Some(&other.pem)).await;
    assert_eq!(code, "CertificateNotTrusted");
    assert!(message.contains(&good) && message.contains("caBundle"), "{message}");
    assert_eq!(refused(&good, None).await.0, "CertificateNotTrusted");
    let expired = serve(&ours, "127.0.0.1", 2001, rustls::ALL_VERSIONS);
    assert_eq!(refused(&expired, Some(&ours.pem)).await.0, "CertificateExpired");
    let another = serve(&ours, "roma.example.com", 2099, rustls::ALL_VERSIONS);
    assert_eq!(refused(&another, Some(&ours.pem)).await.0, "CertificateForAnotherName");
}

#[tokio::test]
async fn a_bundle_that_is_no_certificate_says_so_before_anything_is_sent() {
    let truncated = authority().pem.replace("-----END CERTIFICATE-----", "");
    for bundle in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", &truncated] {
        assert_eq!(refused("127.0.0.1:1", Some(bundle)).await.0, "BadCaBundle", "{bundle}");
    }
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused("127.0.0.1:1", Some(no_der)).await.0, "BadTrust");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(refused(&address, None).await.0, "NotTls");
}

#[test]
fn instances_share_a_client_unless_their_bundles_differ_and_few_are_kept() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clients = Clients::new(ClientSettings {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        user_agent: "test".into(),
    });
    let made = || clients.made.lock().len();
    let bundle = authority().pem;
    for _ in 0..3 {
        clients.client(None).unwrap();
        clients.client(Some(&bundle)).unwrap();
    }
    assert_eq!(made(), 2);
    for index in 0..CLIENTS_MAX + 5 {
        clients.client(Some(&format!("{bundle}\n# {index}"))).unwrap();
    }
    assert_eq!(made(), CLIENTS_MAX + 1);
    assert!(clients.made.lock().iter().any(|(bundle, _)| bundle.is_none()), "the shared client stays");
}
