//! The simulator on sockets: listeners, connections, and the ways an answer can fail to arrive.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::clock::Millis;
use crate::control;
use crate::handle::Handle;
use crate::service::{Delivery, MAX_BODY, Reply};
use crate::tls::Tls;

/// Among a response's extensions: the connection is closed and nothing of the response is sent.
#[derive(Debug, Clone, Copy)]
pub struct Cut;

/// Size of the chunks of a flood.
const FLOOD_CHUNK: u64 = 64 * 1024;

/// The services with the control API beside them.
pub(crate) fn router(handle: &Handle) -> Router {
    // A nested root has no slash at the end, but people type one.
    Router::new()
        .nest("/_sim", control::router())
        .route("/_sim/", get(control::overview))
        .fallback(serve)
        .with_state(handle.clone())
}

/// Binds a listener and returns its address.
pub(crate) async fn bind(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The kinds of listeners.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Plain,
    Tls(Tls),
    /// Open even while connections are refused or held.
    Control,
}

/// Accepts connections until dropped.
pub(crate) async fn accept(listener: TcpListener, handle: Handle, kind: Kind) {
    let router = router(&handle);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Ended connections are removed as they end.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                // Out of file descriptors and the like: the next accept may do better.
                let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                let refused = !matches!(kind, Kind::Control) && handle.shared.read(|world, _| {
                    world.refused_connections += u64::from(world.refuses_connections);
                    world.refuses_connections
                });
                if !refused {
                    connections.spawn(connection(stream, router.clone(), kind.clone(), handle.clone()));
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, kind: Kind, handle: Handle) {
    if !matches!(kind, Kind::Control) {
        handle.shared.released().await;
    }
    // Answers are small: waiting to fill packets would be measured as latency.
    let _ = stream.set_nodelay(true);
    match kind {
        Kind::Plain | Kind::Control => exchange(stream, router).await,
        // Some tests want a client that does not trust our certificate.
        Kind::Tls(tls) => {
            if let Ok(stream) = tls.acceptor().accept(stream).await {
                exchange(stream, router).await;
            }
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            // An error makes hyper close the connection without a byte.
            if response.extensions().get::<Cut>().is_some() { Err(Severed) } else { Ok(response) }
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // Errors here are cut connections: ours on purpose, or the caller's.
    let _ =
        http.timer(TokioTimer::new()).max_buf_size(512 * 1024).serve_connection(TokioIo::new(stream), service).await;
}

#[derive(Debug)]
struct Severed;

impl fmt::Display for Severed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator cuts this connection on purpose")
    }
}

impl std::error::Error for Severed {}

impl From<Infallible> for Severed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn serve(State(handle): State<Handle>, request: Request<Body>) -> Response<Body> {
    handle.shared.released().await;
    let (parts, body) = request.into_parts();
    // One byte more than the gateway accepts is enough for it to refuse.
    let mut body = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else { return cut() };
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BODY {
            break;
        }
    }
    let shared = handle.shared;
    let Some(arrival) = shared.arrive(Request::from_parts(parts, Bytes::from(bytes))) else { return cut() };
    let seq = arrival.seq;
    let reply = if arrival.delay_ms == 0 {
        shared.act(&arrival)
    } else {
        // In a task of its own: a service acts even when the caller has gone by then.
        let shared = std::sync::Arc::clone(&shared);
        let acting = tokio::spawn(async move {
            let at = shared.clock.now().saturating_add_unsigned(arrival.delay_ms);
            shared.clock.wait_until(at).await;
            shared.act(&arrival)
        });
        let Ok(reply) = acting.await else { return cut() };
        reply
    };
    if reply.delay_ms > 0 {
        let at: Millis = shared.clock.now().saturating_add_unsigned(reply.delay_ms);
        shared.clock.wait_until(at).await;
    }
    match reply.delivery {
        Delivery::Cut => return cut(),
        Delivery::Hang => std::future::pending().await,
        Delivery::Whole | Delivery::CutBody { .. } | Delivery::Drip { .. } | Delivery::Flood { .. } => {}
    }
    shared.answered(seq);
    deliver(reply)
}

fn cut() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Cut);
    response
}

fn deliver(reply: Reply) -> Response<Body> {
    let (mut parts, bytes) = reply.response.into_parts();
    let length = bytes.len();
    let body = match reply.delivery {
        Delivery::Whole | Delivery::Cut | Delivery::Hang => return Response::from_parts(parts, Body::from(bytes)),
        Delivery::CutBody { bytes: sent } => {
            parts.headers.insert(header::CONTENT_LENGTH, length.max(sent + 1).into());
            let sent = bytes.slice(..sent.min(length));
            let first = stream::once(std::future::ready(Ok(sent)));
            let end = stream::once(async {
                // A pause in which the connection sends what it has.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Body::from_stream(first.chain(end))
        }
        Delivery::Drip { bytes: piece, every_ms } => {
            parts.headers.insert(header::CONTENT_LENGTH, length.into());
            Body::from_stream(stream::unfold((bytes, false), move |(mut left, waits)| async move {
                if left.is_empty() {
                    return None;
                }
                if waits {
                    tokio::time::sleep(Duration::from_millis(every_ms)).await;
                }
                let piece = left.split_to(piece.min(left.len()));
                Some((Ok::<_, Infallible>(piece), (left, true)))
            }))
        }
        Delivery::Flood { bytes: total } => {
            let padding = total.saturating_sub(length as u64);
            let spaces = Bytes::from(vec![b' '; usize::try_from(FLOOD_CHUNK).unwrap_or(0)]);
            let flood = stream::unfold(padding, move |left| {
                let size = left.min(FLOOD_CHUNK);
                let chunk = spaces.slice(..usize::try_from(size).unwrap_or(0));
                std::future::ready((size > 0).then_some((Ok::<_, Infallible>(chunk), left - size)))
            });
            Body::from_stream(stream::once(std::future::ready(Ok(bytes))).chain(flood))
        }
    };
    Response::from_parts(parts, body)
}
