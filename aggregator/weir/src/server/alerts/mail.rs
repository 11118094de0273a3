//! Alerts by e-mail, over SMTP (RFC 5321).
use std::path::Path;

use lettre::message::header::ContentType;
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

/// Sends one message, and says what came of it.
pub(super) async fn attempt(email: &EmailFile, base: &Path, notice: &Notice) -> Attempt {
    let prepared = message(email, notice).and_then(|message| Ok((message, transport(email, base)?)));
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

/// The message. Its id is that of the notice, so that a mail server or a person can tell a repeat.
fn message(email: &EmailFile, notice: &Notice) -> Result<Message, String> {
    let words: Words = serde_json::from_str(&notice.body).map_err(|error| error.to_string())?;
    let from = mailbox(&email.from)?;
    let domain = from.email.domain().to_owned();
    let mut builder: MessageBuilder = Message::builder()
        .from(from)
        .subject(words.subject)
        .message_id(Some(format!("<{}@{domain}>", notice.id)))
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(words.text).map_err(|error| error.to_string())
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
