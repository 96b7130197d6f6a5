//! Mail, by SMTP.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Letter, Tokio1Executor};

use super::{Means, secret};
use crate::notify::message::{Message, shortened};
use crate::notify::refused::Refused;
use crate::platform::{ExposeSecret as _, read_authorities};
use crate::policy::{Mail, MailTls};
use crate::text::error_chain;

/// Characters of a subject, of which people see the first few dozen.
const SUBJECT: usize = 200;

pub(super) async fn send(
    means: &Means,
    mail: &Mail,
    message: &Message,
    within: Duration,
) -> Result<(), Refused> {
    let letter = letter(mail, message)?;
    let tls = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(tls(means, mail)?),
        MailTls::Implicit => Tls::Wrapper(tls(means, mail)?),
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(mail.host.clone())
        .port(mail.port)
        .tls(tls)
        .hello_name(ClientId::Domain(hello(&message.host)))
        .timeout(Some(within));
    if let Some(username) = &mail.username {
        let password = match &mail.password {
            Some(reference) => secret(reference).await?.expose_secret().to_owned(),
            None => String::new(),
        };
        transport = transport.credentials(Credentials::new(username.clone(), password));
    }
    let sent = transport.build().send(letter).await;
    sent.map(drop).map_err(|error| {
        let is_final = error.is_permanent() || error.is_client();
        let reason = error_chain(&error);
        if is_final { Refused::for_good(reason) } else { Refused::soon(reason) }
    })
}

/// Returns a name to greet with: what else stands in it would end the command.
fn hello(host: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let name: String = host.chars().filter(fits).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn tls(means: &Means, mail: &Mail) -> Result<TlsParameters, Refused> {
    let mut builder = TlsParameters::builder(mail.host.clone());
    if let Some(path) = &means.authorities {
        let found = read_authorities(path).map_err(|error| Refused::for_good(error_chain(&error)))?;
        for certificate in found {
            let certificate = Certificate::from_der(certificate.to_vec());
            builder = builder
                .add_root_certificate(certificate.map_err(|error| Refused::for_good(error_chain(&error)))?);
        }
    }
    builder.build_rustls().map_err(|error| Refused::for_good(error_chain(&error)))
}

fn letter(mail: &Mail, message: &Message) -> Result<Letter, Refused> {
    let address = |text: &str| {
        text.parse()
            .map_err(|_| Refused::for_good(format!("`{text}` is not an address that mail can be sent to")))
    };
    let mut builder = Letter::builder().from(address(&mail.from)?);
    for to in &mail.to {
        builder = builder.to(address(to)?);
    }
    let letter = builder
        .subject(shortened(&message.title(), SUBJECT))
        .message_id(None)
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n\n{}\n", message.notice.headline, message.text()));
    letter.map_err(|error| Refused::for_good(error_chain(&error)))
}
