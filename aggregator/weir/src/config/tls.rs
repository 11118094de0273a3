//! The files of `tls:`.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS for `listen`. Files in PEM, relative to the configuration; the server loads a change within seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The server's certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// Roots of client certificates. Absent: clients need only their token.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The same files, with relative paths resolved against `base`.
    pub fn within(self, base: &Path) -> Self {
        TlsFiles {
            certificate: base.join(self.certificate),
            key: base.join(self.key),
            client_ca: self.client_ca.map(|path| base.join(path)),
        }
    }
}
