// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A web server that misbehaves as it is told.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
    /// How often this path was asked for before.
    pub count: usize,
    /// What is at this path.
    pub content: Option<Vec<u8>>,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }

    /// The first byte that a Range header asks for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: String,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    /// What Content-Length says; `None`: there is none.
    pub length: Option<usize>,
    /// After this many bytes of the body the connection is reset.
    pub cut: Option<usize>,
    /// Between any ten bytes of the body.
    pub pause: Option<Duration>,
    /// After the body comes more.
    pub endless: bool,
    pub old: bool,
}

impl Reply {
    pub fn new(status: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let (status, length) = (status.to_owned(), Some(body.len()));
        Self { status, headers: Vec::new(), body, length, cut: None, pause: None, endless: false, old: false }
    }

    /// As it should be, ranges included.
    pub fn good(ask: &Ask) -> Self {
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

    /// As it should be, without ranges.
    pub fn whole(ask: &Ask) -> Self {
        Self::good(&Ask { headers: HashMap::new(), ..ask.clone() })
    }

    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    pub fn cut(self) -> Self {
        Self { cut: Some(self.body.len() / 2), ..self }
    }

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

pub type Behaviour = dyn Fn(&Ask) -> Reply + Send + Sync;

/// Runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Serve `blobs`, each by the last part of its path, in this way.
    pub fn start(
        blobs: Arc<HashMap<String, Vec<u8>>>,
        behaviour: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let server = Self { address, asked: Arc::clone(&asked), stop: Arc::clone(&stop) };
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, blobs, behaviour) = (Arc::clone(&asked), Arc::clone(&blobs), Arc::clone(&behaviour));
                // A client that goes away is no failure of the server.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &asked, &blobs, &*behaviour)));
            }
        });
        server
    }

    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }

    /// `host:port`.
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
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, stream.try_clone()?);
    while let Some(mut ask) = read(&mut reader)? {
        let name = ask.path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        ask.content = blobs.get(name.trim_start_matches("sha256:")).cloned();
        {
            let mut asked = asked.lock().unwrap();
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

/// Read a request but for its last byte.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Ask>> {
    let mut ask = Ask::default();
    let mut line = String::new();
    // What does not start with a letter is TLS.
    if !reader.fill_buf()?.first().is_some_and(u8::is_ascii_alphabetic) {
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
