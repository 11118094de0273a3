//! `ui.links`: links to tenants' own pages, signed by a backend of the operator's.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_settings::secret::SecretSource;

/// The most sites that may show the page in a frame.
const FRAMES_MAX: usize = 16;

/// Links to tenants' own pages: `/ui/link?token=` with a JSON Web Token (HS256) of the claims `sub` (the tenant), `exp` (at most five
/// minutes ahead), `jti` (a name of its own; a link opens once) and, for the audit, `name` (the person).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinksFile {
    /// The key that signs links: at least 32 bytes. Backends that sign links have it as well.
    pub key: SecretSource,
    /// Sites that may show the page in a frame, such as `https://app.example.com`, at most 16; needs https. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
}

/// The same, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The place of the key.
    pub key: SecretSource,
    /// Sites that may show the page in a frame.
    pub frames: Vec<String>,
}

pub(super) fn check(file: LinksFile, is_https: bool) -> Result<Links, String> {
    if file.frames.len() > FRAMES_MAX {
        return Err(format!("{} `frames`; at most {FRAMES_MAX}", file.frames.len()));
    }
    if !file.frames.is_empty() && !is_https {
        return Err(
            "`frames` needs https: browsers send no cookie of a frame without it; say `ui: {https: true}`".to_owned()
        );
    }
    for site in &file.frames {
        let host = site.strip_prefix("https://").unwrap_or_default();
        // What stands here goes into a header that says who may show the page.
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(format!("{site:?} in `frames`: a site is written as https://app.example.com, without a path"));
        }
    }
    Ok(Links { key: file.key, frames: file.frames })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_sites_by_https() {
        let with = |site: &str, is_https| {
            let file = LinksFile { key: SecretSource::Env("KEY".to_owned()), frames: vec![site.to_owned()] };
            check(file, is_https).map(|links| links.frames)
        };
        assert_eq!(with("https://app.example.com:8443", true), Ok(vec!["https://app.example.com:8443".to_owned()]));
        for wrong in [
            "*",
            "https://",
            "https://*.example.com",
            "https://a.example; script-src *",
            "http://a.example",
            "https://a.example/x",
        ] {
            assert!(with(wrong, true).is_err(), "{wrong}");
        }
        assert!(with("https://app.example.com", false).is_err());
    }
}
