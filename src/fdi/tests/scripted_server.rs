//! A server on a plain socket that misbehaves by script, in ways that break HTTP itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
pub enum Does {
    /// Sends this and waits for the next request.
    Answer(String),
    /// Sends this after a while.
    Slow { wait: Duration, text: String },
    /// Sends this and closes the connection.
    Cut(String),
    /// Sends this, then nothing more.
    Hang(String),
    /// Sends this, then a byte now and then, forever.
    Drip(String),
    /// Sends this, then as much as the client takes.
    Flood(String),
}

/// A server that answers by script and remembers the requests.
pub struct Server {
    pub address: String,
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Bytes that floods have sent.
    pub flooded: Arc<AtomicUsize>,
}

impl Server {
    /// `script` gets the number of the request, from 0, and its text.
    pub async fn start(script: impl Fn(usize, &str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            flooded: Arc::default(),
        };
        let (requests, flooded, script) = (server.requests.clone(), server.flooded.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, flooded, script) = (requests.clone(), flooded.clone(), script.clone());
                tokio::spawn(async move { converse(stream, &requests, &flooded, &*script).await });
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: TcpStream,
    requests: &Mutex<Vec<String>>,
    flooded: &AtomicUsize,
    script: &(impl Fn(usize, &str) -> Does + Sync),
) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let number = {
            let mut requests = requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        match script(number, &request) {
            Does::Answer(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Does::Slow { wait, text } => {
                tokio::time::sleep(wait).await;
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            Does::Cut(text) => return stream.write_all(text.as_bytes()).await.ok(),
            Does::Hang(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                std::future::pending::<()>().await;
            }
            Does::Drip(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(b" ").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Does::Flood(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                let blanks = vec![b' '; 65536];
                loop {
                    stream.write_all(&blanks).await.ok()?;
                    flooded.fetch_add(blanks.len(), Ordering::Relaxed);
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        text.push_str(std::str::from_utf8(&chunk[..read]).ok()?);
    }
}

/// A response as text.
pub fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}
