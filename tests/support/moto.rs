//! moto, which many stand in for AWS with: its RDS and AWS Backup answer from memory, and check what they are
//! asked by rules of their own. Nothing is behind them: an endpoint of an instance leads nowhere.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::Outcome;

pub(crate) const ACCOUNT: &str = "123456789012";
const ACCESS_KEY: &str = "AKIDEXAMPLE";
const DEADLINE: Duration = Duration::from_secs(60);

/// Dropping it ends the server, and with it everything it was told.
pub(crate) struct Moto {
    address: SocketAddr,
    server: Child,
    /// What it writes.
    log: File,
}

impl Moto {
    pub(crate) async fn start() -> Outcome<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/moto/bin/python");
        if !python.exists() {
            let words = "no moto: `.ci/install test`, the first step of `make test`, puts it there";
            return Err(format!("{}: {words}", python.display()).into());
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = tempfile::tempfile()?;
        let server = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_ACCOUNT_ID", ACCOUNT)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()?;
        let mut moto = Self { address, server, log };
        moto.answers().await?;
        Ok(moto)
    }

    async fn answers(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.server.try_wait()?;
            if ended.is_some() || begun.elapsed() > DEADLINE {
                return Err(format!("moto does not start ({ended:?}): {}", self.written()?).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn written(&self) -> Outcome<String> {
        let mut log = self.log.try_clone()?;
        log.seek(SeekFrom::Start(0))?;
        let mut text = String::new();
        log.read_to_string(&mut text)?;
        Ok(text)
    }

    /// What it broke at so far, each once: it answers with 500 and writes why. A call that it does not have is
    /// among them.
    pub(crate) fn broke_at(&self) -> Outcome<Vec<String>> {
        let written = self.written()?;
        let mut lines = written.lines();
        let mut reasons = std::collections::BTreeSet::new();
        while lines.any(|line| line.starts_with("Traceback")) {
            let reason = lines.by_ref().find(|line| !line.starts_with(' ') && !line.is_empty());
            reasons.insert(reason.unwrap_or_default().to_owned());
        }
        Ok(reasons.into_iter().collect())
    }

    /// Tags, where AWS's command line looks for them: moto does not find them for those who leave out the slash
    /// at the end, as AWS and its SDK for Rust have it.
    pub(crate) async fn backup_tags(&self, region: &str, arn: &str) -> Outcome<serde_json::Value> {
        let request = hyper::Request::get(format!("{}/tags/{arn}/", self.url()));
        let answer = self.send(request, region, "backup", Full::default()).await?;
        Ok(serde_json::from_str::<serde_json::Value>(&answer)?["Tags"].take())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How the SDK gets there.
    pub(crate) fn rds(&self, region: &str) -> aws_sdk_rds::Client {
        use aws_sdk_rds::config::{BehaviorVersion, Credentials, Region};
        let config = aws_sdk_rds::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(ACCESS_KEY, "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(self.url());
        aws_sdk_rds::Client::from_conf(config.build())
    }

    pub(crate) fn backup(&self, region: &str) -> aws_sdk_backup::Client {
        use aws_sdk_backup::config::{BehaviorVersion, Credentials, Region};
        let config = aws_sdk_backup::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(ACCESS_KEY, "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(self.url());
        aws_sdk_backup::Client::from_conf(config.build())
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(ACCESS_KEY, "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .endpoint_url(self.url());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// The subnets of the default VPC, which it has in every region.
    pub(crate) async fn subnets(&self, region: &str) -> Outcome<Vec<String>> {
        let form = "application/x-www-form-urlencoded";
        let answer = self.ask(region, "ec2", form, "", "Action=DescribeSubnets&Version=2016-11-15").await?;
        let after = answer.split("<subnetId>").skip(1);
        let ids: Vec<_> = after.filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())).collect();
        if ids.is_empty() { Err(format!("no subnets: {answer}").into()) } else { Ok(ids) }
    }

    /// The ARN of a new KMS key.
    pub(crate) async fn new_key(&self, region: &str) -> Outcome<String> {
        let json = "application/x-amz-json-1.1";
        let answer = self.ask(region, "kms", json, "TrentService.CreateKey", "{}").await?;
        let document: serde_json::Value = serde_json::from_str(&answer)?;
        let arn = document["KeyMetadata"]["Arn"].as_str();
        Ok(arn.ok_or_else(|| format!("no key: {answer}"))?.to_owned())
    }

    /// The ARN of a new topic of SNS, which posts to `endpoint` what is published.
    pub(crate) async fn new_topic(&self, region: &str, name: &str, endpoint: &str) -> Outcome<String> {
        let form = |pairs: &[(&str, &str)]| {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("Version", "2010-03-31").extend_pairs(pairs);
            form.finish()
        };
        let made = self.query(region, "sns", form(&[("Action", "CreateTopic"), ("Name", name)])).await?;
        let arn = made.split_once("<TopicArn>").and_then(|(_, rest)| rest.split_once('<'));
        let arn = arn.map(|(arn, _)| arn.to_owned()).ok_or_else(|| format!("no topic: {made}"))?;
        let subscribe =
            [("Action", "Subscribe"), ("TopicArn", &arn), ("Protocol", "http"), ("Endpoint", endpoint)];
        let subscribed = self.query(region, "sns", form(&subscribe)).await?;
        match subscribed.contains("<SubscriptionArn>") {
            true => Ok(arn),
            false => Err(format!("no subscription: {subscribed}").into()),
        }
    }

    async fn query(&self, region: &str, service: &str, form: String) -> Outcome<String> {
        let request =
            hyper::Request::post(self.url()).header("content-type", "application/x-www-form-urlencoded");
        self.send(request, region, service, Full::new(Bytes::from(form))).await
    }

    /// A call of a service that there is no client of here. Nobody looks at the signature.
    async fn ask(
        &self,
        region: &str,
        service: &str,
        media: &str,
        target: &str,
        body: &'static str,
    ) -> Outcome<String> {
        let request =
            hyper::Request::post(self.url()).header("content-type", media).header("x-amz-target", target);
        self.send(request, region, service, Full::new(Bytes::from_static(body.as_bytes()))).await
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        region: &str,
        service: &str,
        body: Full<Bytes>,
    ) -> Outcome<String> {
        let scope = format!("Credential={ACCESS_KEY}/20260101/{region}/{service}/aws4_request");
        let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let request = request.header("authorization", signed).body(body)?;
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await?.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(answer.to_vec())?)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}
