//! A store that has less than S3, as Cloudflare R2: one region, no object lock, no versions, no tags, no keys of its
//! own, and parts of one size.

use super::Outcome;
use super::fault_proxy::{Fault, FaultProxy, When};
use super::s3::{BUCKET, S3Server};

/// What it answers `501 NotImplemented` to.
const UNKNOWN_HEADERS: [&str; 8] = [
    "x-amz-tagging",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-acl",
    "x-amz-request-payer",
    "x-amz-trailer",
];
const UNKNOWN_CALLS: [&str; 6] = ["?tagging", "?retention", "?legal-hold", "?acl", "?policy", "?attributes"];
/// What only tells of the bucket: whoever wants to know may ask, and it says that it does not have that.
const QUESTIONS: [&str; 2] = ["?versioning", "?object-lock"];

pub(crate) struct R2 {
    pub(crate) proxy: FaultProxy,
    server: S3Server,
}

impl R2 {
    pub(crate) async fn start() -> Outcome<Self> {
        let server = S3Server::start().await?;
        let r2 = Self { proxy: FaultProxy::to(server.address).await?, server };
        r2.come_back();
        r2.proxy.want_equal_parts();
        Ok(r2)
    }

    /// Puts an object into a bucket, as the application does.
    pub(crate) fn write(&self, bucket: &str, key: &str, bytes: &[u8]) -> Outcome<()> {
        let own = self.server.file("");
        let all = own.parent().ok_or_else(|| format!("{BUCKET} stands nowhere"))?;
        Ok(std::fs::write(all.join(bucket).join(key), bytes)?)
    }

    /// Beside the one that every server here has.
    pub(crate) fn make_bucket(&self, name: &str) -> Outcome<()> {
        let own = self.server.file("");
        let all = own.parent().ok_or_else(|| format!("{BUCKET} stands nowhere"))?;
        Ok(std::fs::create_dir(all.join(name))?)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Nobody reaches it any more.
    pub(crate) fn go(&self) {
        self.proxy.heal();
        self.proxy.fail(When::any(), Fault::Refuse);
    }

    /// It is there, with what it lacks.
    pub(crate) fn come_back(&self) {
        self.proxy.heal();
        for header in UNKNOWN_HEADERS {
            self.proxy.fail(When::any().with_header(header), Fault::Status(501, "NotImplemented"));
        }
        for call in UNKNOWN_CALLS.iter().chain(&QUESTIONS) {
            self.proxy.fail(When::any().with(call), Fault::Status(501, "NotImplemented"));
        }
    }

    /// How many calls asked the bucket whether it has what it lacks.
    pub(crate) fn questions(&self) -> usize {
        let calls = self.proxy.calls().into_iter();
        calls.filter(|call| QUESTIONS.iter().any(|question| call.contains(question))).count()
    }
}
