//! Alerts by e-mail, over SMTP (RFC 5321).
use std::path::Path;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::Deserialize;
use weir_settings::secret::masked;
use weir_steer::notice::Notice;
use weir_steer::notice::outbox::Attempt;
use weir_steer::receiver::EmailFile;

use super::ATTEMPT_MAX;

/// The body of a message to people.
#[derive(Deserialize)]
struct Words {
    subject: String,
    text: String,
}

/// A message to people.
#[derive(Debug)]
pub(in crate::server) struct Letter<'l> {
    /// Its id, by which a mail server or a person can tell a repeat.
    pub(in crate::server) id: &'l str,
    pub(in crate::server) subject: &'l str,
    pub(in crate::server) text: &'l str,
    /// The address that ends such messages, to which mail programs post (RFC 8058).
    pub(in crate::server) stop: Option<&'l str>,
}

/// Sends one message of the outbox, and says what came of it.
pub(super) async fn attempt(email: &EmailFile, base: &Path, notice: &Notice) -> Attempt {
    attempt_with(email, base, notice, None).await
}

/// The same with a link that ends such messages.
pub(super) async fn attempt_with(email: &EmailFile, base: &Path, notice: &Notice, stop: Option<&str>) -> Attempt {
    let words: Words = match serde_json::from_str(&notice.body) {
        Ok(words) => words,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    let ends = stop.map_or_else(String::new, |stop| format!("\n\nTo get no more of these messages: {stop}\n"));
    let text = words.text + &ends;
    send(email, base, &Letter { id: &notice.id, subject: &words.subject, text: &text, stop }).await
}

/// Sends a message, and says what came of it.
pub(in crate::server) async fn send(email: &EmailFile, base: &Path, letter: &Letter<'_>) -> Attempt {
    let prepared = message(email, letter).and_then(|message| Ok((message, transport(email, base)?)));
    let (message, transport) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return Attempt::Failed(masked(&why)),
    };
    match transport.send(message).await {
        Ok(_) => Attempt::Delivered,
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            Attempt::Failed(masked(&format!("the mail server did not take it: {error}{cause}")))
        }
    }
}

fn message(email: &EmailFile, letter: &Letter<'_>) -> Result<Message, String> {
    let from = mailbox(&email.from)?;
    let domain = from.email.domain().to_owned();
    let mut builder: MessageBuilder = Message::builder()
        .from(from)
        .subject(letter.subject)
        .message_id(Some(format!("<{}@{domain}>", letter.id)))
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    if let Some(stop) = letter.stop {
        builder = builder.header(ListUnsubscribe(format!("<{stop}>"))).header(ListUnsubscribePost);
    }
    builder.body(letter.text.to_owned()).map_err(|error| error.to_string())
}

/// Where mail programs end messages (RFC 2369).
#[derive(Clone, Debug)]
struct ListUnsubscribe(String);

/// That they may do it by one POST (RFC 8058).
#[derive(Clone, Copy, Debug)]
struct ListUnsubscribePost;

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(ListUnsubscribe(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

impl Header for ListUnsubscribePost {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe-Post")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(ListUnsubscribePost)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "List-Unsubscribe=One-Click".to_owned())
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error| format!("{text:?} is no e-mail address: {error}"))
}

fn transport(email: &EmailFile, base: &Path) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let wrong = |error: lettre::transport::smtp::Error| error.to_string();
    let (scheme, place) = email.server.split_once("://").ok_or_else(|| "the server has no scheme".to_owned())?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') || place.starts_with('[') => {
            (host, Some(port.parse::<u16>().map_err(|_| format!("{port:?} is no port"))?))
        }
        _ => (place, None),
    };
    let mut builder = match scheme {
        "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(host).map_err(wrong)?,
        "smtp" => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host).map_err(wrong)?,
        _ => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
    };
    if let Some(port) = port {
        builder = builder.port(port);
    }
    if let (Some(user), Some(password)) = (&email.user, &email.password) {
        let password = password.read(base).map_err(|error| error.to_string())?;
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().trim().to_owned()));
    }
    Ok(builder.timeout(Some(ATTEMPT_MAX)).build())
}
