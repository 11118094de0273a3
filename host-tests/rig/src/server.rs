//! An HTTP/1.1 server on a free port, in a thread of its own: usable from blocking and from asynchronous tests, gone
//! when dropped. Unlike axum's own loop it can break a connection off instead of answering.

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Answers one request, or breaks its connection off.
pub type Handler = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, Reset>> + Send + Sync>;

/// The connection is to be reset (TCP RST) with no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stand-in resets this connection")]
pub struct Reset;

/// A running server. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts answering on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound or no thread started.
    pub fn start(name: &str, handler: Handler) -> io::Result<Self> {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)
    }

    /// Starts answering at `address`: a server that comes back where it was.
    ///
    /// # Errors
    /// When the address cannot be bound or no thread started.
    pub fn start_at(name: &str, address: SocketAddr, handler: Handler) -> io::Result<Self> {
        let listener = crate::probe::listen(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    result = accept(listener, handler) => result,
                    _ = stopped => Ok(()),
                }
            });
            // Connections still open belong to tasks of this runtime: they end with it.
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, handler: Handler) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let _ = connection(stream, handler).await;
        });
    }
}

async fn connection(stream: TcpStream, handler: Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A second handle on the socket: once hyper owns the stream, this is how a close becomes a reset.
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?;
    let service = service_fn(move |request: Request<Incoming>| handler(request.map(Body::new)));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(TcpStream::from_std(stream)?), service)
        .await;
    if served.is_err() {
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
