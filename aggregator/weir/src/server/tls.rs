//! TLS by rustls, 1.2 and 1.3: reloads certificates when their files change, and keeps slow handshakes from blocking
//! others.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::tls::TlsFiles;

/// The most handshakes at once; further connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 256;
/// The longest handshake; a slower client is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections that have finished their handshake and wait to be served.
const READY_MAX: usize = 64;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls: {}: {source}; it must be readable and hold PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: pem::Error,
    },
    /// Certificate and key do not match, or the key is of an unsupported kind.
    #[error("tls: {} and {} cannot be used: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// The problem.
        source: rustls::Error,
    },
    /// A root for client certificates is not valid.
    #[error("tls: client_ca {}: {problem}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
}

impl TlsFiles {
    /// Reads the files.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| TlsError::File { path: self.key.clone(), source })?;
        let pair = |source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let provider = Arc::new(ring::default_provider());
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions);
        let builder = builder.map_err(pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let wrong = |e: VerifierBuilderError| TlsError::ClientCa { path: path.clone(), problem: e.to_string() };
                builder.with_client_cert_verifier(verifier.map_err(wrong)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The files' bytes, to detect changes; empty for an unreadable file.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        files.into_iter().flatten().map(|path| std::fs::read(path).unwrap_or_default()).collect()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let wrong = |e: rustls::Error| TlsError::ClientCa { path: path.to_owned(), problem: e.to_string() };
        roots.add(certificate).map_err(wrong)?;
    }
    Ok(roots)
}

/// The current TLS configuration, and the files that it was read from.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    known: Vec<Vec<u8>>,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let known = files.bytes();
        let config = watch::Sender::new(files.load()?);
        Ok(Tls { files, known, config })
    }

    /// Reads the files again if they changed. An error leaves the last valid ones in force, and is logged once.
    pub(super) fn reload(&mut self) {
        let bytes = self.files.bytes();
        if bytes == self.known {
            return;
        }
        self.known = bytes;
        match self.files.load() {
            Ok(config) => {
                self.config.send_replace(config);
                tracing::info!("a new certificate is in force");
            }
            Err(error) => tracing::error!(%error, "the certificate is not used; the last good one stays in force"),
        }
    }

    /// Accepts TLS connections on `listener`.
    pub(super) fn listen(&self, listener: TcpListener) -> std::io::Result<TlsListener> {
        let address = listener.local_addr()?;
        let (ready, waiting) = mpsc::channel(READY_MAX);
        let task = tokio::spawn(shake_hands(listener, self.config.subscribe(), ready));
        Ok(TlsListener { address, waiting, task })
    }
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

/// Connections that have finished their handshake.
#[derive(Debug)]
pub(super) struct TlsListener {
    address: SocketAddr,
    waiting: mpsc::Receiver<Connection>,
    task: JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        match self.waiting.recv().await {
            Some(connection) => connection,
            // `None` means that the accepting task has ended, which happens only when this value is dropped.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn shake_hands(
    mut listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    ready: mpsc::Sender<Connection>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let (stream, peer) = Listener::accept(&mut listener).await;
        let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
        let ready = ready.clone();
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with this client"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}
