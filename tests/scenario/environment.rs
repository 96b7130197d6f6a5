//! What the environment says of AWS: keys as containers get them, authorities, proxies.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::support::Outcome;
use crate::support::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::support::system::{Place, System};

/// A system whose bucket is reached with the keys of the environment.
fn system(endpoint: &str) -> Outcome<System> {
    let place = Place::S3 {
        endpoint: endpoint.to_owned(),
        bucket: "backups".to_owned(),
        access_key: String::new(),
        secret_key: String::new(),
    };
    let mut system = System::new("postgres://drctl@127.0.0.1:1/shop", &[place])?;
    let keys =
        "credentials = { access_key_id = \"env:PRIMARY_KEY\", secret_access_key = \"env:PRIMARY_SECRET\" }\n";
    system.rewrite(keys, "")?;
    system.set("AWS_EC2_METADATA_DISABLED", "true");
    system.set("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    system.set("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Ok(system)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_end_with_a_newline_are_keys_and_others_are_refused_by_name() -> Outcome<()> {
    let server = S3Server::start().await?;
    let endpoint = format!("http://{}", server.address);
    let mut system = system(&endpoint)?;
    system.set("AWS_ACCESS_KEY_ID", &format!("{ACCESS_KEY}\n"));
    system.set("AWS_SECRET_ACCESS_KEY", &format!("{SECRET_KEY}\r\n"));
    let run = system.expect(0, &["list"]).await?;
    assert!(!run.stderr.contains("failed to query"), "{run:?}");

    for (name, value, words) in [
        ("AWS_ACCESS_KEY_ID", "AK\nIA", "the access key id holds a newline"),
        ("AWS_ACCESS_KEY_ID", "AKIA\u{7f}", "the access key id holds the character U+007F"),
        ("AWS_SECRET_ACCESS_KEY", "se cret", "the secret access key holds a space"),
        ("AWS_SESSION_TOKEN", "tök\u{1}en", "the session token holds the character U+00F6"),
    ] {
        let mut system = self::system(&endpoint)?;
        system.set(name, value);
        let run = system.expect(3, &["list"]).await?;
        assert!(run.stderr.contains(words), "{run:?}");
        assert!(!run.stderr.contains("se cret") && !run.stderr.contains("tök"), "{run:?}");
    }
    Ok(())
}

/// Whatever a variable holds that the SDK or drctl reads: an answer, never the end of the program.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_environment_stops_the_program() -> Outcome<()> {
    let server = S3Server::start().await?;
    let endpoint = format!("http://{}", server.address);
    let system = system(&endpoint)?;
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "_X_AMZN_TRACE_ID",
        "AWS_CA_BUNDLE",
        "HTTP_PROXY",
        "NO_PROXY",
        "DRCTL_LOG",
        "HOME",
    ];
    for name in names {
        for value in ["", "\n", "a\nb", "ü\u{1}", "%zz", "://"] {
            let mut command = system.command(&["list"]);
            command.env(name, value);
            let output = tokio::process::Command::from(command).output().await?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{name}={value:?}: {said}");
            assert!(
                matches!(output.status.code(), Some(0..=3)),
                "{name}={value:?}: {} {said}",
                output.status
            );
        }
    }
    Ok(())
}

const ANSWER: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: application/xml\r\ncontent-length: 95\r\nconnection: close\r\n\r\n\
                      <?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>none of that</Message></Error>\n\n\n";

/// Reads a request's head, remembers its first line, and says that there is no such bucket.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    if let Ok(mut seen) = seen.lock() {
        seen.push(first.trim().to_owned());
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? < 3 {
            break;
        }
    }
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_that_is_named_and_past_it_where_that_is_said() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = format!("http://{}", listener.local_addr()?);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let serving = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _gone = answer(stream, &seen).await;
            }
        }
    });
    let first = || seen.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default();

    let mut system = self::system("http://store.invalid:9000")?;
    system.set("HTTP_PROXY", &proxy);
    let run = system.expect(3, &["list"]).await?;
    assert!(run.stderr.contains("NoSuchBucket"), "{run:?}");
    let lines = first();
    assert!(
        lines.iter().all(|line| line.contains("http://store.invalid:9000/")) && !lines.is_empty(),
        "{lines:?}"
    );

    let mut system = self::system("https://store.invalid")?;
    system.append("[transfer]\nstall = \"2s\"")?;
    system.set("HTTPS_PROXY", &proxy);
    system.expect(3, &["list"]).await?;
    let lines = first();
    assert!(
        lines.iter().all(|line| line.starts_with("CONNECT store.invalid:443 ")) && !lines.is_empty(),
        "{lines:?}"
    );

    for (name, value) in [("NO_PROXY", ".invalid"), ("no_proxy", "*")] {
        let mut system = self::system("http://store.invalid:9000")?;
        system.append("[transfer]\nstall = \"2s\"")?;
        system.set("HTTP_PROXY", &proxy);
        system.set(name, value);
        system.expect(3, &["list"]).await?;
        assert_eq!(first(), Vec::<String>::new(), "{name}={value}");
    }
    // A store on this host is never behind one.
    let server = S3Server::start().await?;
    let mut system = self::system(&format!("http://{}", server.address))?;
    system.set("HTTP_PROXY", &proxy);
    let run = system.expect(0, &["list"]).await?;
    assert!(!run.stderr.contains("failed to query") && first().is_empty(), "{run:?}");

    let mut system = self::system("https://store.invalid")?;
    system.set("HTTPS_PROXY", "socks5://127.0.0.1:1");
    let run = system.expect(3, &["list"]).await?;
    assert!(run.stderr.contains("HTTPS_PROXY is not the URL of a proxy"), "{run:?}");
    serving.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_an_authority_of_its_own_is_believed_where_the_bundle_names_it() -> Outcome<()> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key =
        tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let serving = tokio::spawn(async move {
        let seen = Mutex::new(Vec::new());
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _gone = answer(stream, &seen).await;
            }
        }
    });
    let mut system = self::system(&format!("https://localhost:{port}"))?;
    system.append("[transfer]\nstall = \"2s\"")?;
    let run = system.expect(3, &["list"]).await?;
    assert!(!run.stderr.contains("NoSuchBucket"), "{run:?}");

    let bundle = system.path().join("authority.pem");
    std::fs::write(&bundle, certified.cert.pem())?;
    system.set("AWS_CA_BUNDLE", &bundle.display().to_string());
    let run = system.expect(3, &["list"]).await?;
    assert!(run.stderr.contains("NoSuchBucket"), "{run:?}");

    std::fs::write(&bundle, "no certificate")?;
    let run = system.expect(3, &["list"]).await?;
    assert!(run.stderr.contains("which AWS_CA_BUNDLE names, holds no certificate"), "{run:?}");
    serving.abort();
    Ok(())
}
