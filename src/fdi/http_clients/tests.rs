use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use futures::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ConfigBuilder, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, WantsVerifier};

use super::*;
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::endpoint::{AllowList, Location};
use crate::fdi::error::{Cause, Class};
use crate::fdi::observer::{Operation, RequestObserver};
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::resolver;
use crate::fdi::task::Attributes;
use crate::fdi::tests::scripted_server::{Does, Server, http};

const TLS12: Versions = &[&rustls::version::TLS12];
const TLS13: Versions = &[&rustls::version::TLS13];

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

/// The parameters of a good server certificate for `name`.
fn good(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// How a server speaks TLS, given its chain and key.
type Configure = fn(
    ConfigBuilder<ServerConfig, WantsVerifier>,
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
) -> ServerConfig;

fn plainly(
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

/// The address of a server with a certificate of `authority`. It answers every request with an
/// empty list.
fn serve(authority: &Authority, params: &CertificateParams, versions: Versions, configure: Configure) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = Arc::new(configure(builder, vec![certificate.der().clone()], key));
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

type Versions = &'static [&'static SupportedProtocolVersion];

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
    Ok(fdi
        .connect(&connection, SignIn::Token("t".into()), &limits, Arc::new(Nobody))?
        .list(Attributes::Omit, None)
        .await?
        .len())
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
    for versions in [TLS12, TLS13] {
        let address = serve(&authority, &good("127.0.0.1"), versions, plainly);
        assert_eq!(list(&address, Some(&authority.pem)).await, Ok(0));
    }
    let many = format!("{}{}", self::authority().pem, authority.pem);
    let address = serve(&authority, &good("127.0.0.1"), rustls::ALL_VERSIONS, plainly);
    assert_eq!(list(&address, Some(&many)).await, Ok(0), "any certificate of the bundle counts");
}

#[tokio::test]
async fn each_invalid_certificate_has_its_message() {
    let (ours, other) = (authority(), authority());
    let trusted = serve(&ours, &good("127.0.0.1"), rustls::ALL_VERSIONS, plainly);
    let (code, message) = refused(&trusted, Some(&other.pem)).await;
    assert_eq!(code, "CertificateNotTrusted");
    assert!(message.contains(&trusted) && message.contains("caBundle"), "{message}");
    assert_eq!(refused(&trusted, None).await.0, "CertificateNotTrusted");
    let changed = |change: fn(&mut CertificateParams)| {
        let mut params = good("127.0.0.1");
        change(&mut params);
        params
    };
    let expired = changed(|params| params.not_after = date_time_ymd(2001, 1, 1));
    let not_yet = changed(|params| params.not_before = date_time_ymd(2098, 1, 1));
    let for_clients = changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let of_an_authority = changed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for (params, code, advice) in [
        (expired, "CertificateExpired", "renewed"),
        (not_yet, "CertificateNotValidYet", "clock"),
        (good("roma.example.com"), "CertificateForAnotherName", "host name"),
        (CertificateParams::default(), "CertificateWithoutName", "subjectAltName"),
        (for_clients, "CertificateForAnotherPurpose", "serverAuth"),
        (of_an_authority, "CertificateOfAnAuthority", "CA:TRUE"),
    ] {
        let server = serve(&ours, &params, rustls::ALL_VERSIONS, plainly);
        let (found, message) = refused(&server, Some(&ours.pem)).await;
        assert_eq!(found, code);
        assert!(message.contains(advice), "{message}");
    }
}

/// Demands a certificate of a client.
fn demanding(
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority().pem.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(rustls::crypto::ring::default_provider()),
    );
    builder.with_client_cert_verifier(verifier.build().unwrap()).with_single_cert(chain, key).unwrap()
}

#[tokio::test]
async fn a_demanded_client_certificate_is_named_with_each_version_of_tls() {
    let ours = authority();
    for versions in [TLS12, TLS13] {
        let server = serve(&ours, &good("127.0.0.1"), versions, demanding);
        let (code, message) = refused(&server, Some(&ours.pem)).await;
        assert_eq!(code, "ClientCertificateDemanded");
        assert!(message.contains("demands a client certificate"), "{message}");
    }
}

/// A TLS record with a fatal alert, as servers send it instead of a handshake.
async fn alert(description: u8) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, description]);
        }
    });
    refused(&address, None).await
}

#[tokio::test]
async fn alerts_of_the_server_are_named() {
    let (code, message) = alert(112).await;
    assert_eq!(code, "HostNameUnknown");
    assert!(message.contains("unrecognized_name") && message.contains("host name"), "{message}");
    assert_eq!(alert(70).await.0, "HandshakeRefused");
    assert!(alert(40).await.1.contains("no TLS version or cipher in common"));
    assert!(alert(80).await.1.contains("InternalError"));
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

fn clients(lookup: resolver::Lookup, proxies: &Proxies) -> Clients {
    let settings = ClientSettings {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        user_agent: "test".into(),
        proxies: proxies.clone(),
    };
    let allowed = AllowList::new(&[], false).unwrap();
    Clients::new(settings, GuardedResolver { allowed, proxies: proxies.clone(), lookup })
}

#[tokio::test(start_paused = true)]
async fn each_bundle_has_its_client_for_as_long_as_it_is_used() {
    let clients = clients(resolver::system(), &Proxies::default());
    let kept = || clients.kept.lock().len();
    let bundle = authority().pem;
    for _ in 0..3 {
        clients.client(None).unwrap();
        clients.client(Some(&bundle)).unwrap();
    }
    assert_eq!(kept(), 2);
    for index in 0..500 {
        clients.client(Some(&format!("{bundle}\n# {index}"))).unwrap();
    }
    assert_eq!(kept(), 502, "a client that is in use is never built anew");
    tokio::time::advance(KEEP / 2).await;
    clients.client(Some(&bundle)).unwrap();
    tokio::time::advance(KEEP / 2).await;
    clients.client(Some(&format!("{bundle}\n# new"))).unwrap();
    assert_eq!(kept(), 3, "the shared one, the one in use, and the new one");
}

#[tokio::test]
async fn a_public_name_with_a_private_address_is_refused_and_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let clients = clients(Arc::new(move |_| std::future::ready(Ok(vec![address.ip()])).boxed()), &Proxies::default());
    let client = clients.client(None).unwrap();
    let host = format!("roma.cn-north-4.myhuaweicloud.com:{}", address.port());
    let request = client.client.get(format!("https://{host}/")).build().unwrap();
    let error = crate::fdi::transport::exchange(&client, request).await.unwrap_err();
    assert_eq!((error.class, error.cause), (Class::Config, Cause::EndpointNotAllowed), "{error:?}");
    assert!(error.message.contains("resolves to 127.0.0.1") && error.message.contains("--allowed-endpoints"));
    assert!(listener.accept().is_err(), "nobody connected");
}

#[tokio::test]
async fn requests_take_the_proxy_of_the_environment_unless_they_are_excepted() {
    let proxy = Server::start(|_, _| Does::Answer(http("200 OK", "", "by proxy"))).await;
    let port = proxy.address.rsplit_once(':').unwrap().1.to_owned();
    let proxies = Proxies::new(|name| match name {
        "HTTP_PROXY" => Some(format!("http://user:pass@localhost:{port}")),
        "NO_PROXY" => Some("*.direct.example:80".to_owned()),
        _ => None,
    });
    // The name of the proxy leads to this machine, all others nowhere.
    let lookup: resolver::Lookup = Arc::new(|host: String| {
        let found = host == "localhost";
        std::future::ready(Ok(if found { vec![[127, 0, 0, 1].into()] } else { Vec::new() })).boxed()
    });
    let clients = clients(lookup, &proxies);
    let client = clients.client(None).unwrap().client;
    assert_eq!(client.get("http://roma.example/x").send().await.unwrap().text().await.unwrap(), "by proxy");
    let request = proxy.requests().remove(0);
    assert!(request.starts_with("GET http://roma.example/x HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: Basic dXNlcjpwYXNz"), "{request}");
    client.get("http://roma.direct.example/x").send().await.unwrap_err();
    assert_eq!(proxy.requests().len(), 1, "this one went directly");
    client.get("http://roma.direct.example:8080/x").send().await.unwrap();
    assert_eq!(proxy.requests().len(), 2, "and this one has another port");
}
