//! The cookies with a session's name: written once a person is signed in, read with each request.
use axum::http::{HeaderMap, HeaderValue, header};

/// Where a session's cookie is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Requests from pages of this server, and those by which a person comes here from elsewhere: a link in a message.
    Here,
    /// Requests from a frame in another site's page as well; browsers keep them apart by the site.
    InFrames,
}

impl Shown {
    pub(super) const ALL: [Shown; 2] = [Shown::Here, Shown::InFrames];

    /// The cookie's name. Browsers take one that begins with `__Host-` from this very host by https alone, so that no other host of the
    /// domain can plant one.
    fn cookie(self, is_https: bool) -> &'static str {
        match self {
            Shown::Here if is_https => "__Host-weir_session",
            Shown::InFrames if is_https => "__Host-weir_frame",
            Shown::Here | Shown::InFrames => "weir_session",
        }
    }

    /// The header that sets the cookie, out of the reach of scripts; with an empty name, one that ends it.
    pub(super) fn set(self, name: &str, is_https: bool) -> Option<HeaderValue> {
        let sent = match (is_https, self) {
            (true, Shown::Here) => "Path=/; HttpOnly; SameSite=Lax; Secure",
            (true, Shown::InFrames) => "Path=/; HttpOnly; SameSite=None; Secure; Partitioned",
            (false, _) => "Path=/ui; HttpOnly; SameSite=Lax",
        };
        let age = if name.is_empty() { "; Max-Age=0" } else { "" };
        HeaderValue::from_str(&format!("{}={name}; {sent}{age}", self.cookie(is_https))).ok()
    }
}

/// The session's name in a request.
pub(super) fn session_name(headers: &HeaderMap, is_https: bool) -> Option<&str> {
    Shown::ALL.into_iter().find_map(|shown| cookie(headers, shown.cookie(is_https)))
}

/// Whether a request is for what a browser shows in a frame.
pub(super) fn is_in_frame(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-dest").is_some_and(|dest| dest == "iframe")
}

/// Whether a request comes from a frame, with a session that only frames of that site have.
pub(super) fn is_framed(headers: &HeaderMap, is_https: bool) -> bool {
    is_https && is_in_frame(headers) && cookie(headers, Shown::Here.cookie(true)).is_none()
}

/// A cookie's value. Several of one name are a sign of somebody who plants them, so none counts.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut names = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    });
    names.next().filter(|_| names.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(text: &'static str) -> HeaderMap {
        [(header::COOKIE, HeaderValue::from_static(text))].into_iter().collect()
    }

    #[test]
    fn one_cookie_names_the_session_and_two_name_none() {
        let named = |text, is_https| session_name(&cookies(text), is_https).map(str::to_owned);
        assert_eq!(named("a=b; weir_session=x", false).as_deref(), Some("x"));
        assert_eq!(named("weir_session=x; weir_session=y", false), None);
        assert_eq!(named("other=1; __Host-weir_session=x", false), None);
        assert_eq!(named("weir_session=planted; __Host-weir_frame=x", true).as_deref(), Some("x"));
        assert_eq!(session_name(&HeaderMap::new(), false), None);
    }
}
