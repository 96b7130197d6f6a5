//! A bundle as it is streamed: its pack is inflated to its end beside, so that what is stored is known to be readable.

use std::io::{self, PipeWriter, Read, Write as _};

use tokio::task::JoinHandle;

use super::error::GitError;
use super::mirror::Mirror;
use crate::pipeline::Produce;
use crate::platform::{PipeStdinError, Piped, ProcessOutcome};
use crate::source::deadline::Deadline;

/// What of the mirror a bundle has.
#[derive(Debug)]
pub(super) struct BundleScope {
    /// Objects of the parent's refs that the mirror still has: what they reach is in the backups before.
    pub(super) known: Vec<String>,
}

impl BundleScope {
    /// Returns the input that names them for `--stdin`.
    fn revisions(&self) -> Vec<u8> {
        self.known.iter().flat_map(|object| format!("^{object}\n").into_bytes()).collect()
    }

    /// Returns whether there is any object that is not known: Git makes no bundle without one.
    pub(super) async fn has_objects(&self, mirror: &Mirror, deadline: &Deadline) -> Result<bool, GitError> {
        let list = mirror.git().args(["rev-list", "--objects", "--max-count=1", "--all", "--stdin"]);
        Ok(!mirror.read(&list.input(self.revisions()), deadline).await?.is_empty())
    }

    /// Starts Git to write the bundle.
    pub(super) async fn stream(
        &self,
        mirror: &Mirror,
        deadline: &Deadline,
    ) -> Result<BundleStream, GitError> {
        let create = mirror.git().args(["bundle", "create", "--quiet", "-", "--all", "--stdin"]);
        let child = create.input(self.revisions()).pipe(deadline.stop()).map_err(GitError::Local)?;
        let (reader, writer) =
            io::pipe().map_err(|source| GitError::Mirror { path: "pipe".into(), source })?;
        let check = mirror.git().args(["unpack-objects", "-n", "-q"]);
        let (left, stop) = (deadline.left(), deadline.stop().clone());
        let check = tokio::spawn(async move { check.feed(reader, left, &stop).await });
        Ok(BundleStream { child, header: Header::default(), pack: Some(writer), check: Some(check) })
    }
}

/// The output of `git bundle create`, with its pack passed on to be inflated.
pub(super) struct BundleStream {
    child: Piped,
    header: Header,
    pack: Option<PipeWriter>,
    check: Option<JoinHandle<Result<ProcessOutcome, PipeStdinError>>>,
}

impl Read for BundleStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.child.read(buffer)?;
        let pack = self.header.skip(&buffer[..count]);
        if let Some(writer) = &mut self.pack
            && !pack.is_empty()
            && writer.write_all(pack).is_err()
        {
            // The check has ended, and says why when it is asked.
            self.pack = None;
        }
        Ok(count)
    }
}

impl Produce for BundleStream {
    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        let lines = self.child.finish()?;
        drop(self.pack.take());
        if let Some(check) = self.check.take() {
            tokio::runtime::Handle::current().block_on(check)??;
        }
        Ok(lines)
    }
}

/// Finds the end of a bundle's header: an empty line, before the pack.
#[derive(Debug, Default)]
struct Header {
    after_line_feed: bool,
    is_over: bool,
}

impl Header {
    /// Returns what of the bytes is not of the header.
    fn skip<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.is_over {
            return bytes;
        }
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' && std::mem::replace(&mut self.after_line_feed, true) {
                self.is_over = true;
                return &bytes[at + 1..];
            }
            self.after_line_feed = *byte == b'\n';
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_wherever_it_is_cut() {
        let bundle = b"# v2 git bundle\n-11 one\n22 refs/heads/main\n\nPACK\n\n...";
        for cut in 0..bundle.len() {
            let mut header = Header::default();
            let (one, other) = bundle.split_at(cut);
            let pack = [header.skip(one), header.skip(other)].concat();
            assert_eq!(pack, b"PACK\n\n...", "{cut}");
        }
    }
}
