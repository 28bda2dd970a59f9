// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The line that `systemctl status` shows for the unit, and systemd on the console while a boot waits for it. It goes over the
//! protocol of sd_notify(3).

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::handoff::shorten;

/// The variable in which systemd names its socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Sets the status line of the unit that this process belongs to, if systemd wants to know it.
pub fn set_service_status(text: &str) {
    let Some(socket) = env::var_os(NOTIFY_SOCKET).filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, text) {
        log::debug!("sending the status line to systemd: {error}");
    }
}

fn send(to: &OsStr, text: &str) -> io::Result<()> {
    let address = match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(to)?,
        _ => return Err(io::Error::new(ErrorKind::Unsupported, "this kind of socket is not known")),
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that is busy must not stop us: one line less is no harm.
    socket.set_nonblocking(true)?;
    // A line feed would start another assignment.
    let text = shorten(text).replace(char::is_control, "?");
    socket.send_to_addr(format!("STATUS={text}").as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn a_line_goes_to_sockets_with_a_path_and_without() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "import: 1 of 2 MiB").unwrap();
        assert_eq!(received(&socket), "STATUS=import: 1 of 2 MiB");
        send(path.as_os_str(), "a\nREADY=1").unwrap();
        assert_eq!(received(&socket), "STATUS=a?READY=1");

        let name = format!("slipstream-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "deploy").unwrap();
        assert_eq!(received(&socket), "STATUS=deploy");
    }

    #[test]
    fn nobody_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        assert!(send(path.as_os_str(), "x").is_err(), "nothing is bound");
        let _full = UnixDatagram::bind(&path).unwrap();
        let error = (0..100_000).find_map(|_| send(path.as_os_str(), "x").err());
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
        assert_eq!(send(OsStr::new("vsock:2:1"), "x").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
