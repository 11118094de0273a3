//! A browser of the dashboard: keeps a session's cookie and the token of its forms, and says where a form comes from.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method, Response, StatusCode, redirect};

use super::server::Running;

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Browser {
    http: Client,
    pub(super) url: String,
    pub(super) cookie: String,
    pub(super) csrf: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Shown {
    /// Where the answer sends the browser.
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The cookie that the answer sets, with its attributes.
    pub(super) fn set_cookie(&self) -> &str {
        self.headers.get(SET_COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the answer asks to sign in first.
    pub(super) fn asks_to_sign_in(&self) -> bool {
        self.status == StatusCode::SEE_OTHER && self.location().split('?').next() == Some("/ui/sign-in")
    }

    /// What the page shows this once.
    pub(super) fn secret(&self) -> &str {
        let (_, rest) = self.text.split_once("id=\"secret\" data-copy>").expect("a secret");
        rest.split('<').next().unwrap_or_default()
    }
}

impl Browser {
    /// A browser that nobody has signed in with.
    pub(super) fn fresh(server: &Running) -> Self {
        let http = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        Browser { http, url: server.url.clone(), cookie: String::new(), csrf: String::new() }
    }

    /// Signs in.
    pub(super) async fn sign_in(server: &Running, token: &str) -> Self {
        let mut browser = Browser::fresh(server);
        let shown = browser.try_token(token).await;
        assert_eq!((shown.status, shown.location()), (StatusCode::SEE_OTHER, "/ui"), "{}", shown.text);
        shown.set_cookie().split(';').next().unwrap_or_default().clone_into(&mut browser.cookie);
        let first = browser.get("").await;
        let home = browser.get(first.location().trim_start_matches("/ui")).await;
        browser.csrf = csrf(&home.text);
        browser
    }

    /// The same browser with another cookie.
    pub(super) fn with_cookie(&self, cookie: &str) -> Self {
        Browser { cookie: cookie.to_owned(), ..self.clone() }
    }

    /// The same browser within a frame.
    pub(super) fn in_frame(&self) -> Self {
        let headers = [(HeaderName::from_static("sec-fetch-dest"), HeaderValue::from_static("iframe"))];
        let http = Client::builder().redirect(redirect::Policy::none()).default_headers(headers.into_iter().collect());
        Browser { http: http.build().expect("a client"), ..self.clone() }
    }

    /// The same browser with the token of the forms of a page.
    pub(super) fn at(&self, page: &str) -> Self {
        Browser { csrf: csrf(page), ..self.clone() }
    }

    /// Sends the form that signs in.
    pub(super) async fn try_token(&self, token: &str) -> Shown {
        self.send_from(&self.url, "/sign-in", &[("token", token)]).await
    }

    /// Gets a page below `/ui`.
    pub(super) async fn get(&self, path: &str) -> Shown {
        shown(self.request(Method::GET, path).send().await.expect("an answer")).await
    }

    /// Gets a page with all its figures: where some are still being read it loads the page again, as the page asks.
    pub(super) async fn whole(&self, path: &str) -> Shown {
        loop {
            let shown = self.get(path).await;
            if !shown.headers.contains_key("refresh") {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Gets a page that must be there, with all its figures.
    pub(super) async fn page(&self, path: &str) -> String {
        let shown = self.whole(path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}: {}", shown.text);
        shown.text
    }

    /// The answer itself.
    pub(super) async fn open(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    /// Sends a form of a page that this session has just loaded.
    pub(super) async fn act(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        static LOADED: AtomicU64 = AtomicU64::new(0);
        let once = LOADED.fetch_add(1, Ordering::Relaxed).to_string();
        self.send(path, fields, &once).await
    }

    /// Sends a form of the page that bears the name `once`.
    pub(super) async fn send(&self, path: &str, fields: &[(&str, &str)], once: &str) -> Shown {
        let own = [("csrf", self.csrf.as_str()), ("once", once)];
        let fields: Vec<_> = fields.iter().copied().chain(own).collect();
        self.send_from(&self.url, path, &fields).await
    }

    /// Sends a form from a page of `origin`.
    pub(super) async fn send_from(&self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Shown {
        let fields: BTreeMap<_, _> = fields.iter().copied().collect();
        let request = self.request(Method::POST, path).header(ORIGIN, origin).form(&fields);
        shown(request.send().await.expect("an answer")).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/ui{path}", self.url)).header("cookie", &self.cookie)
    }
}

async fn shown(response: Response) -> Shown {
    let (status, headers) = (response.status(), response.headers().clone());
    Shown { status, headers, text: response.text().await.expect("text") }
}

/// The token in a page's forms.
fn csrf(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split('"').next().unwrap_or_default().to_owned()
}
