//! A TCP proxy that cuts: it passes bytes on until it is told to break connections off.

use crate::clock;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the proxy looks for new connections, and whether it is over.
const POLL: Duration = Duration::from_millis(2);
/// No cut is planned.
const NEVER: u64 = u64::MAX;

/// A proxy in front of a server. Dropping it breaks all connections off.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    connections: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
    refuses: AtomicBool,
    /// Bytes of answers until the next cut.
    left: AtomicU64,
    cuts: AtomicU64,
}

impl Cutter {
    /// Starts a proxy on a free loopback port in front of `server`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            connections: Mutex::default(),
            over: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            left: AtomicU64::new(NEVER),
            cuts: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new().name("cutter".to_owned()).spawn(move || accepting.accept(&listener))?;
        Ok(Self { address, shared })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections off now.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Breaks all connections off once the server has answered this many bytes more: 0 loses the next answer whole.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.cut();
        }
    }

    /// How often connections were broken off.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Waits until there was one more cut than `before`; false if that takes longer than `limit`.
    #[must_use]
    pub fn wait_for_cut(&self, before: u64, limit: Duration) -> bool {
        clock::wait_for(limit, POLL, || (self.cuts() > before).then_some(())).is_some()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.cut();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((client, _)) => {
                    let _refused_or_gone = self.connect(client);
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        if self.refuses.load(Ordering::SeqCst) {
            return client.shutdown(Shutdown::Both);
        }
        client.set_nonblocking(false)?;
        let server = TcpStream::connect(self.server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        self.pass(client.try_clone()?, server.try_clone()?, false)?;
        self.pass(server, client, true)
    }

    /// Passes bytes on in a thread of its own, until either end closes.
    fn pass(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, answers: bool) -> io::Result<()> {
        let shared = Arc::clone(self);
        let run = move || {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                let passed = if answers { shared.allowed(length) } else { length };
                if to.write_all(&bytes[..passed]).is_err() || passed < length {
                    break;
                }
            }
            for stream in [&from, &to] {
                let _closed_already = stream.shutdown(Shutdown::Both);
            }
        };
        std::thread::Builder::new().name("cutter".to_owned()).spawn(run).map(drop)
    }

    /// How many bytes of an answer are passed on; fewer than all of them once the planned cut is due.
    fn allowed(&self, length: usize) -> usize {
        let length = length as u64;
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            NEVER => None,
            left => Some(if left < length { NEVER } else { left - length }),
        });
        match left {
            Ok(left) if left < length => {
                self.cut();
                usize::try_from(left).unwrap_or_default()
            }
            _ => usize::try_from(length).unwrap_or_default(),
        }
    }

    /// Counts the cut first: whoever sees a connection end finds it counted.
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        for stream in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_until_the_planned_cut() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let cutter = Cutter::start(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(cutter.address()).unwrap();
        client.write_all(b"ask").unwrap();
        let (mut served, _) = server.accept().unwrap();
        let mut asked = [0; 3];
        served.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"ask");
        cutter.cut_after(4);
        served.write_all(b"answer").unwrap();
        let mut answer = Vec::new();
        let _reset_or_ended = client.read_to_end(&mut answer);
        assert!(answer.len() <= 4 && b"answer".starts_with(&answer), "{answer:?}");
        assert_eq!(cutter.cuts(), 1);
    }
}
