//! Connections: how many there may be, and how long each may take over a head or a body.
//!
//! A client that opens connections and says nothing, or half a head, must not keep gateways out: the head has a time-out, which
//! also ends idle connections, and one address cannot take all places.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::Listener;
use futures::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::metrics::ConnectionMetrics;

/// The most connections of one listener. A process may have 1,024 files open unless its host says otherwise; databases,
/// readers and calls to Stripe need the rest. Further connections wait in the system's own queue.
const CONNECTIONS_MAX: usize = 512;
/// The most connections of one address; further ones are closed at once.
const OF_ONE_PEER_MAX: usize = 256;
/// A head that has not arrived by then ends its connection, and so does a connection without another request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that has not arrived by then is given up, where a handler has no time-out of its own.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a head that one connection holds in memory. Nobody has tokens or cookies this long.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    connections_max: usize,
    of_one_peer_max: usize,
    head_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections_max: CONNECTIONS_MAX, of_one_peer_max: OF_ONE_PEER_MAX, head_timeout: HEAD_TIMEOUT }
    }
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place among those of its address; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    pub(super) fn enter(&self, peer: IpAddr, max: usize) -> Option<Place> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.entry(peer).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

/// A connection's place in a listener. A call that waits for something to happen leaves it to others.
#[derive(Clone, Debug)]
pub(super) struct Slot(Arc<SlotState>);

#[derive(Debug)]
struct SlotState {
    room: Arc<Semaphore>,
    peers: Peers,
    peer: IpAddr,
    of_one_peer_max: usize,
    taken: Mutex<Option<(OwnedSemaphorePermit, Place)>>,
}

impl Slot {
    /// The address that the connection comes from.
    pub(super) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Leaves the place to other connections.
    pub(super) fn leave(&self) {
        drop(self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Takes a place again. False: there is none, and the connection is to be closed.
    pub(super) fn retake(&self) -> bool {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_none() {
            let permit = Arc::clone(&self.0.room).try_acquire_owned().ok();
            *taken = permit.and_then(|permit| Some((permit, self.0.peers.enter(self.0.peer, self.0.of_one_peer_max)?)));
        }
        taken.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.peer);
            }
        }
    }
}

/// Answers connections until `stopped`, and what is under way then to its end.
pub(super) async fn serve<L: Listener<Addr = SocketAddr>>(
    mut listener: L,
    router: Router,
    stopped: watch::Receiver<bool>,
    metrics: ConnectionMetrics,
    limits: Limits,
) {
    let (room, peers, mut connections) =
        (Arc::new(Semaphore::new(limits.connections_max)), Peers::default(), JoinSet::new());
    let next = async |listener: &mut L| {
        let permit = Arc::clone(&room).acquire_owned().await.ok()?;
        Some((permit, listener.accept().await))
    };
    loop {
        let accepted = tokio::select! {
            accepted = next(&mut listener) => accepted,
            () = until(stopped.clone()) => None,
        };
        let Some((permit, (io, address))) = accepted else { break };
        while connections.try_join_next().is_some() {}
        let Some(place) = peers.enter(address.ip(), limits.of_one_peer_max) else {
            metrics.refused.inc();
            tracing::debug!(%address, "too many connections of one address");
            continue;
        };
        let slot = Slot(Arc::new(SlotState {
            room: Arc::clone(&room),
            peers: peers.clone(),
            peer: address.ip(),
            of_one_peer_max: limits.of_one_peer_max,
            taken: Mutex::new(Some((permit, place))),
        }));
        let (router, stopped, open) = (router.clone(), stopped.clone(), metrics.open.clone());
        open.inc();
        connections.spawn(async move {
            connection(io, router, slot, stopped, limits.head_timeout).await;
            open.dec();
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<I>(io: I, router: Router, slot: Slot, stopped: watch::Receiver<bool>, head_timeout: Duration)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_MAX_BYTES);
    let router = TowerToHyperService::new(router);
    let seated = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(slot.clone());
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), seated));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until(stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until the server is told to stop.
pub(super) async fn until(mut stopped: watch::Receiver<bool>) {
    // An error says that nobody can tell any more, which is an end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Gives a request's body up that takes longer than [`BODY_TIMEOUT`].
pub(super) async fn bound_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let deadline = tokio::time::Instant::now() + BODY_TIMEOUT;
    let pieces = stream::try_unfold(body.into_data_stream(), move |mut pieces| async move {
        match tokio::time::timeout_at(deadline, pieces.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some((piece, pieces))),
            Ok(Some(Err(error))) => Err(error),
            Err(_) => Err(axum::Error::new("the body took too long to arrive")),
        }
    });
    next.run(Request::from_parts(head, Body::from_stream(pieces))).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    struct Served {
        address: SocketAddr,
        metrics: ConnectionMetrics,
        _stop: watch::Sender<bool>,
    }

    impl Served {
        async fn with(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
            let (stop, stopped) = watch::channel(false);
            let metrics = ConnectionMetrics::default();
            tokio::spawn(serve(listener, router, stopped, metrics.clone(), limits));
            Served { address, metrics, _stop: stop }
        }

        async fn send(&self, bytes: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            stream.write_all(bytes.as_bytes()).await.expect("sent");
            stream
        }

        /// What comes back until the server closes the connection.
        async fn answer(&self, mut stream: TcpStream) -> String {
            let mut all = Vec::new();
            let read = tokio::time::timeout(50 * SHORT, stream.read_to_end(&mut all)).await;
            read.expect("it is closed").unwrap_or_default();
            String::from_utf8_lossy(&all).into_owned()
        }
    }

    const WHOLE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn half_a_head_and_an_idle_connection_are_closed() {
        let served = Served::with(Limits { head_timeout: SHORT, ..Limits::default() }).await;
        let half = served.send("GET / HTTP/1.1\r\nhost").await;
        let idle = served.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(!served.answer(half).await.contains("here"));
        assert!(served.answer(idle).await.ends_with("here"), "answered, and closed afterwards");
    }

    #[tokio::test]
    async fn half_heads_take_no_more_places_than_one_address_has_and_give_them_back() {
        let limits = Limits { head_timeout: SHORT, of_one_peer_max: 8, ..Limits::default() };
        let served = Served::with(limits).await;
        let mut halves = Vec::new();
        for _ in 0..16 {
            halves.push(served.send("GET / HT").await);
        }
        for half in halves {
            served.answer(half).await;
        }
        assert_eq!(served.metrics.refused.get(), 8);
        let whole = served.send(WHOLE).await;
        assert!(served.answer(whole).await.ends_with("here"), "the places are free again");
    }

    #[tokio::test]
    async fn more_connections_than_fit_wait_their_turn() {
        let served = Served::with(Limits { head_timeout: SHORT, connections_max: 2, ..Limits::default() }).await;
        let (first, second) = (served.send("GET /").await, served.send("GET /").await);
        let third = served.send(WHOLE).await;
        assert!(served.answer(third).await.ends_with("here"));
        drop((first, second));
    }
}
