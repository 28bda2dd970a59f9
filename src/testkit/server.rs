// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A web server that misbehaves as a case wants.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// `GET` and the like.
    pub method: String,
    /// The path, with what is behind a question mark.
    pub path: String,
    /// Header fields by their names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
    /// How often this path was asked for before.
    pub count: usize,
    /// The content at this path, if there is any.
    pub content: Option<Vec<u8>>,
}

impl Ask {
    /// Returns a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns whether it is about a blob.
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }

    /// Returns the first byte that a Range header asks for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Number and text.
    pub status: String,
    /// Lines of the head.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The value of Content-Length; `None`: there is none.
    pub length: Option<usize>,
    /// After this many bytes of the body the connection is reset.
    pub cut: Option<usize>,
    /// Between any ten bytes of the body.
    pub pause: Option<Duration>,
    /// After the body comes more.
    pub endless: bool,
    /// The answer is of HTTP/1.0.
    pub old: bool,
}

impl Reply {
    /// Makes an answer that is as it should be.
    pub fn new(status: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let (status, length) = (status.to_owned(), Some(body.len()));
        Self { status, headers: Vec::new(), body, length, cut: None, pause: None, endless: false, old: false }
    }

    /// Makes the right answer, that of a registry that wants no login at `/v2/`, ranges included.
    pub fn good(ask: &Ask) -> Self {
        if ask.path == "/v2/" {
            return Self::new("200 OK", "{}");
        }
        let Some(content) = &ask.content else { return Self::new("404 Not Found", "no such thing") };
        match ask.from() {
            Some(from) if from < content.len() => {
                let range = format!("Content-Range: bytes {from}-{}/{}", content.len() - 1, content.len());
                Self::new("206 Partial Content", &content[from..]).header(&range)
            }
            Some(_) => Self::new("416 Range Not Satisfiable", ""),
            None => Self::new("200 OK", &content[..]),
        }
    }

    /// Makes the right answer of a server that knows no ranges.
    pub fn whole(ask: &Ask) -> Self {
        Self::good(&Ask { headers: HashMap::new(), ..ask.clone() })
    }

    /// Adds a line to the head.
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// Resets the connection in the middle of the body.
    pub fn cut(self) -> Self {
        Self { cut: Some(self.body.len() / 2), ..self }
    }

    /// Leaves the length to the end of the connection.
    pub fn without_length(self) -> Self {
        Self { length: None, ..self }
    }

    fn send(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut head = format!("HTTP/1.{} {}\r\n", u8::from(!self.old), self.status);
        for line in &self.headers {
            head += &format!("{line}\r\n");
        }
        match self.length {
            Some(length) => head += &format!("Content-Length: {length}\r\n"),
            None => head += "Connection: close\r\n",
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        let body = &self.body[..self.cut.unwrap_or(self.body.len())];
        match self.pause {
            None => stream.write_all(body)?,
            Some(pause) => {
                for part in body.chunks(10) {
                    stream.write_all(part)?;
                    thread::sleep(pause);
                }
            }
        }
        if !self.endless {
            return Ok(());
        }
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    }
}

/// How a server answers.
pub type Behaviour = dyn Fn(&Ask) -> Reply + Send + Sync;

/// A server on loopback. It runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
    stop: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
}

impl Server {
    /// Serves `blobs`, each by the last part of its path, in this way.
    pub fn start(
        blobs: Arc<HashMap<String, Vec<u8>>>,
        behaviour: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
        let address = listener.local_addr().context("listening")?;
        let (asked, stop, silent) = (Arc::default(), Arc::new(AtomicBool::new(false)), Arc::default());
        let server = Self { address, asked: Arc::clone(&asked), stop: Arc::clone(&stop), silent: Arc::clone(&silent) };
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, blobs, behaviour) = (Arc::clone(&asked), Arc::clone(&blobs), Arc::clone(&behaviour));
                let silent = Arc::clone(&silent);
                // A client that goes away is not a failure of the server.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &asked, &blobs, &*behaviour, &silent)));
            }
        });
        Ok(server)
    }

    /// From now on TLS gets no answer, instead of one that ends it at once.
    pub fn ignore_tls(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Returns all requests so far.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns its `host:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    asked: &Mutex<Vec<Ask>>,
    blobs: &HashMap<String, Vec<u8>>,
    behaviour: &Behaviour,
    silent: &AtomicBool,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, stream.try_clone()?);
    // TLS does not start with a letter.
    if !reader.fill_buf()?.first().is_some_and(u8::is_ascii_alphabetic) {
        return if silent.load(Ordering::Relaxed) { io::copy(&mut reader, &mut io::sink()).map(drop) } else { Ok(()) };
    }
    while let Some(mut ask) = read(&mut reader)? {
        let name = ask.path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        ask.content = blobs.get(name.trim_start_matches("sha256:")).cloned();
        {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            ask.count = asked.iter().filter(|other| other.path == ask.path).count();
            asked.push(ask.clone());
        }
        let reply = behaviour(&ask);
        reply.send(&mut stream)?;
        // The last byte of the request is not read yet: to close now resets the connection.
        if reply.cut.is_some() {
            return Ok(());
        }
        reader.read_exact(&mut [0])?;
        if reply.length.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request but for its last byte.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Ask>> {
    let mut ask = Ask::default();
    let mut line = String::new();
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    (ask.method, ask.path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    loop {
        line.clear();
        while !line.ends_with('\n') && line != "\r" {
            let mut byte = [0];
            reader.read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        if line == "\r" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            ask.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length: usize = ask.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    if length > 0 {
        // The line feed, and the body but for its last byte.
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        ask.body = String::from_utf8_lossy(&body).trim_start().to_owned();
    }
    Ok(Some(ask))
}
