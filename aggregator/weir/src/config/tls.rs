//! The files of `tls:`.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `tls:` as it is written. Files in PEM, relative to the configuration; a change of theirs is taken over within seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The server's certificate, followed by those between it and the root.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// Roots that clients' certificates must come from. Absent: clients need none, only their token.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The same with paths relative to `base`.
    pub fn within(self, base: &Path) -> Self {
        TlsFiles {
            certificate: base.join(self.certificate),
            key: base.join(self.key),
            client_ca: self.client_ca.map(|path| base.join(path)),
        }
    }
}
