//! Writing objects of a bucket that is no repository.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::super::fault::StoreFault;
use super::super::{StoreError, StoreErrorKind};
use super::bucket::S3Store;
use super::error::S3Error;
use super::foreign::ObjectHeaders;

impl S3Store {
    /// Writes an object whose bytes are in memory.
    pub async fn write_foreign(
        &self,
        key: &str,
        body: Bytes,
        headers: &ObjectHeaders,
    ) -> Result<(), StoreError> {
        let timeouts = self.patience.timeouts(body.len());
        let headers = headers.clone();
        let request = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(key)
            .set_content_type(headers.content_type)
            .set_cache_control(headers.cache_control)
            .set_content_disposition(headers.content_disposition)
            .set_content_encoding(headers.content_encoding)
            .set_content_language(headers.content_language)
            .set_website_redirect_location(headers.redirect)
            .set_metadata(Some(headers.metadata.into_iter().collect()))
            .body(body.into())
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(timeouts));
        let sent = request.send().await.map_err(S3Error::from).map_err(StoreFault::from);
        sent.map(drop).map_err(self.fault("write", key))
    }

    /// Begins an object that is written in parts.
    pub async fn begin_foreign(&self, key: &str, headers: &ObjectHeaders) -> Result<String, StoreError> {
        let headers = headers.clone();
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.place.bucket)
            .key(key)
            .set_content_type(headers.content_type)
            .set_cache_control(headers.cache_control)
            .set_content_disposition(headers.content_disposition)
            .set_content_encoding(headers.content_encoding)
            .set_content_language(headers.content_language)
            .set_website_redirect_location(headers.redirect)
            .set_metadata(Some(headers.metadata.into_iter().collect()));
        let fault = self.fault("begin", key);
        let answer = request.send().await.map_err(|error| fault(S3Error::from(error).into()))?;
        let unnamed = || fault(StoreFault::new(StoreErrorKind::Unsupported, "its answer names no upload"));
        answer.upload_id().map(str::to_owned).ok_or_else(unnamed)
    }

    /// Writes a part, from 1; returns its etag.
    pub async fn write_foreign_part(
        &self,
        (key, upload): (&str, &str),
        number: i32,
        body: Bytes,
    ) -> Result<String, StoreError> {
        let timeouts = self.patience.timeouts(body.len());
        let request = self
            .client
            .upload_part()
            .bucket(&self.place.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .body(body.into())
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(timeouts));
        let fault = self.fault("write a part of", key);
        let answer = request.send().await.map_err(|error| fault(S3Error::from(error).into()))?;
        Ok(answer.e_tag().unwrap_or_default().to_owned())
    }

    /// Completes an object of these parts, in order; `None` gives it up.
    pub async fn end_foreign(
        &self,
        (key, upload): (&str, &str),
        etags: Option<Vec<String>>,
    ) -> Result<(), StoreError> {
        let Some(etags) = etags else {
            let request = self.client.abort_multipart_upload().bucket(&self.place.bucket).key(key);
            let sent =
                request.upload_id(upload).send().await.map_err(S3Error::from).map_err(StoreFault::from);
            return sent.map(drop).map_err(self.fault("abort", key));
        };
        let parts = (1..).zip(etags);
        let parts =
            parts.map(|(number, etag)| CompletedPart::builder().part_number(number).e_tag(etag).build());
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build())
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(self.patience.finish_timeouts()));
        let sent = request.send().await.map_err(S3Error::from).map_err(StoreFault::from);
        sent.map(drop).map_err(self.fault("complete", key))
    }
}
