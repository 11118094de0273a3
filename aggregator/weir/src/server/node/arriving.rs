//! Lets a request's body arrive before the request takes a place, so that whoever sends slowly keeps nobody else out.
//!
//! # Constraints
//!
//! - Of each body [`FIRST_MAX_BYTES`] are read first, within [`FIRST_MAX`]. The bound of connections is that of the memory for them.
//! - A larger body is passed on while its rest arrives, within [`REST_MAX`]: at most [`LARGE_MAX`] of them at a time, of which one address
//!   has half.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::server::connections::{Peers, Place};
use crate::server::error::ApiError;

/// How much of a body arrives before its request takes a place: most bodies of people, and of gateways with little traffic.
const FIRST_MAX_BYTES: usize = 64 * 1024;
/// How long that may take.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// How long the rest of a larger one may take.
const REST_MAX: Duration = Duration::from_secs(30);
/// The most larger ones whose rest arrives.
const LARGE_MAX: usize = 50;
/// The most of one client's address.
const LARGE_OF_ONE_PEER_MAX: usize = 25;

/// The room for larger bodies.
#[derive(Debug)]
pub(super) struct Arriving {
    large: Arc<Semaphore>,
    peers: Peers,
}

/// A body that has arrived, or has begun to.
pub(super) enum Arrived {
    Whole(Bytes),
    Begun(Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send + Unpin>),
}

impl Default for Arriving {
    fn default() -> Self {
        Arriving { large: Arc::new(Semaphore::new(LARGE_MAX)), peers: Peers::default() }
    }
}

/// Reads the beginning of a body.
pub(super) async fn begin(body: Body) -> Result<Arrived, ApiError> {
    begin_by(body, Instant::now() + FIRST_MAX).await
}

async fn begin_by(body: Body, deadline: Instant) -> Result<Arrived, ApiError> {
    let (mut pieces, mut first) = (body.into_data_stream(), Vec::new());
    loop {
        match timeout_at(deadline, pieces.next()).await {
            Err(_) => return Err(ApiError::Slow),
            Ok(None) => return Ok(Arrived::Whole(first.into())),
            Ok(Some(Err(error))) => return Err(ApiError::Request(format!("the body did not arrive: {error}"))),
            Ok(Some(Ok(piece))) => first.extend_from_slice(&piece),
        }
        if first.len() > FIRST_MAX_BYTES {
            let first = stream::once(std::future::ready(Ok(Bytes::from(first))));
            return Ok(Arrived::Begun(Box::new(first.chain(pieces))));
        }
    }
}

impl Arriving {
    /// The body as it is passed on; None if too many larger ones arrive.
    pub(super) fn pass(&self, body: Arrived, peer: IpAddr) -> Option<Body> {
        let pieces = match body {
            Arrived::Whole(bytes) => return Some(Body::from(bytes)),
            Arrived::Begun(pieces) => pieces,
        };
        let permit = Arc::clone(&self.large).try_acquire_owned().ok()?;
        let place = self.peers.enter(peer, LARGE_OF_ONE_PEER_MAX)?;
        Some(Body::from_stream(bounded(pieces, (permit, place), Instant::now() + REST_MAX)))
    }
}

/// Pieces until `deadline`; the room is free again once all of them are there.
fn bounded(
    pieces: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
    room: (OwnedSemaphorePermit, Place),
    deadline: Instant,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    stream::try_unfold((pieces, room), move |(mut pieces, room)| async move {
        match timeout_at(deadline, pieces.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(piece)) => piece.map(|piece| Some((piece, (pieces, room)))),
            Err(_) => Err(axum::Error::new("the body took too long to arrive")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> Body {
        let pieces = (0..3).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![b'x'; FIRST_MAX_BYTES])));
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn larger_bodies_have_room_of_their_own_and_none_of_their_bytes_is_lost() {
        let (arriving, peer) = (Arriving::default(), IpAddr::from([10, 0, 0, 1]));
        let mut under_way = Vec::new();
        for _ in 0..LARGE_OF_ONE_PEER_MAX {
            under_way.push(arriving.pass(begin(large()).await.expect("begun"), peer).expect("room"));
        }
        assert!(arriving.pass(begin(large()).await.expect("begun"), peer).is_none(), "one address has half");
        let small = begin(Body::from("{}")).await.expect("whole");
        assert!(arriving.pass(small, peer).is_some(), "small ones need none of that room");
        let body = under_way.pop().expect("a body");
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("read");
        assert_eq!(bytes.len(), 3 * FIRST_MAX_BYTES);
        assert!(arriving.pass(begin(large()).await.expect("begun"), peer).is_some(), "its room is free again");
    }

    #[tokio::test]
    async fn a_body_that_does_not_begin_to_arrive_in_time_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(matches!(begin_by(never, soon).await, Err(ApiError::Slow)));
    }
}
