//! Subdomains that name tenants.
use std::borrow::Cow;

use weir_config::{ConfigError, shape};

/// The parent domain of the tenants' subdomains, with a leading dot, in lower case.
#[derive(Debug)]
pub struct Subdomain(Box<str>);

impl Subdomain {
    /// Checks the domain.
    pub fn compile(subdomain: &shape::Subdomain) -> Result<Self, ConfigError> {
        let domain = subdomain.domain.to_ascii_lowercase();
        let fits =
            domain.contains('.') && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        if !fits || domain.starts_with('.') || domain.ends_with('.') {
            return Err(ConfigError::new("identity.subdomain.domain", "expected a domain such as api.example.com"));
        }
        Ok(Subdomain(format!(".{domain}").into()))
    }

    /// The name before the domain; None for another host or the domain itself.
    pub fn label<'h>(&self, host: &'h [u8]) -> Option<Cow<'h, str>> {
        let host = std::str::from_utf8(host).ok()?;
        let host = host.rsplit_once(':').map_or(host, |(host, _port)| host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let cut = host.len().checked_sub(self.0.len())?;
        let (label, domain) = host.split_at_checked(cut)?;
        (!label.is_empty() && domain.eq_ignore_ascii_case(&self.0)).then(|| {
            if label.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(label.to_ascii_lowercase())
            } else {
                Cow::Borrowed(label)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_label_is_what_stands_before_the_domain() {
        let domain = Subdomain(".api.example.com".into());
        let label = |host: &'static str| domain.label(host.as_bytes()).map(Cow::into_owned);
        assert_eq!(label("acme.api.example.com").as_deref(), Some("acme"));
        assert_eq!(label("ACME.API.example.com.:8443").as_deref(), Some("acme"));
        for host in
            ["api.example.com", ".api.example.com", "acme.api.example.org", "acmeapi.example.com", "", "127.0.0.1:80"]
        {
            assert_eq!(label(host), None, "{host}");
        }
    }
}
